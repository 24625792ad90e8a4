//! The ops that rules know: where the weight is, which axis are its channels, which inputs are activations.
//!
//! Layouts are those of TensorFlow's op documentation (`tf.raw_ops`).

use Activations::{All, AllButFirst, AllButLast, No, NotWeight, One, Two};
use ChannelRule::{Equation, First, FromEnd, LastTwo};

/// Where the channels of an op's weight lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelRule {
    /// This axis, counted from the end (1 is the last).
    FromEnd(usize),
    /// The last two axes together: one channel per (C, M) pair of a depthwise filter.
    LastTwo,
    /// The first axis.
    First,
    /// The one that the op's equation tells.
    Equation,
}

/// Which inputs are activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activations {
    /// None.
    No,
    /// This one.
    One(usize),
    /// The first two.
    Two,
    /// All data inputs.
    All,
    /// All data inputs but the last, which is an axis.
    AllButLast,
    /// All data inputs but the first, which is an axis.
    AllButFirst,
    /// The side of a matrix product that is not the weight; both where there is none.
    NotWeight,
}

/// What is known of an op type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpInfo {
    pub(crate) op: &'static str,
    /// Whether `default` means it (SPEC: ops with a weight).
    pub(crate) default: bool,
    /// Inputs that may be the weight, in the order in which they are tried.
    pub(crate) weights: &'static [usize],
    pub(crate) channels: ChannelRule,
    pub(crate) activations: Activations,
}

impl OpInfo {
    /// Whether an op of this type cannot be without a weight, which always stands at the same input.
    pub(crate) fn always_weighs(&self) -> bool {
        self.weights.len() == 1 && self.channels != First
    }
}

const fn layer(op: &'static str, weight: &'static [usize], channels: ChannelRule, activations: Activations) -> OpInfo {
    OpInfo { op, default: true, weights: weight, channels, activations }
}

const fn plain(op: &'static str, activations: Activations) -> OpInfo {
    OpInfo { op, default: false, weights: &[], channels: FromEnd(1), activations }
}

/// The table, sorted by op type.
static OPS: &[OpInfo] = &[
    plain("Abs", One(0)),
    plain("Add", Two),
    plain("AddN", All),
    plain("AddV2", Two),
    plain("AvgPool", One(0)),
    plain("AvgPool3D", One(0)),
    layer("BatchMatMul", &[1, 0], FromEnd(1), NotWeight),
    layer("BatchMatMulV2", &[1, 0], FromEnd(1), NotWeight),
    layer("BatchMatMulV3", &[1, 0], FromEnd(1), NotWeight),
    plain("BatchToSpaceND", One(0)),
    plain("BiasAdd", One(0)),
    plain("ClipByValue", One(0)),
    plain("Concat", AllButFirst),
    plain("ConcatV2", AllButLast),
    // [H, W, in, out]
    layer("Conv2D", &[1], FromEnd(1), One(0)),
    // [H, W, out, in]; input 0 is the output's shape, input 2 the data.
    layer("Conv2DBackpropInput", &[1], FromEnd(2), One(2)),
    layer("Conv3D", &[1], FromEnd(1), One(0)),
    OpInfo { default: false, ..layer("Conv3DBackpropInputV2", &[1], FromEnd(2), One(2)) },
    plain("DepthToSpace", One(0)),
    // [H, W, C, M]
    layer("DepthwiseConv2dNative", &[1], LastTwo, One(0)),
    plain("Div", Two),
    // Which axes are channels is in its equation.
    OpInfo { default: false, ..layer("Einsum", &[1, 0], Equation, NotWeight) },
    plain("Elu", One(0)),
    plain("Erf", One(0)),
    plain("Exp", One(0)),
    plain("ExpandDims", One(0)),
    plain("FusedBatchNorm", One(0)),
    plain("FusedBatchNormV2", One(0)),
    plain("FusedBatchNormV3", One(0)),
    OpInfo { default: false, ..layer("Gather", &[0], First, No) },
    OpInfo { default: false, ..layer("GatherV2", &[0], First, No) },
    plain("Identity", One(0)),
    plain("LRN", One(0)),
    plain("LeakyRelu", One(0)),
    plain("LogSoftmax", One(0)),
    layer("MatMul", &[1, 0], FromEnd(1), NotWeight),
    plain("Max", One(0)),
    plain("MaxPool", One(0)),
    plain("MaxPool3D", One(0)),
    plain("MaxPoolV2", One(0)),
    plain("Maximum", Two),
    plain("Mean", One(0)),
    plain("Min", One(0)),
    plain("Minimum", Two),
    plain("MirrorPad", One(0)),
    plain("Mul", Two),
    plain("Neg", One(0)),
    plain("Pack", All),
    plain("Pad", One(0)),
    plain("PadV2", One(0)),
    plain("Placeholder", No),
    plain("PlaceholderWithDefault", No),
    plain("Pow", One(0)),
    plain("RealDiv", Two),
    plain("Relu", One(0)),
    plain("Relu6", One(0)),
    plain("Reshape", One(0)),
    plain("ResizeBicubic", One(0)),
    plain("ResizeBilinear", One(0)),
    plain("ResizeNearestNeighbor", One(0)),
    OpInfo { default: false, ..layer("ResourceGather", &[0], First, No) },
    plain("Rsqrt", One(0)),
    plain("Selu", One(0)),
    plain("Sigmoid", One(0)),
    plain("Slice", One(0)),
    plain("Softmax", One(0)),
    plain("Softplus", One(0)),
    plain("Softsign", One(0)),
    plain("SpaceToBatchND", One(0)),
    plain("SpaceToDepth", One(0)),
    plain("Sqrt", One(0)),
    plain("Square", One(0)),
    plain("SquaredDifference", Two),
    plain("Squeeze", One(0)),
    plain("StridedSlice", One(0)),
    plain("Sub", Two),
    plain("Sum", One(0)),
    plain("Tanh", One(0)),
    plain("Tile", One(0)),
    plain("Transpose", One(0)),
];

