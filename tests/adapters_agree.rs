//! The same weights and settings give the same codes, scales and plan entries, whichever container they came from.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use protobuf_bytes::{FALSE, TRUE, constant, float, node};
use quant_math::config::{ConfigList, channels_pay};
use quant_math::plan::{Settings, Site};
use quant_math::report::{Report, SiteReport};
use quant_math::{DType, Emit, Plan, QuantType, Quantizer};
use tf_rewriter::Graph;
use torch_adapter::archive::Archive;
use torch_adapter::pickle::Pickle;
use torch_adapter::tensors::Tensors;
use torch_adapter::{Fold, Limits, Model};

/// A weight of an archive, row-major in torch's order.
struct Weight {
    op: String,
    op_type: String,
    shape: Vec<u64>,
    bytes: Vec<u8>,
    /// The axis of its output channels.
    channel_axis: usize,
    /// What its call adds to them.
    bias: Option<Vec<u8>>,
    /// γ, β, μ and σ² of the batch norm behind it; ε is 1e-5.
    norm: Option<Vec<Vec<u8>>>,
}

/// How torch's axes stand in TensorFlow's layout of the same op, and that op.
fn layout(op_type: &str) -> Option<(&'static str, &'static [usize])> {
    match op_type {
        // [out, in] as it is, with transpose_b; [in, out], which a plain `matmul` reads, without
        "Linear" => Some(("MatMul", &[0, 1])),
        // [out, in, h, w] to [h, w, in, out]
        "Conv2d" => Some(("Conv2D", &[2, 3, 1, 0])),
        // [in, out, h, w] to [h, w, out, in]
        "ConvTranspose2d" => Some(("Conv2DBackpropInput", &[2, 3, 1, 0])),
        _ => None,
    }
}

/// The weights of every op that has a counterpart, where the shape tells the tensor.
fn weights(archive: &[u8]) -> Vec<Weight> {
    let model = Model::from_bytes(archive.to_vec()).unwrap();
    let config = ConfigList::parse("[{op_types: 'default', per_channel: true}]", Some(Quantizer::Naive)).unwrap();
    let options = torch_adapter::PlanOptions { emit: Some(Emit::Baked), ..Default::default() };
    let plan = model.plan(&config, options).unwrap();
    let limits = Limits::default();
    let archive = Archive::from_bytes(archive.to_vec(), &limits).unwrap();
    let pickle = Pickle::read("data.pkl", archive.read("data.pkl").unwrap().into_owned(), &limits).unwrap();
    let tensors = Tensors::read(&archive, &pickle, "data").unwrap();
    let sites = plan.quantized().filter(|site| layout(&site.op_type).is_some() && site.dtype == Some(DType::F32));
    sites
        .filter_map(|site: &Site| {
            let shape = site.shape.clone()?;
            let mut found = tensors.tensors().iter().enumerate().filter(|(_, tensor)| tensor.sizes == shape);
            let ((position, tensor), None) = (found.next()?, found.next()) else { return None };
            let contiguous = tensor
                .strides
                .iter()
                .enumerate()
                .all(|(axis, stride)| *stride == shape[axis + 1..].iter().product::<u64>() || shape[axis] == 1);
            let bytes = archive.read(&tensors.storage(tensor)?.record).unwrap();
            let start = usize::try_from(tensor.offset * 4).unwrap();
            let len = usize::try_from(shape.iter().product::<u64>() * 4).unwrap();
            let channel_axis = site.settings()?.channel_axis?;
            // A module's bias comes after its weight, and the batch norm behind the module after that.
            let vectors = tensors.tensors().iter().skip(position + 1);
            let vectors = vectors.take_while(|vector| vector.sizes == [shape[channel_axis]]);
            let mut vectors: Vec<Vec<u8>> = vectors
                .map(|vector| archive.read(&tensors.storage(vector).unwrap().record).unwrap().into_owned())
                .collect();
            let is_folded = plan.folds.iter().any(|fold| fold.is_folded() && fold.layer.as_ref() == Some(&site.op));
            let norm = is_folded.then(|| vectors.split_off(vectors.len() - 4));
            contiguous.then(|| Weight {
                channel_axis,
                bias: vectors.into_iter().next(),
                norm,
                op: site.op.clone(),
                op_type: site.op_type.clone(),
                shape: shape.clone(),
                bytes: bytes[start..start + len].to_vec(),
            })
        })
        .collect()
}

