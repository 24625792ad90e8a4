//! What holds for any bytes as an archive, as a pickle in one, and as code in one. The fuzz targets feed it what they invent, the crate's
//! own tests feed it the seeds.

use std::borrow::Cow;
use std::sync::LazyLock;

use quant_math::config::ConfigList;
use quant_math::{Emit, Plan, Quantizer};
use torch_adapter::archive::{Archive, Body, Edits, write};
use torch_adapter::pickle::{Pickle, Splice};
use torch_adapter::{Error, Limits, Model, PlanOptions, code};

/// A small sound archive, of which one record is exchanged.
pub(crate) static BASE: LazyLock<Archive> = LazyLock::new(|| {
    let bytes = include_bytes!("../tests/models/torch/tied.script.pt").to_vec();
    Archive::from_bytes(bytes, &Limits::default()).expect("a sound archive")
});

static CONFIGS: LazyLock<[ConfigList; 6]> = LazyLock::new(|| {
    let parse = |text, quantizer| ConfigList::parse(text, Some(quantizer)).expect("a sound config");
    let channels = "[{op_types: ['default', 'LSTM'], quant_types: ['weight'], quant_bits: 4, per_channel: true}]";
    let all = "[{op_types: ['default', 'ReLU'], quant_types: ['weight', 'input', 'output'], quant_bits: 8}]";
    [
        ConfigList::default_for(Quantizer::Naive),
        parse(channels, Quantizer::Qat),
        parse(channels, Quantizer::Lsq),
        parse(all, Quantizer::Qat),
        parse(all, Quantizer::Lsq),
        parse(&all.replace("quant_bits: 8", "quant_bits: {weight: 2, input: 8, output: 8}"), Quantizer::DoReFa),
    ]
});

static NOTHING: LazyLock<ConfigList> = LazyLock::new(|| {
    ConfigList::parse("[{op_types: 'default', exclude: true}]", Some(Quantizer::Naive)).expect("a sound config")
});

/// Any bytes are an archive that can be quantized or an error. The result is an archive again, in which nothing is left to do, and a plan
/// that changes nothing gives the input.
pub(crate) fn archive_apply(bytes: &[u8]) {
    let Ok(model) = Model::from_bytes(bytes.to_vec()) else { return };
    drop(model.inspect());
    drop(model.diff(&model));
    if let Ok((same, plan)) = quantize(bytes, &NOTHING, Emit::Baked) {
        assert!(plan.is_empty());
        assert_eq!(same, bytes);
    }
    for config in CONFIGS.iter() {
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training] {
            let Ok((result, plan)) = quantize(bytes, config, emit) else { continue };
            if plan.is_empty() {
                assert_eq!(result, bytes);
                continue;
            }
            let written = Model::from_bytes(result.clone());
            let written = written.unwrap_or_else(|error| panic!("{} {emit}: {error}", config.quantizer));
            written.archive().check_all().expect("every checksum of a written archive is right");
            if emit == Emit::Packed {
                has_the_values_of_baked(bytes, config, &written, &plan);
            }
            if emit == Emit::Training {
                for frozen in [Emit::Inference, Emit::Baked, Emit::Packed] {
                    freeze(&result, frozen);
                }
            }
            let (again, plan) = quantize(&result, config, emit).unwrap_or_else(|error| {
                panic!("{} {emit}: what was written cannot be quantized: {error}", config.quantizer)
            });
            let found: Vec<_> = plan.quantized().collect();
            assert!(again == result, "{} {emit}: a second run changed something: {found:#?}", config.quantizer);
        }
    }
}

/// To `diff`, codes have the values that `baked` has; where that quantizes the same weights, which are more when codes have no place.
fn has_the_values_of_baked(bytes: &[u8], config: &ConfigList, packed: &Model, plan: &Plan) {
    let Ok((baked, other)) = quantize(bytes, config, Emit::Baked) else { return };
    if !plan.quantized().map(|site| &site.op).eq(other.quantized().map(|site| &site.op)) {
        return;
    }
    let baked = Model::from_bytes(baked).expect("what was written can be opened");
    drop(packed.inspect().expect("what was written can be inspected"));
    let difference = baked.diff(packed).expect("what was written can be compared");
    assert!(difference.tensors.is_empty(), "{}: {:?}", config.quantizer, difference.tensors);
}

fn freeze(trained: &[u8], emit: Emit) {
    let model = Model::from_bytes(trained.to_vec()).expect("what was written can be opened");
    let Ok(frozen) = model.freeze(emit) else { return };
    let mut out = Vec::new();
    if frozen.write(&mut out).is_ok() {
        Model::from_bytes(out).expect("what was frozen can be opened");
    }
}

/// Any bytes are a pickle that comes back as it was where nothing is changed, or an error; so is the archive that has it as `data.pkl`.
pub(crate) fn pickle_splice(bytes: &[u8]) {
    if let Ok(pickle) = Pickle::read("data.pkl", bytes.to_vec(), &Limits::default()) {
        assert_eq!(Splice::new(&pickle).finish().expect("nothing is changed"), bytes);
    }
    archive_apply(&with("data.pkl", bytes));
}

/// Any text is code whose parts lie in it in order, or an error; so is the archive that has it as its first file.
pub(crate) fn code_apply(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(file) = code::parse(text)
    {
        let mut end = 0;
        for class in &file.classes {
            assert!(class.span.start >= end && class.span.end <= text.len());
            end = class.span.end;
            for method in &class.methods {
                for expr in &method.exprs {
                    assert!(text.get(expr.span.clone()).is_some());
                }
            }
        }
    }
    archive_apply(&with("code/__torch__.py", bytes));
}

fn with(record: &str, bytes: &[u8]) -> Vec<u8> {
    let mut edits = Edits::new();
    edits.replace(record, Body::Bytes(Cow::Borrowed(bytes)));
    let mut out = Vec::new();
    write(&BASE, &edits, &mut out, &|_| {}).expect("a sound edit");
    out
}

/// The result and its plan.
fn quantize(bytes: &[u8], config: &ConfigList, emit: Emit) -> Result<(Vec<u8>, Plan), Error> {
    let model = Model::from_bytes(bytes.to_vec())?;
    let plan = model.plan(config, PlanOptions { emit: Some(emit), ..PlanOptions::default() })?;
    let mut out = Vec::new();
    model.apply(&plan)?.write(&mut out)?;
    Ok((out, plan))
}