/// Whether `op` is a variable, whose values are not in the graph.
pub(crate) fn is_variable(op: &[u8]) -> bool {
    matches!(op, b"Variable" | b"VariableV2" | b"VarHandleOp")
}

/// Ops that are fed.
pub(crate) fn is_input(op: &[u8]) -> bool {
    matches!(op, b"Placeholder" | b"PlaceholderWithDefault")
}

/// Ops that make a lookup table, which is empty at first.
pub(crate) fn is_table(op: &[u8]) -> bool {
    let families: [&[u8]; 5] =
        [b"HashTable", b"MutableHashTable", b"MutableDenseHashTable", b"AnonymousHashTable", b"AnonymousMutable"];
    families.iter().any(|family| op.starts_with(family))
}

/// Ops whose output is on a grid.
pub(crate) fn is_quantizer(op: &[u8]) -> bool {
    op.starts_with(b"FakeQuantWithMinMax") || op.starts_with(b"QuantizeAndDequantize") || op == b"Dequantize"
}

/// Whether an op writes, saves or asks for the state of variables (TensorFlow 2.21's op names).
pub(crate) fn writes_variables(op: &[u8]) -> bool {
    let families: [&[u8]; 6] =
        [b"Assign", b"Apply", b"SparseApply", b"ResourceApply", b"ResourceSparseApply", b"ResourceScatter"];
    let others: [&[u8]; 18] = [
        b"CountUpTo",
        b"DestroyResourceOp",
        b"IsVariableInitialized",
        b"MergeV2Checkpoints",
        b"Restore",
        b"RestoreSlice",
        b"RestoreV2",
        b"Save",
        b"SaveSlices",
        b"SaveV2",
        b"ScatterAdd",
        b"ScatterDiv",
        b"ScatterMax",
        b"ScatterMin",
        b"ScatterMul",
        b"ScatterSub",
        b"ScatterUpdate",
        b"VarIsInitializedOp",
    ];
    families.iter().any(|family| op.starts_with(family)) || others.contains(&op)
}

/// Whether an op has no output, only effects (of those that may stand in a model's graph; TensorFlow 2.21's op names).
pub(crate) fn makes_nothing(op: &[u8]) -> bool {
    let ops: [&[u8]; 16] = [
        b"Abort",
        b"Assert",
        b"CloseSummaryWriter",
        b"ControlTrigger",
        b"CreateSummaryFileWriter",
        b"DisableCopyOnRead",
        b"FlushSummaryWriter",
        b"NoOp",
        b"PrintV2",
        b"WriteAudioSummary",
        b"WriteGraphSummary",
        b"WriteHistogramSummary",
        b"WriteImageSummary",
        b"WriteRawProtoSummary",
        b"WriteScalarSummary",
        b"WriteSummary",
    ];
    ops.contains(&op)
}

/// What is known of `op`.
pub(crate) fn info(op: &[u8]) -> Option<&'static OpInfo> {
    OPS.binary_search_by(|info| info.op.as_bytes().cmp(op)).ok().and_then(|i| OPS.get(i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(OPS.windows(2).all(|pair| pair[0].op < pair[1].op));
        assert!(OPS.iter().all(|info| std::ptr::eq(super::info(info.op.as_bytes()).unwrap(), info)));
        assert!(info(b"NoSuchOp").is_none());
    }

    #[test]
    fn default_means_what_the_specification_lists() {
        let default: Vec<_> = OPS.iter().filter(|i| i.default).map(|i| i.op).collect();
        let listed = [
            "BatchMatMul",
            "BatchMatMulV2",
            "BatchMatMulV3",
            "Conv2D",
            "Conv2DBackpropInput",
            "Conv3D",
            "DepthwiseConv2dNative",
            "MatMul",
        ];
        assert_eq!(default, listed);
    }
}
