//! The fuzz targets' properties on archives that are made from fixed seeds: sound ones, and with changes to code, pickle, records or
//! file. `FUZZ_SECONDS=600 cargo test -p torch-adapter --test made NAME -- --nocapture` goes on for as long.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::format_push_string,
    reason = "a test fails by panicking"
)]

#[path = "../../fuzz/choices.rs"]
#[expect(dead_code, reason = "graphs need what archives do not")]
mod choices;
#[path = "../../fuzz/made_archive.rs"]
mod made_archive;
#[path = "../../fuzz/torch_properties.rs"]
#[expect(dead_code, reason = "the seeds have a test of their own")]
mod torch_properties;

use choices::{Choices, each_seed, noise};
use made_archive::{Damage, archive};
use torch_properties::{BASE, archive_apply};

/// A generator that makes nothing but errors finds nothing.
#[test]
fn sound_archives_open_and_most_have_sites() {
    let mut quantized = 0;
    for seed in 0..100 {
        let bytes = archive(&mut Choices::new(&noise(seed, 1500)), &BASE, Damage::None);
        let model = torch_adapter::Model::from_bytes(bytes)
            .unwrap_or_else(|error| panic!("seed {seed}: {error} {:?}", error.location()));
        let config = quant_math::config::ConfigList::default_for(quant_math::Quantizer::Naive);
        let options = torch_adapter::PlanOptions { emit: Some(quant_math::Emit::Packed), ..Default::default() };
        quantized += usize::from(model.plan(&config, options).is_ok_and(|plan| !plan.is_empty()));
    }
    assert!(quantized >= 50, "{quantized} of 100 archives have something to quantize");
}

#[test]
fn archives() {
    each_seed(96, 2048, |bytes| archive_apply(&archive(&mut Choices::new(bytes), &BASE, Damage::None)));
}

#[test]
fn archives_with_other_code() {
    each_seed(128, 2048, |bytes| archive_apply(&archive(&mut Choices::new(bytes), &BASE, Damage::Code)));
}

#[test]
fn archives_with_other_pickles() {
    each_seed(256, 2048, |bytes| archive_apply(&archive(&mut Choices::new(bytes), &BASE, Damage::Pickle)));
}

#[test]
fn archives_with_other_bytes() {
    for damage in [Damage::Record, Damage::File] {
        each_seed(64, 2048, |bytes| archive_apply(&archive(&mut Choices::new(bytes), &BASE, damage)));
    }
}
