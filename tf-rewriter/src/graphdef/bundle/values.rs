//! The bytes of a tensor or of a part of one: where they lie in the data file, if they lie there side by side.

use std::ops::Range;
use std::path::PathBuf;

use super::Tensor;
use crate::error::Error;
use crate::graphdef::io::Mapped;
use crate::graphdef::pb::DataType;

/// Elements of a checkpoint, row-major, little-endian; their CRC was right.
///
/// Bytes that were not copied are those of a map: another program can change them. So what was made from them counts only after
/// [`check`](Self::check).
#[derive(Debug, Clone)]
pub struct Values {
    pub(super) dtype: DataType,
    pub(super) shape: Vec<u64>,
    pub(super) held: Held,
}

#[derive(Debug, Clone)]
pub(super) enum Held {
    /// In a data file.
    Mapped { path: PathBuf, file: Mapped, range: Range<usize> },
    /// Put together.
    Owned(Vec<u8>),
}

impl From<Tensor> for Values {
    fn from(tensor: Tensor) -> Self {
        Self { dtype: tensor.dtype, shape: tensor.shape, held: Held::Owned(tensor.bytes) }
    }
}

impl Values {
    /// Element type.
    pub fn dtype(&self) -> DataType {
        self.dtype
    }

    /// Outermost dimension first.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The elements.
    pub fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Mapped { file, range, .. } => file.get(range.clone()).unwrap_or_default(),
            Held::Owned(bytes) => bytes,
        }
    }

    /// The data file, and where the elements are in it; `None` where they were put together.
    pub fn in_file(&self) -> Option<(&Mapped, Range<usize>)> {
        match &self.held {
            Held::Mapped { file, range, .. } => Some((file, range.clone())),
            Held::Owned(_) => None,
        }
    }

    /// The elements as bytes of their own.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.held {
            Held::Mapped { .. } => self.bytes().to_vec(),
            Held::Owned(bytes) => bytes,
        }
    }

    /// Whether the file was the same all the time.
    ///
    /// # Errors
    /// [`Error::Changed`], with its file.
    pub fn check(&self) -> Result<(), Error> {
        match &self.held {
            Held::Mapped { path, file, .. } => file.check().map_err(|changed| Error::from(changed).in_file(path)),
            Held::Owned(_) => Ok(()),
        }
    }
}
