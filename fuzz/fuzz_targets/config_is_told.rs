//! See `reader_properties::config_is_told`.
#![no_main]

#[path = "../choices.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod choices;
#[path = "../reader_properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod reader_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    reader_properties::config_is_told(&String::from_utf8_lossy(bytes));
    reader_properties::config_is_told(&reader_properties::config(&mut choices::Choices::new(bytes)));
});
