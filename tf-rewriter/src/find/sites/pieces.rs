//! Pieces of a tensor: what ops that cut one read of it, where they say so by constants.

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::graphdef::tensor::TensorView;

/// The piece that an output of a cutting op is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The piece with all axes of the tensor that it is cut off: axis by axis a part of that one.
    pub(super) cut: Vec<u64>,
    /// The shape that the op gives it: axes of one index may be gone, and axes of 1 may have come.
    pub(super) shape: Vec<u64>,
    /// Whether it is the whole tensor, in its order.
    pub(super) is_all: bool,
}

/// Whether an op cuts pieces off the tensor at its [`value_input`].
pub(crate) fn cuts(op: &[u8]) -> bool {
    matches!(op, b"Gather" | b"GatherV2" | b"Slice" | b"Split" | b"SplitV" | b"StridedSlice" | b"Unpack")
}

/// Whether an op has the same values as the tensor at its [`value_input`], or some of them, in another type or shape.
pub(crate) fn changes(op: &[u8]) -> bool {
    matches!(op, b"Cast" | b"Reshape" | b"ExpandDims" | b"Squeeze" | b"Transpose") || cuts(op)
}

/// The input that is cut or changed.
pub(crate) fn value_input(op: &[u8]) -> usize {
    usize::from(op == b"Split")
}

/// Numbers that say where an op cuts: more are a look-up.
const MOST: usize = 1 << 12;

/// The integers that say where an op cuts, and how many axes their constant has; `None` where that is no constant of a few integers.
fn ints(graph: &Graph, id: NodeId, input: usize) -> Result<Option<(Vec<i64>, usize)>, Error> {
    let Some(view) = graph.constant_at(id, input)?.filter(TensorView::holds_ints) else { return Ok(None) };
    if view.elements() > MOST {
        return Ok(None);
    }
    Ok(Some((view.int_values()?, view.shape().len())))
}