/// `elements` of `size` bytes with their axes in another order.
fn permuted(shape: &[u64], perm: &[usize], size: usize, elements: &[u8]) -> Vec<u8> {
    let strides: Vec<u64> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
    let count: u64 = shape.iter().product();
    let target: Vec<u64> = perm.iter().map(|axis| shape[*axis]).collect();
    let mut out = Vec::new();
    for position in 0..count {
        let mut rest = position;
        let mut from = 0;
        for (axis, dim) in target.iter().enumerate().rev() {
            from += rest % dim * strides[perm[axis]];
            rest /= dim;
        }
        let at = usize::try_from(from).unwrap() * size;
        out.extend_from_slice(&elements[at..at + size]);
    }
    out
}

/// A graph whose one op has this weight.
fn graph(weight: &Weight) -> Graph {
    let (op, perm) = layout(&weight.op_type).unwrap();
    let shape: Vec<u64> = perm.iter().map(|axis| weight.shape[*axis]).collect();
    let bytes = permuted(&weight.shape, perm, 4, &weight.bytes);
    let inputs: &[&str] = if op == "Conv2DBackpropInput" { &["sizes", "w", "x"] } else { &["x", "w"] };
    let mut graph = vec![
        node("x", "Placeholder", &[], &[]),
        node("sizes", "Placeholder", &[], &[]),
        constant("w", &shape, &bytes),
        node(
            &weight.op,
            op,
            inputs,
            if op == "MatMul" && weight.channel_axis == 0 { &[("transpose_b", TRUE)] } else { &[] },
        ),
    ];
    let mut last = weight.op.as_str();
    if let Some(bias) = &weight.bias {
        graph.push(constant("b", &[bias.len() as u64 / 4], bias));
        graph.push(node("biased", "BiasAdd", &[last, "b"], &[]));
        last = "biased";
    }
    if let Some(norm) = &weight.norm {
        let names = ["scale", "offset", "mean", "variance"];
        graph.extend(names.iter().zip(norm).map(|(name, vector)| constant(name, &[vector.len() as u64 / 4], vector)));
        let inputs = [last, "scale", "offset", "mean", "variance"];
        graph.push(node("norm", "FusedBatchNorm", &inputs, &[("is_training", FALSE), ("epsilon", &float(1e-5))]));
    }
    Graph::from_bytes(graph.concat()).unwrap()
}

fn configs() -> Vec<(Quantizer, String)> {
    let mut configs = vec![(Quantizer::Naive, "[{op_types: 'default'}]".to_owned())];
    configs.push((Quantizer::Naive, "[{op_types: 'default', rounding: 'truncate'}]".to_owned()));
    for bits in 2..=16 {
        for symmetric in [true, false] {
            for per_channel in [true, false] {
                configs.push((
                    Quantizer::Qat,
                    format!(
                        "[{{op_types: 'default', quant_types: ['weight'], quant_bits: {bits}, symmetric: {symmetric}, per_channel: {per_channel}}}]"
                    ),
                ));
            }
        }
    }
    configs.extend((1..=8).map(|bits| (Quantizer::DoReFa, format!("[{{op_types: 'default', quant_bits: {bits}}}]"))));
    configs
}

fn one_site(report: &Report, op: &str) -> SiteReport {
    let found = report.sites.iter().find(|site| site.site.op == op && site.site.kind == QuantType::Weight);
    found.unwrap_or_else(|| panic!("{op} is not in the report")).clone()
}

