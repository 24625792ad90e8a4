//! The fuzz targets' properties on their seeds and on damaged seeds.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../fuzz/properties.rs"]
mod properties;

use proptest::prelude::*;

fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn check(bytes: &[u8]) {
    properties::wire_spans_tile(bytes);
    properties::tensor_never_panics(bytes);
    properties::text_roundtrip(bytes);
    properties::plan_apply(bytes);
}

#[test]
fn the_seeds_are_sound() {
    for seed in seeds("graphs") {
        tf_rewriter::Graph::from_bytes(seed.clone()).unwrap();
        check(&seed);
    }
    for seed in seeds("tensors") {
        tf_rewriter::tensor::TensorView::parse(&seed, 0, "seed").unwrap();
        check(&seed);
    }
}

proptest! {
    #[test]
    fn damaged_seeds(which: prop::sample::Index, binary: bool, damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let seeds = [seeds("graphs"), seeds("tensors")].concat();
        let mut bytes = which.get(&seeds).clone();
        if let (true, Ok(graph)) = (binary, tf_rewriter::text::parse(&bytes)) {
            bytes = graph;
        }
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            if let Some(found) = bytes.get_mut(at) {
                *found = byte;
            }
        }
        check(&bytes);
    }
}
