//! TensorFlow's fake-quant ops with constant ranges.

use quant_math::kernels::tensorflow::NudgedRange;
use quant_math::plan::Settings;
use quant_math::{Affine, Grid, MathError, Range};

use super::node::{NewNode, attr_text};
use super::{ActivationWork, Editor, WeightWork};
use crate::index::{NodeId, ScopeKind};
use crate::mark;
use crate::pb::DataType;
use crate::sites::Axes;

/// Ends of the range of a FakeQuant op.
struct Ends {
    min: Vec<f32>,
    max: Vec<f32>,
}

/// `FakeQuantWithMinMaxVars` (or `…PerChannel`) between a weight and its op; returns the bytes of the ranges.
///
/// Symmetric: range −m…m on the narrow grid, m = max|w|. Else the observed range with 0 on the full grid.
///
/// # Errors
/// A range from which the op makes no numbers.
pub(super) fn weight(editor: &mut Editor<'_>, work: &WeightWork) -> Result<u64, MathError> {
    let ends: Vec<(f32, f32)> =
        work.ranges.iter().map(|range| Ok(ends(*range, &work.settings)?.0)).collect::<Result<_, MathError>>()?;
    let ends = Ends { min: ends.iter().map(|e| e.0).collect(), max: ends.iter().map(|e| e.1).collect() };
    let how = format!("weight {} {:?}", work.slot, work.axes);
    let from = editor.reads(work.op, work.input);
    if let Some(made) = editor.already_made(work.op.scope, &from, &how) {
        editor.reroute(work.op, work.input, made);
        return Ok(0);
    }
    let bytes = 8 * ends.min.len() as u64;
    let base = editor.unique(work.op.scope, &format!("{}/weight_quant", editor.graph.name(work.op)));
    let anchor = editor.graph.name(work.weight.source).to_owned();
    let mut maker = Maker::new(editor, work.op, &anchor);
    let turned = work.axes.zip(work.weight.edge_shape.as_deref()).map(|((edge, _), shape)| turn(edge, shape));
    let fake_quant =
        FakeQuant { ends, bits: work.settings.bits, narrow: work.settings.symmetric, mark: mark::text(&work.settings) };
    let result = match turned {
        None | Some(Turn::None) => maker.fake_quant(editor, &base, &base, &from, &fake_quant, work.axes.is_some()),
        Some(Turn::Reshape { flat, back }) => {
            let shape = maker.ints(editor, &base, "flat_shape", &flat);
            let flat = maker.shaped(editor, &base, "Reshape", "flat", &from, &shape);
            let name = editor.unique(work.op.scope, &format!("{base}/fake_quant"));
            let quantized = maker.fake_quant(editor, &base, &name, &flat, &fake_quant, true);
            let shape = maker.ints(editor, &base, "shape", &back);
            maker.shaped_as("Reshape", &base, &quantized, &shape, &fake_quant.mark)
        }
        Some(Turn::Transpose { perm, back }) => {
            let last = maker.ints(editor, &base, "channels_last", &perm);
            let turned = maker.shaped(editor, &base, "Transpose", "turned", &from, &last);
            let name = editor.unique(work.op.scope, &format!("{base}/fake_quant"));
            let quantized = maker.fake_quant(editor, &base, &name, &turned, &fake_quant, true);
            let first = maker.ints(editor, &base, "channels_back", &back);
            maker.shaped_as("Transpose", &base, &quantized, &first, &fake_quant.mark)
        }
    };
    let nodes = maker.nodes;
    editor.insert(work.op, nodes);
    editor.remember(work.op.scope, &from, &how, &result);
    editor.reroute(work.op, work.input, result);
    Ok(bytes)
}

/// `FakeQuantWithMinMaxVars` on an activation; returns its scale.
pub(super) fn activation(editor: &mut Editor<'_>, work: &ActivationWork, range: Range) -> Result<f32, MathError> {
    let symmetric = work.settings.symmetric;
    let bits = work.settings.bits;
    let ((min, max), affine) = ends(range, &work.settings)?;
    let how = format!("activation {bits} {symmetric} {:08x} {:08x}", min.to_bits(), max.to_bits());
    let fake_quant = FakeQuant {
        ends: Ends { min: vec![min], max: vec![max] },
        bits,
        narrow: symmetric,
        mark: mark::text(&work.settings),
    };
    super::qat::on_edge(editor, work, &how, |editor, name, from, anchor| {
        let mut maker = Maker::new(editor, work.op, anchor);
        let result = maker.fake_quant(editor, name, name, from, &fake_quant, false);
        (maker.nodes, result)
    });
    Ok(affine.scale())
}

