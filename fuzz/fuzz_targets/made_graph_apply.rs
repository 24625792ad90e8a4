//! See `properties::plan_apply`, on graphs that are made from choices.
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

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::plan_apply(&made_graph::graph(&mut choices::Choices::new(bytes))));
