//! See `torch_properties::archive_apply`, on archives whose text was changed.
#![no_main]

#[path = "../choices.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod choices;
#[path = "../made_archive.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod made_archive;
#[path = "../torch_properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod torch_properties;

use made_archive::Damage;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut choices = choices::Choices::new(bytes);
    torch_properties::archive_apply(&made_archive::archive(&mut choices, &torch_properties::BASE, Damage::Code));
});
