//! The bytes of a tensor or of a part of one: where they lie in the data file, if they lie there side by side.

use std::ops::Range;
use std::sync::Arc;

use super::Tensor;
use super::place::Place;
use crate::error::Error;
use crate::graphdef::io::Mapped;
use crate::graphdef::pb::DataType;

/// Elements of a checkpoint, row-major, little-endian. Nobody sees them before their CRC was found right.
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
    /// In a data file: a part of an entry's bytes.
    Mapped { entry: Arc<Place>, range: Range<usize> },
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

    /// How many bytes the elements have. None of them is read.
    pub fn len(&self) -> usize {
        match &self.held {
            Held::Mapped { range, .. } => range.len(),
            Held::Owned(bytes) => bytes.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements. Where they lie in a data file, the CRC is computed when they are first asked for.
    ///
    /// # Errors
    /// [`Error::Wire`] where it is another than the index has, with the data file.
    pub fn bytes(&self) -> Result<&[u8], Error> {
        match &self.held {
            Held::Mapped { entry, range } => Ok(entry.bytes()?.get(range.clone()).unwrap_or_default()),
            Held::Owned(bytes) => Ok(bytes),
        }
    }

    /// The data file, and where the elements are in it; `None` where they were put together.
    pub fn in_file(&self) -> Option<(&Mapped, Range<usize>)> {
        match &self.held {
            Held::Mapped { entry, range } => Some((entry.file(), entry.at(range))),
            Held::Owned(_) => None,
        }
    }

    /// The elements as bytes of their own.
    ///
    /// # Errors
    /// Those of [`bytes`](Self::bytes).
    pub fn into_bytes(self) -> Result<Vec<u8>, Error> {
        match self.held {
            Held::Mapped { .. } => self.bytes().map(<[u8]>::to_vec),
            Held::Owned(bytes) => Ok(bytes),
        }
    }

    /// Whether the file was the same all the time.
    ///
    /// # Errors
    /// [`Error::Changed`], with its file.
    pub fn check(&self) -> Result<(), Error> {
        match &self.held {
            Held::Mapped { entry, .. } => entry.check(),
            Held::Owned(_) => Ok(()),
        }
    }
}
