//! New values: full texts that use no memo position, so that they fit in anywhere.

use super::global::StorageType;
use super::op::code;

/// Bytes of new values, built in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fresh {
    bytes: Vec<u8>,
}

/// A tensor that fills a storage of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshTensor {
    /// The element type.
    pub kind: StorageType,
    /// The record, in the folder that belongs to the pickle.
    pub key: String,
    /// Where it is put when it is loaded: `cpu`, `cuda:0`, ….
    pub device: String,
    /// The shape.
    pub sizes: Vec<u64>,
    /// Elements from one index to the next, per dimension; `None`: row-major.
    pub strides: Option<Vec<u64>>,
    /// Whether training changes it.
    pub requires_grad: bool,
}

impl FreshTensor {
    /// Number of elements; saturates.
    pub fn numel(&self) -> u64 {
        self.sizes.iter().fold(1, |numel: u64, size| numel.saturating_mul(*size))
    }
}

impl Fresh {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn op(&mut self, op: u8) -> &mut Self {
        self.bytes.push(op);
        self
    }

    fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.op(code::GLOBAL);
        for part in [module, name] {
            self.bytes.extend_from_slice(part.as_bytes());
            self.bytes.push(b'\n');
        }
        self
    }

    /// `None`.
    pub fn none(&mut self) -> &mut Self {
        self.op(code::NONE)
    }

    /// A bool.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.op(if value { code::NEWTRUE } else { code::NEWFALSE })
    }

    /// An integer, in the shortest form, as torch writes it.
    pub fn int(&mut self, value: i64) -> &mut Self {
        if let Ok(value) = u8::try_from(value) {
            self.op(code::BININT1).bytes.push(value);
        } else if let Ok(value) = u16::try_from(value) {
            self.op(code::BININT2).bytes.extend(value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.op(code::BININT).bytes.extend(value.to_le_bytes());
        } else {
            self.op(code::LONG1).op(8).bytes.extend(value.to_le_bytes());
        }
        self
    }

    /// A float.
    pub fn float(&mut self, value: f64) -> &mut Self {
        self.op(code::BINFLOAT).bytes.extend(value.to_be_bytes());
        self
    }

    /// Text of less than 4 GiB; longer text is cut.
    pub fn str(&mut self, text: &str) -> &mut Self {
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.op(code::BINUNICODE).bytes.extend(len.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes().get(..len as usize).unwrap_or_default());
        self
    }

    fn ints(&mut self, values: impl IntoIterator<Item = u64>) -> &mut Self {
        self.op(code::MARK);
        for value in values {
            self.int(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.op(code::TUPLE)
    }

    /// A tensor.
    pub fn tensor(&mut self, tensor: &FreshTensor) -> &mut Self {
        self.global("torch._utils", "_rebuild_tensor_v2").op(code::MARK).op(code::MARK);
        self.str("storage").global("torch", tensor.kind.name()).str(&tensor.key).str(&tensor.device);
        self.int(i64::try_from(tensor.numel()).unwrap_or(i64::MAX)).op(code::TUPLE).op(code::BINPERSID);
        let strides = tensor.strides.clone().unwrap_or_else(|| row_major(&tensor.sizes));
        self.int(0).ints(tensor.sizes.iter().copied()).ints(strides).bool(tensor.requires_grad);
        self.global("collections", "OrderedDict").op(code::EMPTY_TUPLE).op(code::REDUCE);
        self.op(code::TUPLE).op(code::REDUCE)
    }

    /// A class of the archive, `__torch__.folder.Name`.
    pub(super) fn class(&mut self, class: &str) -> &mut Self {
        let (module, name) = class.rsplit_once('.').unwrap_or(("__torch__", class));
        self.global(module, name)
    }

    /// An instance of `class` (`__torch__.folder.Name`), its attributes written by `attributes` as text and value in turn.
    pub fn object(&mut self, class: &str, attributes: impl FnOnce(&mut Self)) -> &mut Self {
        self.class(class).op(code::EMPTY_TUPLE).op(code::NEWOBJ).op(code::EMPTY_DICT).op(code::MARK);
        attributes(self);
        self.op(code::SETITEMS).op(code::BUILD)
    }

    /// Set memo position `memo` to the value that was written last; see [`Splice::new_memo`](super::Splice::new_memo).
    pub fn put(&mut self, memo: u32) -> &mut Self {
        self.op(code::LONG_BINPUT).bytes.extend(memo.to_le_bytes());
        self
    }

    /// The value at memo position `memo`.
    pub fn get(&mut self, memo: u32) -> &mut Self {
        self.op(code::LONG_BINGET).bytes.extend(memo.to_le_bytes());
        self
    }
}

/// Elements from one index to the next, last dimension fastest.
fn row_major(sizes: &[u64]) -> Vec<u64> {
    let mut strides: Vec<u64> = sizes
        .iter()
        .rev()
        .scan(1_u64, |next, size| {
            let stride = *next;
            *next = next.saturating_mul((*size).max(1));
            Some(stride)
        })
        .collect();
    strides.reverse();
    strides
}
