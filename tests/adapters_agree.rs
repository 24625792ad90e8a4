//! The same weights and settings give the same codes, scales and plan entries, whichever container they came from.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use protobuf_bytes::{constant, node};
use quant_math::config::{ConfigList, channels_pay};
use quant_math::plan::{Settings, Site};
use quant_math::report::{Report, SiteReport};
use quant_math::{DType, Emit, Plan, QuantType, Quantizer};
use tf_rewriter::Graph;
use torch_adapter::archive::Archive;
use torch_adapter::pickle::Pickle;
use torch_adapter::tensors::Tensors;
use torch_adapter::{Limits, Model};

/// A weight of an archive, row-major in torch's order.
struct Weight {
    op: String,
    op_type: String,
    shape: Vec<u64>,
    bytes: Vec<u8>,
    /// The axis of its output channels.
    channel_axis: usize,
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
fn weights(path: &Path) -> Vec<Weight> {
    let model = Model::open(path).unwrap();
    let config = ConfigList::parse("[{op_types: 'default', per_channel: true}]", Some(Quantizer::Naive)).unwrap();
    let options = torch_adapter::PlanOptions { emit: Some(Emit::Baked), ..Default::default() };
    let plan = model.plan(&config, options).unwrap();
    let limits = Limits::default();
    let archive = Archive::open(path, &limits).unwrap();
    let pickle = Pickle::read("data.pkl", archive.read("data.pkl").unwrap().into_owned(), &limits).unwrap();
    let tensors = Tensors::read(&archive, &pickle, "data").unwrap();
    let sites = plan.quantized().filter(|site| layout(&site.op_type).is_some() && site.dtype == Some(DType::F32));
    sites
        .filter_map(|site: &Site| {
            let shape = site.shape.clone()?;
            let mut found = tensors.tensors().iter().filter(|tensor| tensor.sizes == shape);
            let (tensor, None) = (found.next()?, found.next()) else { return None };
            let contiguous = tensor
                .strides
                .iter()
                .enumerate()
                .all(|(axis, stride)| *stride == shape[axis + 1..].iter().product::<u64>() || shape[axis] == 1);
            let bytes = archive.read(&tensors.storage(tensor)?.record).unwrap();
            let start = usize::try_from(tensor.offset * 4).unwrap();
            let len = usize::try_from(shape.iter().product::<u64>() * 4).unwrap();
            let channel_axis = site.settings()?.channel_axis?;
            contiguous.then(|| Weight {
                channel_axis,
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
    let graph = [
        node("x", "Placeholder", &[], &[]),
        node("sizes", "Placeholder", &[], &[]),
        constant("w", &shape, &bytes),
        node(&weight.op, op, inputs, if op == "MatMul" && weight.channel_axis == 0 { &["transpose_b"] } else { &[] }),
    ];
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
        let path = folder.join(name);
        let archive_bytes = fs::read(&path).unwrap();
        for weight in weights(&path) {
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
        for weight in weights(&path) {
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

    /// A node of element type float32, with boolean attributes that are true.
    pub(crate) fn node(name: &str, op: &str, inputs: &[&str], flags: &[&str]) -> Vec<u8> {
        let mut body = Vec::new();
        put_bytes(&mut body, 1, name.as_bytes());
        put_bytes(&mut body, 2, op.as_bytes());
        for input in inputs {
            put_bytes(&mut body, 3, input.as_bytes());
        }
        body.extend(attr("T", &[0x30, 1]));
        for flag in flags {
            body.extend(attr(flag, &[0x28, 1]));
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
