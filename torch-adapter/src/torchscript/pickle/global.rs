//! The globals a pickle of torch.jit.save may name.

use quant_math::DType;

use crate::error::PickleFault;

/// The element type of a storage, by its name in the pickle (`torch.FloatStorage`, …).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are torch's own")]
pub enum StorageType {
    Float,
    Double,
    Half,
    BFloat16,
    Long,
    Int,
    Short,
    Char,
    Byte,
    Bool,
    UInt16,
    UInt32,
    UInt64,
    ComplexHalf,
    ComplexFloat,
    ComplexDouble,
    QInt8,
    QUInt8,
    QInt32,
    QUInt4x2,
    QUInt2x4,
    Float8E5M2,
    Float8E4M3,
    Float8E5M2Fnuz,
    Float8E4M3Fnuz,
}

impl StorageType {
    const ALL: [(Self, &'static str, u64); 25] = [
        (Self::Float, "FloatStorage", 4),
        (Self::Double, "DoubleStorage", 8),
        (Self::Half, "HalfStorage", 2),
        (Self::BFloat16, "BFloat16Storage", 2),
        (Self::Long, "LongStorage", 8),
        (Self::Int, "IntStorage", 4),
        (Self::Short, "ShortStorage", 2),
        (Self::Char, "CharStorage", 1),
        (Self::Byte, "ByteStorage", 1),
        (Self::Bool, "BoolStorage", 1),
        (Self::UInt16, "UInt16Storage", 2),
        (Self::UInt32, "UInt32Storage", 4),
        (Self::UInt64, "UInt64Storage", 8),
        (Self::ComplexHalf, "ComplexHalfStorage", 4),
        (Self::ComplexFloat, "ComplexFloatStorage", 8),
        (Self::ComplexDouble, "ComplexDoubleStorage", 16),
        (Self::QInt8, "QInt8Storage", 1),
        (Self::QUInt8, "QUInt8Storage", 1),
        (Self::QInt32, "QInt32Storage", 4),
        (Self::QUInt4x2, "QUInt4x2Storage", 1),
        (Self::QUInt2x4, "QUInt2x4Storage", 1),
        (Self::Float8E5M2, "Float8_e5m2Storage", 1),
        (Self::Float8E4M3, "Float8_e4m3fnStorage", 1),
        (Self::Float8E5M2Fnuz, "Float8_e5m2fnuzStorage", 1),
        (Self::Float8E4M3Fnuz, "Float8_e4m3fnuzStorage", 1),
    ];

    /// The type of its elements, where it is one that can be quantized.
    pub fn dtype(self) -> Option<DType> {
        match self {
            Self::Float => Some(DType::F32),
            Self::Double => Some(DType::F64),
            Self::Half => Some(DType::F16),
            Self::BFloat16 => Some(DType::BF16),
            _ => None,
        }
    }

    fn entry(self) -> (&'static str, u64) {
        // Every variant stands in the table; the tests check it.
        let found = Self::ALL.iter().find(|(kind, ..)| *kind == self);
        found.map_or(("", 0), |(_, name, size)| (name, *size))
    }

    /// The class name in Python's module `torch`, for example `FloatStorage`.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// Bytes of one element.
    pub fn size(self) -> u64 {
        self.entry().1
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| known.as_bytes() == name).map(|(kind, ..)| *kind)
    }
}

/// A global, as far as it means something to the walker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `torch._utils._rebuild_tensor_v2`.
    Tensor,
    /// A function that makes a tensor of another kind (quantized, sparse, with Python attributes).
    OtherTensor,
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch.jit._pickle.restore_type_tag`.
    TypeTag,
    /// `torch.jit._pickle.build_*list`.
    BuildList,
    /// A function whose result is a scalar or device.
    Scalar,
    /// A storage class.
    Storage(StorageType),
    /// A class or enum of the archive.
    Class,
}

impl Global {
    pub(super) fn named(module: &[u8], name: &[u8]) -> Result<Self, PickleFault> {
        let known = match (module, name) {
            (b"torch._utils", b"_rebuild_tensor_v2") => Some(Self::Tensor),
            (
                b"torch._utils",
                b"_rebuild_qtensor" | b"_rebuild_sparse_tensor" | b"_rebuild_sparse_csr_tensor" | b"_rebuild_parameter",
            )
            | (b"torch._tensor", b"_rebuild_from_type_v2")
            | (b"torch.jit._pickle", b"build_tensor_from_id") => Some(Self::OtherTensor),
            (b"collections", b"OrderedDict") => Some(Self::OrderedDict),
            (b"torch.jit._pickle", b"restore_type_tag") => Some(Self::TypeTag),
            (
                b"torch.jit._pickle",
                b"build_intlist" | b"build_doublelist" | b"build_boollist" | b"build_tensorlist",
            ) => Some(Self::BuildList),
            (
                b"torch",
                b"device" | b"per_tensor_affine" | b"per_channel_affine" | b"per_channel_affine_float_qparams",
            )
            | (b"builtins", b"complex") => Some(Self::Scalar),
            (b"torch", name) => StorageType::from_name(name).map(Self::Storage),
            (module, _) if module == b"__torch__" || module.starts_with(b"__torch__.") => Some(Self::Class),
            _ => None,
        };
        known.ok_or_else(|| PickleFault::Global { name: format!("{}.{}", module.escape_ascii(), name.escape_ascii()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_storage_type_has_a_name_and_a_size() {
        for (kind, name, size) in StorageType::ALL {
            assert_eq!((kind.name(), kind.size()), (name, size));
            assert_eq!(Global::named(b"torch", name.as_bytes()).unwrap(), Global::Storage(kind));
        }
        assert!(Global::named(b"os", b"system").is_err());
        assert!(Global::named(b"__torch__x", b"y").is_err());
    }
}