#[test]
fn the_same_weights_give_the_same_codes_scales_and_plan_entries() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/torch");
    let mut compared = 0;
    let mut kinds = std::collections::BTreeSet::new();
    for name in ["mlp.script.pt", "mobile.script.pt", "mobile.trace.pt", "deconv.script.pt", "grouped.script.pt"] {
        let archive_bytes = fs::read(folder.join(name)).unwrap();
        for weight in weights(&archive_bytes) {
            kinds.insert(weight.op_type.clone());
            for (quantizer, text) in configs() {
                let config = ConfigList::parse(&text, Some(quantizer)).unwrap();
                for emit in [Emit::Baked, Emit::Packed] {
                    if emit == Emit::Packed && text.contains("quant_bits: 1") && quantizer == Quantizer::Qat {
                        // More than 8 bits (10 to 16): both refuse, see below.
                        continue;
                    }
                    if emit == Emit::Packed && text.contains("quant_bits: 9") {
                        continue;
                    }
                    compare(name, &archive_bytes, &weight, &config, emit);
                    compared += 1;
                }
            }
        }
    }
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    assert_eq!(kinds, ["Conv2d", "ConvTranspose2d", "Linear"]);
    assert!(compared > 300, "{compared}");
}

/// Whether a weight has a scale per channel follows from its shape and op: in every form and in both containers the same.
#[test]
fn channels_are_chosen_alike_in_every_form() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/torch");
    let config = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 8}]";
    let config = ConfigList::parse(config, Some(Quantizer::Qat)).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for name in ["mobile.script.pt", "deconv.script.pt"] {
        let path = folder.join(name);
        for weight in weights(&fs::read(&path).unwrap()) {
            let elements: u64 = weight.shape.iter().product();
            let expected = channels_pay(elements, weight.shape[weight.channel_axis]);
            for emit in [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training] {
                let what = format!("{name} {} {emit}", weight.op);
                let per_channel = |plan: &Plan| {
                    let mut sites = plan.quantized().filter(|site| site.op == weight.op);
                    let site = sites.next().unwrap_or_else(|| panic!("{what} is not quantized"));
                    site.settings().unwrap().channel_axis.is_some()
                };
                let options = torch_adapter::PlanOptions { emit: Some(emit), ..Default::default() };
                let torch = Model::open(&path).unwrap().plan(&config, options).unwrap();
                let tf = graph(&weight).plan(&config, options).unwrap();
                assert_eq!((per_channel(&torch), per_channel(&tf)), (expected, expected), "{what}");
            }
            seen.insert(expected);
        }
    }
    assert!(seen.contains(&true), "{seen:?}");
}

/// The archive with a channel of zeros and two that are all but that in the weight of `op`, whose channels are its rows.
fn with_tiny_channels(mut archive: Vec<u8>, op: &str) -> (Vec<u8>, Weight) {
    let weight = weights(&archive).into_iter().find(|weight| weight.op == op).unwrap();
    let row = weight.bytes.len() / usize::try_from(weight.shape[0]).unwrap();
    let mut tiny = weight.bytes.clone();
    for (row, size) in tiny.chunks_mut(row).zip([0.0_f32, 1e-9, 1e-5]) {
        for value in row.as_chunks_mut::<4>().0 {
            *value = (f32::from_le_bytes(*value) * size).to_le_bytes();
        }
    }
    let sums = [&weight.bytes, &tiny].map(|record| crc32fast::hash(record).to_le_bytes());
    for (old, new) in [(&weight.bytes[..], &tiny[..]), (&sums[0][..], &sums[1][..])] {
        let places = archive.windows(old.len()).enumerate().filter(|(_, found)| *found == old);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        assert!(!places.is_empty(), "{op}");
        for place in places {
            archive[place..place + new.len()].copy_from_slice(new);
        }
    }
    (archive, Weight { bytes: tiny, ..weight })
}

