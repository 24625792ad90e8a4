//! The messages of an index, written as TensorFlow writes them: in the order of their fields, without those that are 0.

use crate::error::Error;
use crate::graphdef::bundle::checksum::mask;
use crate::graphdef::bundle::entry::Bytes;
use crate::graphdef::pb::DataType;
use crate::graphdef::wire::{Fields, put_bytes, put_tag, put_varint};

/// Of an entry.
const CRC: u32 = 6;

/// A `BundleHeaderProto`.
pub(super) fn header(shards: u32) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, 1, shards.into());
    let mut version = Vec::new();
    put_number(&mut version, 1, 1);
    put_bytes(&mut out, 3, &version);
    out
}

/// Where a tensor was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) shard: u32,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) crc: u32,
}

/// A `BundleEntryProto`.
pub(super) fn entry(dtype: DataType, shape: &[u64], written: Written) -> Vec<u8> {
    let mut out = Vec::new();
    // Negative numbers are none of a DataType's.
    put_number(&mut out, 1, u64::try_from(dtype as i32).unwrap_or_default());
    let mut dims = Vec::new();
    for size in shape {
        let mut dim = Vec::new();
        put_number(&mut dim, 1, *size);
        put_bytes(&mut dims, 2, &dim);
    }
    put_bytes(&mut out, 2, &dims);
    put_number(&mut out, 3, written.shard.into());
    put_number(&mut out, 4, written.offset);
    put_number(&mut out, 5, written.size);
    put_crc(&mut out, written.crc);
    out
}

/// An entry as it was, but for the CRC of its bytes.
pub(super) fn with_crc((bytes, base): Bytes<'_>, crc: u32) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut is_there = false;
    let mut fields = Fields::new(bytes, base, "an entry of the index");
    while let Some(field) = fields.next()? {
        if field.number >= CRC && !is_there {
            put_crc(&mut out, crc);
            is_there = true;
        }
        if field.number != CRC {
            out.extend_from_slice(bytes.get(field.span.start - base..field.span.end - base).unwrap_or_default());
        }
    }
    if !is_there {
        put_crc(&mut out, crc);
    }
    Ok(out)
}

fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    if number != 0 {
        put_tag(out, field, 0);
        put_varint(out, number);
    }
}

fn put_crc(out: &mut Vec<u8>, crc: u32) {
    let masked = mask(crc);
    if masked != 0 {
        put_tag(out, CRC, 5);
        out.extend(masked.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphdef::bundle::checksum::unmask;
    use crate::graphdef::bundle::entry::Entry;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let written = Written { shard: 2, offset: 300, size: 24, crc: 0x1234_5678 };
        let bytes = entry(DataType::DT_FLOAT, &[2, 3], written);
        let read = Entry::read((&bytes, 0), "w").unwrap();
        assert_eq!((read.dtype, &read.shape[..], read.shard), (DataType::DT_FLOAT, &[2, 3][..], 2));
        assert_eq!((read.offset, read.size, unmask(read.crc)), (300, 24, 0x1234_5678));
        assert_eq!(with_crc((&bytes, 0), 0x1234_5678).unwrap(), bytes);
        // The field is left out where it is 0, and comes back; unknown fields stay.
        let unknown = [&bytes[..], &[0x7a, 1, 9]].concat();
        let zero = with_crc((&unknown, 0), unmask(0)).unwrap();
        assert_eq!(zero.len(), unknown.len() - 5);
        assert_eq!(with_crc((&zero, 0), 0x1234_5678).unwrap(), unknown);
    }
}
