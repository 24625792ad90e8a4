//! The fuzz target's property of whole models, on models that are made from fixed seeds.
//! `FUZZ_SECONDS=600 cargo test -p tf-rewriter --test made_models models -- --nocapture` goes on for as long.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "../../fuzz/bundle_properties.rs"]
#[expect(dead_code, reason = "checkpoints have a test of their own")]
mod bundle_properties;
#[path = "../../fuzz/choices.rs"]
#[expect(dead_code, reason = "models take few of the choices")]
mod choices;
#[path = "../../fuzz/model_properties.rs"]
mod model_properties;

use choices::{Choices, each_seed, noise};
use model_properties::{Files, model, model_freezes};

#[test]
fn models() {
    let folder = tempfile::tempdir().expect("a folder");
    each_seed(400, 64, |bytes| {
        model_freezes(&model(&mut Choices::new(bytes)), folder.path());
    });
}

/// Without choices, the model is sound.
#[test]
fn a_sound_model_freezes() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in [0, 1, 4, 5] {
        assert!(model_freezes(&model(&mut Choices::new(&[kind, 0, 3])), folder.path()), "{kind}");
    }
}

/// A generator that makes nothing but errors finds nothing.
#[test]
fn many_models_freeze_and_many_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let frozen = |seed| model_freezes(&model(&mut Choices::new(&noise(seed, 64))), folder.path());
    let frozen = (0..100).filter(|seed| frozen(*seed)).count();
    assert!((15..=90).contains(&frozen), "{frozen} of 100");
}

#[test]
fn bytes_are_taken_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = model(&mut Choices::new(&[1, 0, 3]));
    let length = u32::try_from(files.model.len()).expect("a small file").to_le_bytes();
    let joined = [&[files.kind][..], &length, &files.model, &files.checkpoint].concat();
    assert!(model_freezes(&Files::of(&joined), folder.path()));
    for end in 0..8 {
        assert!(!model_freezes(&Files::of(&joined[..end]), folder.path()));
    }
}
