//! See `torch_properties::archive_apply`.
#![no_main]

#[path = "../torch_properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod torch_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| torch_properties::archive_apply(bytes));