/// A channel that is all but zero has the least scale that its bias asks for: in every form and in both containers the same.
#[test]
fn tiny_channels_have_the_same_least_scale() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/torch");
    for (name, op) in [
        ("mobile.script.pt", "stem"),
        ("mobile.trace.pt", "stem"),
        ("mobile.script.pt", "head"),
        ("mlp.script.pt", "first"),
    ] {
        let (archive, weight) = with_tiny_channels(fs::read(folder.join(name)).unwrap(), op);
        for (quantizer, text) in configs().into_iter().filter(|(_, text)| text.contains("per_channel: true")) {
            let config = ConfigList::parse(&text, Some(quantizer)).unwrap();
            let plan = graph(&weight).plan(&config, tf_rewriter::PlanOptions::default()).unwrap();
            let bits = plan.quantized().next().unwrap().settings().unwrap().bits;
            let what = format!("{name} {op} {text}");
            let mut spans = std::collections::BTreeSet::new();
            for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
                if emit == Emit::Packed && bits > 8 {
                    continue;
                }
                if emit != Emit::Inference {
                    compare(name, &archive, &weight, &config, emit);
                }
                let model = Model::from_bytes(archive.clone()).unwrap();
                // The law is looked at with the numbers as they stand.
                let options = torch_adapter::PlanOptions { emit: Some(emit), fold: Fold::Off, ..Default::default() };
                let plan = model.plan(&config, options).unwrap();
                let torch = model.apply(&plan).unwrap().write(&mut Vec::new()).unwrap();
                let graph = graph(&weight);
                let plan = graph.plan(&config, options).unwrap();
                let tf = graph.apply(&plan).unwrap().write(&mut Vec::new()).unwrap();
                for report in [torch, tf] {
                    let (least, most) = one_site(&report, op).scale.unwrap();
                    spans.insert((least.to_bits(), most.to_bits()));
                }
            }
            assert_eq!(spans.len(), 1, "{what}: {spans:?}");
            let (least, _) = spans.pop_first().unwrap();
            let expected = least_scale(&weight, bits, text.contains("symmetric: true"));
            // Two roundings, in the range and in the scale.
            let off = f64::from(f32::from_bits(least)) / expected - 1.0;
            assert!(off.abs() <= 2.0 * f64::from(f32::EPSILON), "{what}: off by {off}");
        }
    }
}

/// The smallest scale of the channels, which are the rows, by the law in words: none is below 2^-16 of its bias, or below a 256th of the
/// largest one where that is less; for codes of more than 8 bits none has a least.
fn least_scale(weight: &Weight, bits: u32, symmetric: bool) -> f64 {
    let floats = |bytes: &[u8]| -> Vec<f64> {
        bytes.as_chunks::<4>().0.iter().map(|value| f64::from(f32::from_le_bytes(*value))).collect()
    };
    let biases = floats(weight.bias.as_ref().unwrap());
    let values = floats(&weight.bytes);
    let steps = f64::from(if symmetric { (1 << (bits - 1)) - 1 } else { (1 << bits) - 1 });
    let scale = |row: &[f64]| {
        let (min, max) = row.iter().fold((0.0_f64, 0.0_f64), |(min, max), value| (min.min(*value), max.max(*value)));
        if symmetric { max.max(-min) / steps } else { (max - min) / steps }
    };
    let scales: Vec<f64> = values.chunks(values.len() / biases.len()).map(scale).collect();
    let largest = scales.iter().copied().fold(0.0, f64::max);
    let floored = scales.iter().zip(biases).map(|(scale, bias)| match bits {
        ..=8 => scale.max((bias.abs() / 65536.0).min(largest / 256.0)),
        // Zeros alone have the scale 1.
        _ if *scale <= 0.0 => 1.0,
        _ => *scale,
    });
    floored.fold(f64::MAX, f64::min)
}

