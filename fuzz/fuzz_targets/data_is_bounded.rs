//! See `reader_properties::data_is_bounded`.
#![no_main]

use std::sync::LazyLock;

#[path = "../choices.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod choices;
#[path = "../reader_properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod reader_properties;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::TempDir::new().expect("a folder for files"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    reader_properties::data_is_bounded(bytes, FOLDER.path());
    reader_properties::data_is_bounded(&reader_properties::data(&mut choices::Choices::new(bytes)), FOLDER.path());
});
