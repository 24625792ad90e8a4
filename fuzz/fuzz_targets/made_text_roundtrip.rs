//! See `properties::text_roundtrip`, on graphs in text form that were changed.
#![no_main]

#[path = "../choices.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod choices;
#[path = "../made_graph.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod made_graph;
#[path = "../properties.rs"]
#[allow(dead_code, reason = "each target checks one property")]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut choices = choices::Choices::new(bytes);
    let mut text = made_graph::text_of(&mut choices).into_bytes();
    for _ in 0..choices.below(4) {
        choices.damage(&mut text);
    }
    properties::text_roundtrip(&text);
});
