//! The fuzz targets' properties on their seeds and on damaged seeds.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

#[path = "../../fuzz/torch_properties.rs"]
mod torch_properties;

use proptest::prelude::*;
use torch_properties::{archive_apply, code_apply, pickle_splice};

fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_seeds_are_sound() {
    for (_, archive) in common::archives() {
        archive_apply(&archive);
    }
    for seed in seeds("pickles") {
        torch_adapter::pickle::Pickle::read("data.pkl", seed.clone(), &torch_adapter::Limits::default()).unwrap();
        pickle_splice(&seed);
    }
    for seed in seeds("code") {
        torch_adapter::code::parse(std::str::from_utf8(&seed).unwrap()).unwrap();
        code_apply(&seed);
    }
}

fn damaged(mut bytes: Vec<u8>, damage: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (at, byte) in damage {
        let at = at.index(bytes.len());
        if let Some(found) = bytes.get_mut(at) {
            *found = *byte;
        }
    }
    bytes
}

fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    // Letters, digits and the instructions of pickles do more than other bytes.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"abctw01(),.= _NuRQhq\x85\x86\x87"[..])];
    prop::collection::vec((any::<prop::sample::Index>(), byte), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_pickles(which: prop::sample::Index, damage in damage()) {
        pickle_splice(&damaged(which.get(&seeds("pickles")).clone(), &damage));
    }

    #[test]
    fn damaged_code(which: prop::sample::Index, damage in damage()) {
        code_apply(&damaged(which.get(&seeds("code")).clone(), &damage));
    }
}
