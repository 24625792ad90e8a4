//! See `reader_properties::ranges_come_back`.
#![no_main]

#[path = "../choices.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod choices;
#[path = "../reader_properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod reader_properties;

static SOUND: std::sync::LazyLock<String> = std::sync::LazyLock::new(reader_properties::sound_ranges);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut choices = choices::Choices::new(bytes);
    reader_properties::ranges_come_back(&String::from_utf8_lossy(bytes));
    reader_properties::ranges_come_back(&reader_properties::ranges(&mut choices, &SOUND));
});