/// The op's `min` and `max` for an observed range, and the reference's parameters.
///
/// Where those have the smallest scale there is, the op gets the ends of their grid: from the range itself it would compute a step that
/// is flushed to 0, and NaN. A range whose width is infinite in float32 is an error for the same reason.
fn ends(range: Range, settings: &Settings) -> Result<((f32, f32), Affine), MathError> {
    let Range { min, max } = range.with_zero();
    let (affine, min, max) = if settings.symmetric {
        let m = (0.0 - min).max(max);
        (Affine::symmetric(range, Grid::signed_narrow(settings.bits)?)?, 0.0 - m, m)
    } else {
        (Affine::asymmetric(range, Grid::unsigned(settings.bits)?)?, min, max)
    };
    let grid = affine.grid();
    let ends = if affine.scale() <= f32::MIN_POSITIVE {
        (affine.dequantize(grid.quant_min()), affine.dequantize(grid.quant_max()))
    } else {
        (min, max)
    };
    NudgedRange::new(ends.0, ends.1, settings.bits, settings.symmetric)?;
    Ok((ends, affine))
}

/// How to bring the channels to the last axis, where `…PerChannel` wants them.
enum Turn {
    None,
    Reshape { flat: Vec<i32>, back: Vec<i32> },
    Transpose { perm: Vec<i32>, back: Vec<i32> },
}

fn turn(axes: Axes, shape: &[u64]) -> Turn {
    let dims: Vec<i32> = shape.iter().map(|d| i32::try_from(*d).unwrap_or(-1)).collect();
    if axes.first + axes.count == shape.len() {
        if axes.count == 1 {
            return Turn::None;
        }
        let channels = dims.iter().skip(axes.first).product();
        let flat = dims.iter().take(axes.first).copied().chain([channels]).collect();
        return Turn::Reshape { flat, back: dims };
    }
    let order: Vec<usize> = (0..shape.len()).filter(|axis| *axis != axes.first).chain([axes.first]).collect();
    let mut back = vec![0; shape.len()];
    for (at, axis) in (0i32..).zip(&order) {
        if let Some(slot) = back.get_mut(*axis) {
            *slot = at;
        }
    }
    let perm = order.iter().map(|axis| i32::try_from(*axis).unwrap_or(0)).collect();
    Turn::Transpose { perm, back }
}

struct FakeQuant {
    ends: Ends,
    bits: u32,
    narrow: bool,
    mark: String,
}

/// Makes the nodes of one site.
struct Maker<'g> {
    scope: u32,
    kind: ScopeKind,
    device: &'g str,
    control: Option<String>,
    nodes: Vec<NewNode>,
}

impl<'g> Maker<'g> {
    fn new(editor: &mut Editor<'g>, op: NodeId, anchor: &str) -> Self {
        Self {
            scope: op.scope,
            kind: editor.scope_kind(op.scope),
            device: editor.device(op),
            control: editor.frame_control(op, anchor),
            nodes: Vec::new(),
        }
    }

    fn push(&mut self, node: NewNode) -> String {
        let reference = node.output(self.kind);
        self.nodes.push(node);
        reference
    }

    fn ints(&mut self, editor: &mut Editor<'_>, base: &str, part: &str, values: &[i32]) -> String {
        let name = editor.unique(self.scope, &format!("{base}/{part}"));
        let node = NewNode::ints(name, self.device, values).with_inputs(self.control.clone());
        self.push(node)
    }

    fn floats(&mut self, editor: &mut Editor<'_>, base: &str, part: &str, shape: &[u64], values: &[f32]) -> String {
        let name = editor.unique(self.scope, &format!("{base}/{part}"));
        let node = NewNode::floats(name, self.device, shape, values).with_inputs(self.control.clone());
        self.push(node)
    }

    /// Reshape or Transpose, with an int32 vector as second input.
    fn shaped(&mut self, editor: &mut Editor<'_>, base: &str, op: &str, part: &str, from: &str, by: &str) -> String {
        let name = editor.unique(self.scope, &format!("{base}/{part}"));
        self.push(shape_node(op, name, from, by, self.device))
    }

    fn shaped_as(&mut self, op: &str, name: &str, from: &str, by: &str, mark: &str) -> String {
        let node = shape_node(op, name.to_owned(), from, by, self.device).taking_over(attr_text(mark::ATTR, mark));
        self.push(node)
    }

    fn fake_quant(
        &mut self,
        editor: &mut Editor<'_>,
        base: &str,
        name: &str,
        from: &str,
        fake_quant: &FakeQuant,
        per_channel: bool,
    ) -> String {
        let ends = &fake_quant.ends;
        let shape = if per_channel { vec![ends.min.len() as u64] } else { Vec::new() };
        let min = self.floats(editor, base, "min", &shape, &ends.min);
        let max = self.floats(editor, base, "max", &shape, &ends.max);
        let op = if per_channel { "FakeQuantWithMinMaxVarsPerChannel" } else { "FakeQuantWithMinMaxVars" };
        let node = NewNode::new(op, name.to_owned(), vec![from.to_owned(), min, max], self.device)
            .int("num_bits", i64::from(fake_quant.bits))
            .bool("narrow_range", fake_quant.narrow)
            .text(mark::ATTR, &fake_quant.mark);
        self.push(node)
    }
}

fn shape_node(op: &str, name: String, from: &str, by: &str, device: &str) -> NewNode {
    let by_type = if op == "Reshape" { "Tshape" } else { "Tperm" };
    NewNode::new(op, name, vec![from.to_owned(), by.to_owned()], device)
        .typed("T", DataType::DT_FLOAT)
        .typed(by_type, DataType::DT_INT32)
}
