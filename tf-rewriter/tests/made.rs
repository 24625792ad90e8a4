//! The fuzz targets' properties on inputs that are made from fixed seeds: whole graphs, graphs changed field by field, text, configs,
//! ranges and data. `FUZZ_SECONDS=600 cargo test -p tf-rewriter --test made NAME -- --nocapture` goes on for as long.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "../../fuzz/choices.rs"]
mod choices;
#[path = "../../fuzz/made_graph.rs"]
mod made_graph;
#[path = "../../fuzz/properties.rs"]
#[expect(dead_code, reason = "the seeds have a test of their own")]
mod properties;
#[path = "../../fuzz/reader_properties.rs"]
mod reader_properties;

use choices::{Choices, each_seed, noise};

#[test]
fn graphs() {
    each_seed(192, 2048, |bytes| properties::plan_apply(&made_graph::graph(&mut Choices::new(bytes))));
}

/// A generator that makes nothing but errors finds nothing.
#[test]
fn most_graphs_are_legal_and_have_sites() {
    let (mut legal, mut quantized, mut shared) = (0, 0, 0);
    for seed in 0..200 {
        let Ok(graph) = tf_rewriter::Graph::from_bytes(made_graph::graph(&mut Choices::new(&noise(seed, 1500)))) else {
            continue;
        };
        legal += 1;
        let config = quant_math::config::ConfigList::default_for(quant_math::Quantizer::Naive);
        let options = tf_rewriter::PlanOptions { emit: Some(quant_math::Emit::Packed), ..Default::default() };
        quantized += usize::from(graph.plan(&config, options).is_ok_and(|plan| !plan.is_empty()));
        let few = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 2}]";
        let few = quant_math::config::ConfigList::parse(few, Some(quant_math::Quantizer::Naive)).expect("a config");
        let Ok(plan) = graph.plan(&few, options) else { continue };
        let mut out = Vec::new();
        let written = graph.apply(&plan).is_ok_and(|compressed| compressed.write(&mut out).is_ok());
        shared += usize::from(written && out.windows(10).any(|name| name == b"BitwiseAnd"));
    }
    assert!(shared >= 10, "codes of {shared} graphs of 200 share bytes");
    assert!(legal >= 80 && quantized >= 40, "{legal} legal graphs of 200, {quantized} with something to quantize");
}

#[test]
fn text() {
    each_seed(400, 1024, |bytes| {
        let mut choices = Choices::new(bytes);
        let mut text = made_graph::text_of(&mut choices).into_bytes();
        for _ in 0..choices.below(4) {
            choices.damage(&mut text);
        }
        properties::text_roundtrip(&text);
        properties::text_roundtrip(&made_graph::graph(&mut choices));
    });
}

#[test]
fn configs() {
    each_seed(2000, 64, |bytes| {
        reader_properties::config_is_told(&reader_properties::config(&mut Choices::new(bytes)));
    });
}

#[test]
fn ranges() {
    let sound = reader_properties::sound_ranges();
    quant_math::ranges::Ranges::parse(&sound).expect("a sound file");
    each_seed(2000, 64, |bytes| {
        reader_properties::ranges_come_back(&reader_properties::ranges(&mut Choices::new(bytes), &sound));
    });
}

#[test]
fn data() {
    let folder = tempfile::tempdir().expect("a folder");
    each_seed(1000, 512, |bytes| {
        reader_properties::data_is_bounded(&reader_properties::data(&mut Choices::new(bytes)), folder.path());
    });
}
