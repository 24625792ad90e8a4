//! See `model_properties::model_freezes`, on models that are made from choices.
#![no_main]

use std::sync::LazyLock;

#[path = "../bundle_properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod bundle_properties;
#[path = "../choices.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod choices;
#[path = "../model_properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod model_properties;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::TempDir::new().expect("a folder for files"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    model_properties::model_freezes(&model_properties::model(&mut choices::Choices::new(bytes)), FOLDER.path());
});
