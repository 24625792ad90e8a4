//! `--emit packed`: codes in place of the floats, one, two or four a byte, dequantized by stock ops under the constant's old name.
//!
//! The ops follow [`quant_math::weights::Dequant`] step by step, or look its results up, so that the values are the reference's bit for bit.

use quant_math::DType;
use quant_math::weights::{Dequant, Form, Storage};

use super::maker::{Maker, cast, plain};
use super::node::NewNode;
use super::path::{Copies, homes};
use super::taking_over::{control_inputs, kept_fields};
use super::{Editor, WeightWork, shared_bytes};
use crate::find::mark;
use crate::graphdef::index::{NodeId, ScopeKind};
use crate::graphdef::pb::DataType;
use crate::graphdef::tensor::pb_type;
use crate::rewrite::splice::Segment;

/// Store one constant as codes for the ops of `group`, which all want the same; returns the bytes of its elements, scales and zero
/// points in the output. `owned`: nothing else reads it, so that the codes take its place.
pub(crate) fn packed<'w>(
    editor: &mut Editor<'_>,
    group: &[&'w WeightWork],
    owned: bool,
    copies: &mut Copies<'w>,
) -> u64 {
    let Some(first) = group.first() else { return 0 };
    let storage = Storage::of(first.map.bits(), usize::try_from(first.weight.elements()).unwrap_or(usize::MAX));
    let Some(dequant) = first.map.dequant_of(storage) else { return first.weight.stored_bytes() };
    let codes = (storage, &dequant);
    let graph = editor.graph;
    let source = first.weight.source;
    if owned {
        let (nodes, _, bytes) = chain(editor, first, codes, graph.name(source).to_owned(), (source, true));
        editor.replace(source, nodes);
        return bytes;
    }
    let mut bytes = first.weight.stored_bytes();
    for (home, works) in homes(graph, group) {
        let Some(own) = works.first() else { continue };
        let name = editor.unique(home.scope, &format!("{}/weight_quant", graph.name(own.op)));
        let (nodes, reference, added) = chain(editor, own, codes, name, (home, false));
        editor.insert(home, nodes);
        copies.add(&works, &reference);
        bytes += added;
    }
    bytes
}

/// The nodes from codes to values, the reference of the last one, and the bytes of all constants. They stand beside `home`, whose place
/// they may take over.
fn chain(
    editor: &mut Editor<'_>,
    work: &WeightWork,
    (storage, dequant): (Storage, &Dequant),
    name: String,
    (home, takes_over): (NodeId, bool),
) -> (Vec<NewNode>, String, u64) {
    let weight = &work.weight;
    let graph = editor.graph;
    let codes_name = editor.unique(home.scope, &format!("{name}/codes"));
    let mut maker = Maker::new(editor, home, &name, &codes_name);

    let codes = work.stream(Form::Codes(weight.dtype, storage));
    maker.count(codes.len());
    let (byte, codes_shape) = shared_bytes::constant(storage, weight, codes.len());
    let codes = NewNode::constant(codes_name, maker.device, byte, &codes_shape, Segment::Weights(codes))
        .with_inputs(if home == weight.source { control_inputs(graph, home) } else { Vec::new() });
    let codes = maker.push(codes);
    let codes = shared_bytes::separated(&mut maker, editor, storage, weight, &codes);

    let shape = broadcast_shape(work);
    let last = match dequant {
        Dequant::Affine { scale, .. } => {
            let centered = centered(&mut maker, editor, byte, dequant, &shape, &codes);
            let scale = maker.floats(editor, "scale", &shape, scale);
            maker.float_op(editor, "Mul", "scaled", &[&centered, &scale])
        }
        Dequant::DoReFa { offset, .. } => {
            let mut index = maker.cast(editor, "index", &codes, byte, DataType::DT_INT32);
            if *offset != 0 {
                let offset = maker.int(editor, "offset", *offset);
                index = maker.op(editor, "AddV2", "shifted", DataType::DT_INT32, &[&index, &offset]);
            }
            let levels = levels(dequant);
            let values = maker.floats(editor, "values", &[levels.len() as u64], &levels);
            let axis = maker.int(editor, "axis", 0);
            let name = maker.part(editor, "looked_up");
            let look_up = NewNode::new("GatherV2", name, vec![values, index, axis], maker.device)
                .typed("Tparams", DataType::DT_FLOAT)
                .typed("Tindices", DataType::DT_INT32)
                .typed("Taxis", DataType::DT_INT32)
                .int("batch_dims", 0);
            maker.push(look_up)
        }
        Dequant::Sign { mean_abs, .. } => {
            let centered = centered(&mut maker, editor, byte, dequant, &[], &codes);
            let mean = maker.float(editor, "scale", *mean_abs);
            maker.float_op(editor, "Mul", "scaled", &[&centered, &mean])
        }
    };
    // The last node has the constant's name, type and output name, so that no reader changes.
    let dtype = pb_type(weight.dtype);
    let mut end = if weight.dtype == DType::F32 {
        plain("Identity", name, dtype, &[&last], maker.device)
    } else if matches!(maker.kind, ScopeKind::Main) {
        cast(name, &last, DataType::DT_FLOAT, dtype, maker.device)
    } else {
        let narrow = maker.cast(editor, "narrow", &last, DataType::DT_FLOAT, dtype);
        plain("Identity", name, dtype, &[&narrow], maker.device)
    };
    if takes_over {
        end = end.taking_over(kept_fields(graph, weight.source));
    }
    maker.push(end.marked(mark::ATTR, &work.settings.in_words()));
    maker.done()
}

/// Codes of type `byte` as float32, less their zero points, which lie in `shape` where they differ.
fn centered(
    maker: &mut Maker<'_>,
    editor: &mut Editor<'_>,
    byte: DataType,
    dequant: &Dequant,
    shape: &[u64],
    codes: &str,
) -> String {
    let float = maker.cast(editor, "float", codes, byte, DataType::DT_FLOAT);
    let zero_points = dequant.zero_points();
    if zero_points.is_empty() {
        return float;
    }
    let shape = if zero_points.len() == 1 { &[] } else { shape };
    let zero_points = maker.floats(editor, "zero_point", shape, &zero_points);
    maker.float_op(editor, "Sub", "centered", &[&float, &zero_points])
}

/// The value of every code of DoReFa's grid, in order.
///
/// A table, because before TensorFlow runs a graph it turns division by a constant into multiplication with the inverse, which rounds
/// otherwise. No rewrite touches a look-up.
fn levels(dequant: &Dequant) -> Vec<f32> {
    let Dequant::DoReFa { levels, offset } = dequant else { return Vec::new() };
    let stored = i8::MIN..=i8::MAX;
    #[expect(clippy::cast_precision_loss, reason = "codes are at most 255")]
    let on_grid = |code: &i8| (0.0..=*levels).contains(&((i32::from(*code) + offset) as f32));
    let codes: Vec<i8> = stored.filter(on_grid).collect();
    let mut values = vec![0.0; codes.len()];
    dequant.values_into(0, &codes, &mut values);
    values
}

/// The shape of scales and zero points that broadcasts over the constant: scalar, or 1 everywhere but on the channel axes.
fn broadcast_shape(work: &WeightWork) -> Vec<u64> {
    let Some(axes) = work.axes.map(|axes| axes.source) else { return Vec::new() };
    let own = axes.first..axes.first + axes.count;
    work.weight.shape.iter().enumerate().map(|(axis, dim)| if own.contains(&axis) { *dim } else { 1 }).collect()
}