fn compare(name: &str, archive: &[u8], weight: &Weight, config: &ConfigList, emit: Emit) {
    let what = format!("{name} {} {emit} {:?}", weight.op, config.entries);
    let model = Model::from_bytes(archive.to_vec()).unwrap();
    let options = torch_adapter::PlanOptions { emit: Some(emit), ..Default::default() };
    let plan = model.plan(config, options).unwrap();
    let mut torch_out = Vec::new();
    let torch_report = model.apply(&plan).unwrap().write(&mut torch_out).unwrap();

    let graph = graph(weight);
    let options = tf_rewriter::PlanOptions { emit: Some(emit), ..Default::default() };
    let plan = graph.plan(config, options).unwrap();
    let mut tf_out = Vec::new();
    let tf_report = graph.apply(&plan).unwrap().write(&mut tf_out).unwrap();

    let (torch, tf) = (one_site(&torch_report, &weight.op), one_site(&tf_report, &weight.op));
    let without_axis = |settings: &Settings| Settings { channel_axis: None, ..*settings };
    let settings = |site: &SiteReport| site.site.settings().map(without_axis);
    assert!(settings(&torch).is_some(), "{what}");
    assert_eq!(settings(&torch), settings(&tf), "{what}");
    let axis = |site: &SiteReport| site.site.settings().and_then(|s| s.channel_axis);
    assert_eq!(axis(&torch).is_some(), axis(&tf).is_some(), "{what}");
    let is_folded =
        |report: &Report| report.folds.iter().any(|fold| fold.is_folded() && fold.layer.as_ref() == Some(&weight.op));
    let expected = weight.norm.is_some() && axis(&torch).is_some();
    assert_eq!((is_folded(&torch_report), is_folded(&tf_report)), (expected, expected), "{what}");
    assert_eq!(
        torch.scale.map(|(a, b)| (a.to_bits(), b.to_bits())),
        tf.scale.map(|(a, b)| (a.to_bits(), b.to_bits())),
        "{what}"
    );

    // What a user is warned of: how far apart the channels are where one scale serves all, and a low SQNR.
    let bits = |spread: Option<f32>| spread.map(f32::to_bits);
    assert_eq!(bits(torch.channel_spread), bits(tf.channel_spread), "{what}");
    let asked = axis(&tf).is_none() && config.quantizer != Quantizer::DoReFa;
    let channels = weight.shape[weight.channel_axis];
    assert_eq!(tf.channel_spread.is_some(), asked && channels_pay(weight.shape.iter().product(), channels), "{what}");
    let alone = |report: &Report| {
        let sites = vec![one_site(report, &weight.op)];
        Report { sites, ..report.clone() }.advice().into_iter().map(|reason| reason.code).collect::<Vec<_>>()
    };
    assert_eq!(alone(&torch_report), alone(&tf_report), "{what}");

    // The elements themselves: what torch stores is found in TensorFlow's order in the other file.
    let (_, perm) = layout(&weight.op_type).unwrap();
    let size = if emit == Emit::Baked { 4 } else { 1 };
    let elements = usize::try_from(weight.shape.iter().product::<u64>()).unwrap();
    let limits = Limits::default();
    let written = Archive::from_bytes(torch_out, &limits).unwrap();
    let found = written.records().any(|record| {
        let bytes = written.read(record).unwrap();
        bytes.len() == elements * size && contains(&tf_out, &permuted(&weight.shape, perm, size, &bytes))
    });
    assert!(found, "no storage of the archive holds TensorFlow's elements: {what}");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Just enough of protobuf to write a graph (field numbers of graph.proto, attr_value.proto and tensor.proto).
mod protobuf_bytes {
    use tf_rewriter::wire::{put_bytes, put_tag, put_varint};

    fn attr(key: &str, value: &[u8]) -> Vec<u8> {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value);
        let mut out = Vec::new();
        put_bytes(&mut out, 5, &entry);
        out
    }

    fn wrap(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, body);
        out
    }

    pub(crate) const TRUE: &[u8] = &[0x28, 1];
    pub(crate) const FALSE: &[u8] = &[0x28, 0];

    pub(crate) fn float(value: f32) -> Vec<u8> {
        [&[0x25][..], &value.to_le_bytes()].concat()
    }

    /// A node of element type float32, with these attributes.
    pub(crate) fn node(name: &str, op: &str, inputs: &[&str], attributes: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        put_bytes(&mut body, 1, name.as_bytes());
        put_bytes(&mut body, 2, op.as_bytes());
        for input in inputs {
            put_bytes(&mut body, 3, input.as_bytes());
        }
        body.extend(attr("T", &[0x30, 1]));
        for (key, value) in attributes {
            body.extend(attr(key, value));
        }
        wrap(&body)
    }

    pub(crate) fn constant(name: &str, shape: &[u64], content: &[u8]) -> Vec<u8> {
        let mut dims = Vec::new();
        for size in shape {
            let mut dim = Vec::new();
            put_tag(&mut dim, 1, 0);
            put_varint(&mut dim, *size);
            put_bytes(&mut dims, 2, &dim);
        }
        let mut tensor = vec![0x08, 1];
        put_bytes(&mut tensor, 2, &dims);
        put_bytes(&mut tensor, 4, content);
        let mut value = Vec::new();
        put_bytes(&mut value, 8, &tensor);
        let mut body = Vec::new();
        put_bytes(&mut body, 1, name.as_bytes());
        put_bytes(&mut body, 2, b"Const");
        body.extend(attr("dtype", &[0x30, 1]));
        body.extend(attr("value", &value));
        wrap(&body)
    }
}
