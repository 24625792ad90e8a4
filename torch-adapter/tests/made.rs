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

/// Codes that share bytes are among what the properties meet.
#[test]
fn codes_of_some_archives_share_bytes() {
    let config = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 2}]";
    let config = quant_math::config::ConfigList::parse(config, Some(quant_math::Quantizer::Naive)).expect("a config");
    let shared = (0..100).filter(|seed| {
        let bytes = archive(&mut Choices::new(&noise(*seed, 1500)), &BASE, Damage::None);
        let model = torch_adapter::Model::from_bytes(bytes).expect("a sound archive");
        let options = torch_adapter::PlanOptions { emit: Some(quant_math::Emit::Packed), ..Default::default() };
        let Ok(plan) = model.plan(&config, options) else { return false };
        let mut out = Vec::new();
        let Ok(Ok(_)) = model.apply(&plan).map(|compressed| compressed.write(&mut out)) else { return false };
        let written = torch_adapter::Model::from_bytes(out).expect("what was written can be opened");
        written.archive().text("code/__torch__/torch_adapter.py").is_ok_and(|text| text.contains("def quarters"))
    });
    let shared = shared.count();
    assert!(shared >= 10, "{shared} of 100 archives");
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

/// A part of a weight that is quantized already stays a part: where it meets the whole, nothing more is known than in the first run.
#[test]
fn a_part_of_a_weight_that_is_given_to_the_weight() {
    archive_apply(&archive(&mut Choices::new(&noise(7_019_891, 2048)), &BASE, Damage::Pickle));
}
