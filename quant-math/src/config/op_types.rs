//! Which op and module types mean the same: one table for TensorFlow, Keras and PyTorch names.

/// A kind of op and the names that mean it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct OpType {
    /// Every name, the first one for messages. Case does not matter, so names that differ in case alone stand once.
    pub names: &'static [&'static str],
    /// Whether a TensorFlow op of this kind belongs to `default` (if it has a weight).
    pub default_in_tensorflow: bool,
    /// Whether a PyTorch module of this kind belongs to `default`.
    pub default_in_torch: bool,
}

const fn both(names: &'static [&'static str]) -> OpType {
    OpType { names, default_in_tensorflow: true, default_in_torch: true }
}

const fn tensorflow(names: &'static [&'static str]) -> OpType {
    OpType { names, default_in_tensorflow: true, default_in_torch: false }
}

const fn torch(names: &'static [&'static str]) -> OpType {
    OpType { names, default_in_tensorflow: false, default_in_torch: true }
}

const fn named(names: &'static [&'static str]) -> OpType {
    OpType { names, default_in_tensorflow: false, default_in_torch: false }
}

/// The table. A type that is not in it means itself.
pub const OP_TYPES: &[OpType] = &[
    torch(&["Conv1d"]),
    both(&["Conv2D"]),
    both(&["Conv3D"]),
    tensorflow(&["DepthwiseConv2dNative", "DepthwiseConv2D"]),
    torch(&["ConvTranspose1d", "Conv1DTranspose"]),
    both(&["Conv2DBackpropInput", "ConvTranspose2d", "Conv2DTranspose"]),
    torch(&["ConvTranspose3d", "Conv3DBackpropInput", "Conv3DBackpropInputV2", "Conv3DTranspose"]),
    both(&["MatMul", "Linear", "Dense", "addmm"]),
    tensorflow(&["BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "bmm"]),
    named(&["Einsum", "EinsumDense"]),
    torch(&["Bilinear"]),
    torch(&["Embedding", "Gather", "GatherV2", "ResourceGather"]),
    torch(&["EmbeddingBag"]),
    named(&["ReLU"]),
    named(&["ReLU6"]),
    named(&["LeakyReLU"]),
    named(&["PReLU"]),
    named(&["ELU"]),
    named(&["SELU"]),
    named(&["GELU"]),
    named(&["SiLU", "Swish"]),
    named(&["Hardswish", "hard_swish"]),
    named(&["Hardtanh"]),
    named(&["Sigmoid"]),
    named(&["Tanh"]),
    named(&["Softmax"]),
    named(&["Softplus"]),
    named(&["Add", "AddV2"]),
    named(&["Sub"]),
    named(&["Mul"]),
    named(&["BiasAdd"]),
    named(&["Concat", "ConcatV2", "Concatenate", "cat"]),
    named(&["MaxPool", "MaxPool2d", "MaxPooling2D"]),
    named(&["AvgPool", "AvgPool2d", "AveragePooling2D"]),
    named(&["AdaptiveAvgPool2d", "GlobalAveragePooling2D"]),
    named(&["Mean"]),
    named(&["BatchNorm2d", "BatchNormalization", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"]),
    named(&["LayerNorm", "LayerNormalization"]),
    named(&["LSTM"]),
    named(&["GRU"]),
    named(&["MultiheadAttention", "MultiHeadAttention"]),
];

/// The row that has `name`.
pub fn find(name: &str) -> Option<&'static OpType> {
    OP_TYPES.iter().find(|row| row.names.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

/// Whether `a` and `b` mean the same type.
pub fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || find(a).is_some_and(|row| row.names.iter().any(|name| name.eq_ignore_ascii_case(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_in_two_rows() {
        let mut seen = std::collections::BTreeMap::new();
        for row in OP_TYPES {
            let names: std::collections::BTreeSet<_> = row.names.iter().map(|name| name.to_ascii_lowercase()).collect();
            for name in names {
                assert_eq!(seen.insert(name.clone(), row.names), None, "{name}");
            }
        }
        assert!(!seen.contains_key("default"), "`default` is a word of its own");
    }

    #[test]
    fn names_of_both_frameworks_meet() {
        for (a, b) in [
            ("Conv2d", "Conv2D"),
            ("Linear", "Dense"),
            ("Linear", "MatMul"),
            ("ReLU6", "Relu6"),
            ("relu", "ReLU"),
            ("ConvTranspose2d", "Conv2DBackpropInput"),
            ("Conv2DTranspose", "ConvTranspose2d"),
            ("DepthwiseConv2D", "DepthwiseConv2dNative"),
            ("BatchMatMul", "BatchMatMulV3"),
            ("MyOwnOp", "myownop"),
        ] {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        for (a, b) in
            [("Conv2D", "Conv3D"), ("Relu", "Relu6"), ("MatMul", "BatchMatMul"), ("Conv2D", "DepthwiseConv2D")]
        {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
    }
}