/// Whether constants say where a cutting op cuts. What follows the data is no piece of a weight but a look-up in one.
pub(super) fn is_fixed(graph: &Graph, id: NodeId) -> Result<bool, Error> {
    let inputs: &[usize] = match graph.op(id) {
        b"Gather" => &[1],
        b"GatherV2" | b"Slice" | b"SplitV" => &[1, 2],
        b"Split" => &[0],
        b"StridedSlice" => &[1, 2, 3],
        _ => &[],
    };
    for input in inputs {
        if ints(graph, id, *input)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The piece of a tensor of `shape` that `port` of a cutting op is; `None` where it would be none, or is not understood.
///
/// # Errors
/// Damaged nodes.
pub(super) fn piece(graph: &Graph, id: NodeId, port: u32, shape: &[u64]) -> Result<Option<Piece>, Error> {
    let ints = |input: usize| ints(graph, id, input).map(|found| found.map(|(ints, _)| ints));
    let node = graph.index().node(id);
    let attr = |key: &str| node.map(|node| node.attr_int(graph.bytes(), key)).transpose().map(Option::flatten);
    let at = port as usize;
    Ok(match graph.op(id) {
        b"Slice" => match (ints(1)?, ints(2)?) {
            (Some(begin), Some(size)) => slice(shape, &begin, &size),
            _ => None,
        },
        b"StridedSlice" => match (ints(1)?, ints(2)?, ints(3)?) {
            (Some(begin), Some(end), Some(stride)) => {
                let mask = |key| Ok::<_, Error>(attr(key)?.unwrap_or(0));
                let masks = Masks {
                    begin: mask("begin_mask")?,
                    end: mask("end_mask")?,
                    ellipsis: mask("ellipsis_mask")?,
                    new_axis: mask("new_axis_mask")?,
                    shrink_axis: mask("shrink_axis_mask")?,
                };
                strided(shape, (&begin, &end, &stride), &masks)
            }
            _ => None,
        },
        b"Split" => match (ints(0)?.as_deref(), attr("num_split")?.and_then(|n| u64::try_from(n).ok())) {
            (Some(&[axis]), Some(count)) if u64::from(port) < count => {
                along(shape, axis, |dim| dim.is_multiple_of(count).then(|| dim / count))
            }
            _ => None,
        },
        b"SplitV" => match (ints(1)?, ints(2)?.as_deref()) {
            (Some(sizes), Some(&[axis])) => along(shape, axis, |dim| sizes_of(&sizes, dim)?.get(at).copied()),
            _ => None,
        },
        b"Unpack" => {
            let axis = attr("axis")?.unwrap_or(0);
            along(shape, axis, |dim| (u64::from(port) < dim).then_some(1)).map(|piece| piece.without(shape, axis))
        }
        b"Gather" => self::ints(graph, id, 1)?.and_then(|indices| gathered(shape, 0, indices)),
        b"GatherV2" if attr("batch_dims")?.unwrap_or(0) == 0 => {
            match (self::ints(graph, id, 1)?, ints(2)?.as_deref()) {
                (Some(indices), Some(&[axis])) => gathered(shape, axis, indices),
                _ => None,
            }
        }
        _ => None,
    })
}

impl Piece {
    fn of(whole: &[u64], cut: Vec<u64>) -> Self {
        Self { is_all: cut == whole, shape: cut.clone(), cut }
    }

    /// The same without an axis, of which it has one index.
    fn without(mut self, whole: &[u64], axis: i64) -> Self {
        if let Some(at) = normal(axis, whole.len()) {
            self.shape.remove(at);
        }
        self
    }
}

/// A piece that has `part` of the dimension along one axis, and all of the others.
fn along(shape: &[u64], axis: i64, part: impl Fn(u64) -> Option<u64>) -> Option<Piece> {
    let at = normal(axis, shape.len())?;
    let mut cut = shape.to_vec();
    let dim = cut.get_mut(at)?;
    *dim = part(*dim)?;
    Some(Piece::of(shape, cut))
}

/// An axis, counted from the end where it is negative.
fn normal(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}

/// `tf.slice`: −1 stands for all that is left.
fn slice(shape: &[u64], begin: &[i64], size: &[i64]) -> Option<Piece> {
    if begin.len() != shape.len() || size.len() != shape.len() {
        return None;
    }
    let part = |((dim, begin), size): ((&u64, &i64), &i64)| {
        let left = dim.checked_sub(u64::try_from(*begin).ok()?)?;
        if *size == -1 { Some(left) } else { u64::try_from(*size).ok().filter(|size| *size <= left) }
    };
    let cut = shape.iter().zip(begin).zip(size).map(part).collect::<Option<_>>()?;
    Some(Piece::of(shape, cut))
}

/// The sizes of `tf.split`: one −1 stands for what is left.
fn sizes_of(sizes: &[i64], dim: u64) -> Option<Vec<u64>> {
    let known = sizes.iter().filter(|size| **size >= 0).try_fold(0u64, |sum, n| sum.checked_add(n.unsigned_abs()))?;
    let left = dim.checked_sub(known)?;
    let open = sizes.iter().filter(|size| **size < 0).count();
    let fits = open == 1 || (open == 0 && left == 0);
    fits.then(|| sizes.iter().map(|size| if *size < 0 { left } else { size.unsigned_abs() }).collect())
}

/// `tf.gather` of these indices, in a constant of that many axes, along an axis; a single index takes the axis away.
fn gathered(shape: &[u64], axis: i64, (indices, rank): (Vec<i64>, usize)) -> Option<Piece> {
    let count = u64::try_from(indices.len()).ok()?;
    let within = |dim: u64| indices.iter().all(|at| u64::try_from(*at).is_ok_and(|at| at < dim));
    let piece = along(shape, axis, |dim| within(dim).then_some(count))?;
    let in_order = indices.iter().zip(0i64..).all(|(index, at)| *index == at);
    let piece = Piece { is_all: piece.is_all && in_order, ..piece };
    match rank {
        0 => Some(piece.without(shape, axis)),
        1 => Some(piece),
        _ => None,
    }
}

/// The masks of a `StridedSlice`, a bit for each entry.
struct Masks {
    begin: i64,
    end: i64,
    ellipsis: i64,
    new_axis: i64,
    shrink_axis: i64,
}

/// `tf.strided_slice` (its documentation in TensorFlow 2.21).
fn strided(shape: &[u64], (begin, end, stride): (&[i64], &[i64], &[i64]), masks: &Masks) -> Option<Piece> {
    let has = |mask: i64, entry: usize| entry < 64 && mask >> entry & 1 == 1;
    let entries = begin.len();
    if end.len() != entries || stride.len() != entries || entries > 64 {
        return None;
    }
    let takes_axis = |entry: &usize| !has(masks.new_axis, *entry) && !has(masks.ellipsis, *entry);
    let named = (0..entries).filter(takes_axis).count();
    let mut dims = shape.iter().copied();
    let mut piece = Piece { cut: Vec::new(), shape: Vec::new(), is_all: true };
    for (entry, ((begin, end), stride)) in begin.iter().zip(end).zip(stride).enumerate() {
        if has(masks.ellipsis, entry) {
            let covered = shape.len().checked_sub(named)?;
            for dim in dims.by_ref().take(covered) {
                piece.push(dim, dim, true);
            }
        } else if has(masks.new_axis, entry) {
            piece.shape.push(1);
        } else {
            let dim = dims.next()?;
            if has(masks.shrink_axis, entry) {
                normal(*begin, usize::try_from(dim).ok()?)?;
                piece.push(dim, 1, false);
            } else {
                let begin = Some(*begin).filter(|_| !has(masks.begin, entry));
                let end = Some(*end).filter(|_| !has(masks.end, entry));
                piece.push(dim, taken(dim, begin, end, *stride)?, true);
                piece.is_all &= *stride == 1;
            }
        }
    }
    for dim in dims {
        piece.push(dim, dim, true);
    }
    Some(piece)
}

impl Piece {
    /// Add an axis of which `part` of `dim` is taken, and which stays or goes.
    fn push(&mut self, dim: u64, part: u64, stays: bool) {
        self.is_all &= part == dim;
        self.cut.push(part);
        if stays {
            self.shape.push(part);
        }
    }
}

/// How many of `dim` indices stand from `begin` up to `end` in steps of `stride`; `None` is the end of the axis on either side.
fn taken(dim: u64, begin: Option<i64>, end: Option<i64>, stride: i64) -> Option<u64> {
    let dim = i64::try_from(dim).ok()?;
    let (low, high) = if stride > 0 { (0, dim) } else { (-1, dim.checked_sub(1)?) };
    let clamp = |at: i64| (if at < 0 { at.saturating_add(dim) } else { at }).clamp(low, high.max(low));
    let (first, last) = if stride > 0 { (low, high) } else { (high, low) };
    let begin = begin.map_or(first, clamp);
    let end = end.map_or(last, clamp);
    let distance = if stride > 0 { end.checked_sub(begin)? } else { begin.checked_sub(end)? };
    let step = stride.checked_abs().filter(|step| *step > 0)?;
    u64::try_from(distance.max(0).checked_add(step - 1)? / step).ok()
}
