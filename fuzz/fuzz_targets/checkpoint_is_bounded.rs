//! See `bundle_properties::checkpoint_is_bounded` and `bundle_properties::patches_keep_the_rest`.
#![no_main]

use std::sync::LazyLock;

#[path = "../bundle_properties.rs"]
mod bundle_properties;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::TempDir::new().expect("a folder for files"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    bundle_properties::checkpoint_is_bounded(bytes, FOLDER.path());
    bundle_properties::patches_keep_the_rest(bytes, FOLDER.path());
});
