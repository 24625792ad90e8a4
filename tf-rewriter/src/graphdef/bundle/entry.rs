//! The messages of an index: `BundleHeaderProto` and `BundleEntryProto`.

use protobuf::Enum;

use super::damaged;
use crate::error::Error;
use crate::graphdef::pb::DataType;
use crate::graphdef::tensor::{dtype_name, dtype_size};
use crate::graphdef::wire::{Fields, Value};

/// The newest version of the format that there is: TensorFlow 2.21 writes 1.
const VERSION: u64 = 1;

/// The header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The number of data files.
    pub(super) shards: u32,
}

/// What the index says of a tensor, or of a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Element type.
    pub dtype: DataType,
    /// Outermost dimension first.
    pub shape: Vec<u64>,
    /// Which data file, from 0.
    pub shard: u64,
    /// Where its bytes begin there.
    pub offset: u64,
    /// How many bytes it has there.
    pub size: u64,
    /// The CRC-32C of its bytes, masked as the index stores it.
    pub crc: u32,
    /// The parts, where it is stored in parts: what each has of every dimension. The entry itself has no bytes then.
    pub slices: Vec<Vec<Extent>>,
    /// Where the entry begins in the index file.
    pub(super) offset_in_index: u64,
}

/// What a part has of one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first index.
    pub start: u64,
    /// How many; `None`: all of them.
    pub length: Option<u64>,
}

/// Bytes of the index, and where they stand in its file.
pub(super) type Bytes<'a> = (&'a [u8], usize);

impl Header {
    pub(super) fn read((bytes, base): Bytes<'_>) -> Result<Self, Error> {
        let what = "the checkpoint's header";
        let (mut shards, mut big_endian, mut needs) = (0, false, 0);
        let mut fields = Fields::new(bytes, base, what);
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (1, Value::Varint(count)) => shards = count,
                (2, Value::Varint(order)) => big_endian = order != 0,
                (3, Value::Bytes(bytes, base)) => {
                    let mut version = Fields::new(bytes, base, what);
                    while let Some(field) = version.next()? {
                        if let (2, Value::Varint(least)) = (field.number, field.value) {
                            needs = least;
                        }
                    }
                }
                _ => {}
            }
        }
        let unread = |message: String| {
            Err(Error::Checkpoint { message, help: "save the checkpoint again with TensorFlow on this machine".into() })
        };
        if big_endian {
            return unread("the checkpoint was written on a big-endian machine".to_owned());
        }
        if needs > VERSION {
            return unread(format!("the checkpoint is for readers of version {needs}, this one has version {VERSION}"));
        }
        match u32::try_from(shards) {
            Ok(shards) if shards > 0 => Ok(Self { shards }),
            _ => Err(damaged(what, format!("{shards} data files"), "one or more", base as u64)),
        }
    }
}

impl Entry {
    /// One that is not written yet.
    pub(super) fn of(dtype: DataType, shape: Vec<u64>) -> Self {
        Self { dtype, shape, shard: 0, offset: 0, size: 0, crc: 0, slices: Vec::new(), offset_in_index: 0 }
    }

    pub(super) fn read((bytes, base): Bytes<'_>, name: &str) -> Result<Self, Error> {
        let what = || format!("the entry of `{name}`");
        let offset_in_index = base as u64;
        let mut entry = Self { offset_in_index, ..Self::of(DataType::DT_INVALID, Vec::new()) };
        let mut fields = Fields::new(bytes, base, "an entry of the index");
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (1, Value::Varint(number)) => {
                    let dtype = i32::try_from(number).ok().and_then(DataType::from_i32);
                    entry.dtype = dtype.ok_or_else(|| {
                        damaged(what(), format!("element type {number}"), "a known one", offset_in_index)
                    })?;
                }
                (2, Value::Bytes(bytes, base)) => entry.shape = shape((bytes, base), &what)?,
                (3, Value::Varint(shard)) => entry.shard = shard,
                (4, Value::Varint(offset)) => entry.offset = offset,
                (5, Value::Varint(size)) => entry.size = size,
                (6, Value::Fixed32(crc)) => entry.crc = u32::from_le_bytes(crc),
                (7, Value::Bytes(bytes, base)) => entry.slices.push(slice((bytes, base), &what)?),
                _ => {}
            }
        }
        Ok(entry)
    }

    /// Elements of the whole tensor, and the bytes of one.
    pub(super) fn elements(&self, name: &str) -> Result<(usize, usize), Error> {
        let size = dtype_size(self.dtype).ok_or_else(|| Error::Checkpoint {
            message: format!(
                "tensor `{name}` holds {}, whose elements have no fixed size",
                dtype_name(self.dtype as i32)
            ),
            help: "only numbers and booleans are read from checkpoints".into(),
        })?;
        let count = self.count(name)?;
        let fits = count.checked_mul(size).is_some();
        fits.then_some((count, size)).ok_or_else(|| self.too_large(name))
    }

    /// How many elements the whole tensor has.
    pub(super) fn count(&self, name: &str) -> Result<usize, Error> {
        let product = self.shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        product.and_then(|product| usize::try_from(product).ok()).ok_or_else(|| self.too_large(name))
    }

    fn too_large(&self, name: &str) -> Error {
        let found = format!("the shape {:?}", self.shape);
        damaged(format!("tensor `{name}`"), found, "less than 2^64 bytes", self.offset_in_index)
    }
}

/// A `TensorShapeProto`.
fn shape((bytes, base): Bytes<'_>, what: &dyn Fn() -> String) -> Result<Vec<u64>, Error> {
    let mut dims = Vec::new();
    let mut fields = Fields::new(bytes, base, "a shape");
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (2, Value::Bytes(bytes, base)) => {
                let size = signed(1, (bytes, base))?.unwrap_or(0);
                let size = u64::try_from(size)
                    .map_err(|_| damaged(what(), format!("a dimension of {size}"), "0 or more", base as u64))?;
                dims.push(size);
            }
            (3, Value::Varint(1..)) => {
                return Err(damaged(what(), "a shape of unknown rank", "a known shape", base as u64));
            }
            _ => {}
        }
    }
    Ok(dims)
}

/// A `TensorSliceProto`.
fn slice((bytes, base): Bytes<'_>, what: &dyn Fn() -> String) -> Result<Vec<Extent>, Error> {
    let mut extents = Vec::new();
    let mut fields = Fields::new(bytes, base, "a slice");
    while let Some(field) = fields.next()? {
        if let (1, Value::Bytes(bytes, base)) = (field.number, field.value) {
            let number = |number| {
                let found = signed(number, (bytes, base))?;
                let checked = found.map(u64::try_from).transpose();
                checked.map_err(|_| damaged(what(), "a slice below 0", "0 or more", base as u64))
            };
            extents.push(Extent { start: number(1)?.unwrap_or(0), length: number(2)? });
        }
    }
    Ok(extents)
}

/// The last varint field `number` of a message, as an `int64`.
fn signed(number: u32, (bytes, base): Bytes<'_>) -> Result<Option<i64>, Error> {
    let mut found = None;
    let mut fields = Fields::new(bytes, base, "a dimension");
    while let Some(field) = fields.next()? {
        if let (true, Value::Varint(value)) = (field.number == number, field.value) {
            found = Some(value.cast_signed());
        }
    }
    Ok(found)
}
