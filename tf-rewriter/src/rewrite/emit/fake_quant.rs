//! TensorFlow's fake-quant ops with constant ranges: Naive, and QAT after Jacob et al. 2018.

use quant_math::kernels::tensorflow::NudgedRange;
use quant_math::plan::Settings;
use quant_math::{Affine, Grid, MathError, Range};

use super::edge::{on_activation, on_weight};
use super::maker::{Maker, plain};
use super::node::NewNode;
use super::{ActivationWork, Editor, Pieces, WeightWork};
use crate::find::mark;
use crate::find::sites::Axes;
use crate::graphdef::pb::DataType;

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
pub(super) fn weight<'w>(
    editor: &mut Editor<'_>,
    work: &'w WeightWork,
    pieces: &mut Pieces<'w>,
) -> Result<u64, MathError> {
    let ends: Vec<(f32, f32)> =
        work.ranges.iter().map(|range| Ok(ends(*range, &work.settings)?.0)).collect::<Result<_, MathError>>()?;
    weight_between(editor, work, pieces, &ends)
}

/// The same between given ends, of the tensor or of each channel.
///
/// # Errors
/// None; the signature is that of [`weight`].
pub(super) fn weight_between<'w>(
    editor: &mut Editor<'_>,
    work: &'w WeightWork,
    pieces: &mut Pieces<'w>,
    ends: &[(f32, f32)],
) -> Result<u64, MathError> {
    let ends = Ends { min: ends.iter().map(|e| e.0).collect(), max: ends.iter().map(|e| e.1).collect() };
    let turn = work.axes.zip(work.weight.whole_shape()).map(|(axes, shape)| turn(axes.whole, shape));
    let fake_quant = FakeQuant::new(ends, &work.settings);
    let how = format!("weight {} {:?}", work.slot, work.axes.map(|axes| axes.whole));
    on_weight(editor, (work.edge(), pieces), &how, |editor, maker, from| {
        match turn {
            None | Some(Turn::None) => {
                fake_quant.last(editor, maker, from, work.axes.is_some());
            }
            Some(Turn::Reshape { flat, back }) => {
                let shape = maker.dims(editor, "flat_shape", &flat);
                let flat = shaped(editor, maker, "Reshape", "flat", from, &shape);
                let quantized = fake_quant.inner(editor, maker, &flat);
                let shape = maker.dims(editor, "shape", &back);
                shaped_last(maker, "Reshape", &quantized, &shape, &fake_quant.mark);
            }
            Some(Turn::Transpose { perm, back }) => {
                let last = maker.dims(editor, "channels_last", &perm);
                let turned = shaped(editor, maker, "Transpose", "turned", from, &last);
                let quantized = fake_quant.inner(editor, maker, &turned);
                let first = maker.dims(editor, "channels_back", &back);
                shaped_last(maker, "Transpose", &quantized, &first, &fake_quant.mark);
            }
        }
        Ok(())
    })
}

/// `FakeQuantWithMinMaxVars` on an activation; returns its scale. The plan refuses activations without a range.
///
/// # Errors
/// A range from which the op makes no numbers.
pub(super) fn activation(editor: &mut Editor<'_>, work: &ActivationWork) -> Result<Option<f32>, MathError> {
    let Some(range) = work.range else { return Ok(None) };
    let (ends, affine) = ends(range, &work.settings)?;
    activation_between(editor, work, ends)?;
    Ok(Some(affine.scale()))
}

/// The same between given ends.
///
/// # Errors
/// None; [`on_activation`] has those of what it is given.
pub(super) fn activation_between(
    editor: &mut Editor<'_>,
    work: &ActivationWork,
    (min, max): (f32, f32),
) -> Result<(), MathError> {
    let Settings { bits, symmetric, .. } = work.settings;
    let how = format!("activation {bits} {symmetric} {:08x} {:08x}", min.to_bits(), max.to_bits());
    let fake_quant = FakeQuant::new(Ends { min: vec![min], max: vec![max] }, &work.settings);
    on_activation(editor, work, &how, |editor, maker, from| {
        fake_quant.last(editor, maker, from, false);
        Ok(())
    })
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
pub(super) enum Turn {
    None,
    Reshape { flat: Vec<i32>, back: Vec<i32> },
    Transpose { perm: Vec<i32>, back: Vec<i32> },
}

pub(super) fn turn(axes: Axes, shape: &[u64]) -> Turn {
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

impl FakeQuant {
    fn new(ends: Ends, settings: &Settings) -> Self {
        Self { ends, bits: settings.bits, narrow: settings.narrow_range(), mark: settings.in_words() }
    }

    /// The op under the site's name.
    fn last(&self, editor: &mut Editor<'_>, maker: &mut Maker<'_>, from: &str, per_channel: bool) {
        let name = maker.base().to_owned();
        self.make(editor, maker, name, from, per_channel);
    }

    /// The op in the middle of the site's nodes, per channel.
    fn inner(&self, editor: &mut Editor<'_>, maker: &mut Maker<'_>, from: &str) -> String {
        let name = maker.part(editor, "fake_quant");
        self.make(editor, maker, name, from, true)
    }

    fn make(
        &self,
        editor: &mut Editor<'_>,
        maker: &mut Maker<'_>,
        name: String,
        from: &str,
        per_channel: bool,
    ) -> String {
        let shape = if per_channel { vec![self.ends.min.len() as u64] } else { Vec::new() };
        let min = maker.floats(editor, "min", &shape, &self.ends.min);
        let max = maker.floats(editor, "max", &shape, &self.ends.max);
        let op = if per_channel { "FakeQuantWithMinMaxVarsPerChannel" } else { "FakeQuantWithMinMaxVars" };
        let node = NewNode::new(op, name, vec![from.to_owned(), min, max], maker.device)
            .int("num_bits", i64::from(self.bits))
            .bool("narrow_range", self.narrow)
            .text(mark::ATTR, &self.mark);
        maker.push(node)
    }
}

/// Reshape or Transpose, with an int32 vector as second input.
pub(super) fn shaped(
    editor: &mut Editor<'_>,
    maker: &mut Maker<'_>,
    op: &str,
    part: &str,
    from: &str,
    by: &str,
) -> String {
    let node = shape_node(op, maker.part(editor, part), from, by, maker.device);
    maker.push(node)
}

/// The same under the site's name, with our mark.
fn shaped_last(maker: &mut Maker<'_>, op: &str, from: &str, by: &str, mark: &str) {
    let node = shape_node(op, maker.base().to_owned(), from, by, maker.device);
    maker.push(node.marked(mark::ATTR, mark));
}

fn shape_node(op: &str, name: String, from: &str, by: &str, device: &str) -> NewNode {
    let by_type = if op == "Reshape" { "Tshape" } else { "Tperm" };
    plain(op, name, DataType::DT_FLOAT, &[from, by], device).typed(by_type, DataType::DT_INT32)
}
