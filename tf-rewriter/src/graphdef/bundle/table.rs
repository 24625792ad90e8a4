//! LevelDB's table format, as far as TensorFlow's index files use it.
//!
//! ```text
//! data blocks │ metaindex block │ index block │ footer (48 bytes): two block handles, padding, magic
//! block:  entries │ u32 restart positions │ u32 their number        then: type byte, masked CRC-32C of both
//! entry:  varints shared, unshared, length of the value │ the key behind its shared start │ the value
//! ```
//!
//! Source: LevelDB's documentation, "table_format", and `leveldb/util/crc32c.h` for the mask.

use std::ops::Range;

use super::damaged;
use crate::error::Error;
use crate::graphdef::wire::varint;

const FOOTER: usize = 48;
const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();
/// Type byte and CRC behind a block.
const TRAILER: usize = 5;

/// Keys share their starts with the keys before them, at most 15 times in a row as TensorFlow writes them. What expands further
/// was made to.
const MAX_EXPANSION: usize = 32;

/// The keys of a table in order, each with the span of its value in the file.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<(Box<[u8]>, Range<usize>)>,
}

impl Table {
    /// Read a whole table; every block's CRC is checked.
    pub(super) fn read(file: &[u8]) -> Result<Self, Error> {
        let body = file.len().saturating_sub(FOOTER);
        let footer = file.get(body..).filter(|footer| footer.ends_with(&MAGIC));
        let footer = footer.ok_or_else(|| {
            let expected = "a footer that ends in the table magic";
            damaged("the index", format!("a file of {} bytes without it", file.len()), expected, body as u64)
        })?;
        let handle_error = || damaged("the index", "no block handle", "two block handles in the footer", body as u64);
        let (_, rest) = handle(footer).ok_or_else(handle_error)?;
        let (index, _) = handle(rest).ok_or_else(handle_error)?;
        let mut keys = 0;
        let mut entries: Vec<(Box<[u8]>, Range<usize>)> = Vec::new();
        let mut end = 0;
        let mut blocks = Vec::new();
        let mut key_budget = file.len().saturating_mul(MAX_EXPANSION);
        walk(file, block(file, index, body)?, &mut key_budget, |_, value| {
            blocks.push(value);
            Ok(())
        })?;
        for span in blocks {
            let at = span.start;
            let error = |found: &'static str| damaged("the index", found, "a handle of the next block", at as u64);
            let found = handle(file.get(span).unwrap_or_default()).ok_or_else(|| error("no block handle"))?.0;
            // In this order, no bytes are read twice: the work is bounded by the file.
            let data = block(file, found, body)?;
            if data.start < end {
                return Err(error("a block that is before the last one, or in it"));
            }
            end = data.end;
            walk(file, data, &mut key_budget, |key, value| {
                if keys > 0 && entries.last().is_some_and(|(last, _)| **last >= *key) {
                    return Err(damaged(
                        "the index",
                        "a key out of order",
                        "each key once, in order",
                        value.start as u64,
                    ));
                }
                keys += 1;
                entries.push((key.into(), value));
                Ok(())
            })?;
        }
        Ok(Self { entries })
    }

    /// The span of a key's value.
    pub(super) fn get(&self, key: &[u8]) -> Option<Range<usize>> {
        let found = self.entries.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        self.entries.get(found).map(|(_, span)| span.clone())
    }

    /// All keys, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|(key, _)| &**key)
    }
}

/// The CRC that `masked` stands for: masked, it is turned right by 15 bits and has a constant added.
pub(super) fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(0xa282_ead8).rotate_left(15)
}

/// A block handle, offset and size, at the start of `bytes`, and what follows it.
fn handle(bytes: &[u8]) -> Option<((u64, u64), &[u8])> {
    let (offset, length) = varint(bytes)?;
    let bytes = bytes.get(length..)?;
    let (size, length) = varint(bytes)?;
    Some(((offset, size), bytes.get(length..)?))
}

/// The span of a block's content, which ends, with its trailer, before `limit`.
fn block(file: &[u8], (offset, size): (u64, u64), limit: usize) -> Result<Range<usize>, Error> {
    let start = usize::try_from(offset).ok();
    let end = start.zip(usize::try_from(size).ok()).and_then(|(start, size)| start.checked_add(size));
    let whole = end.and_then(|end| end.checked_add(TRAILER)).filter(|whole| *whole <= limit);
    let (Some(start), Some(end), Some(whole)) = (start, end, whole) else {
        let found = format!("{size} bytes from {offset:#x} on");
        return Err(damaged("a block of the index", found, format!("at most {limit} bytes in all"), offset));
    };
    let trailer = file.get(end..whole).unwrap_or_default();
    let [kind, a, b, c, d] = *trailer else {
        return Err(damaged("a block of the index", "its end", "a type and a CRC", end as u64));
    };
    let crc = crc32c::crc32c(file.get(start..=end).unwrap_or_default());
    let expected = unmask(u32::from_le_bytes([a, b, c, d]));
    if crc != expected {
        let found = format!("CRC-32C {crc:08x}");
        return Err(damaged("a block of the index", found, format!("{expected:08x}"), offset));
    }
    match kind {
        0 => Ok(start..end),
        1 => Err(Error::Checkpoint {
            message: format!("the index block at offset {offset:#x} is compressed with Snappy"),
            help: "save the checkpoint again with TensorFlow, which does not compress the index".to_owned(),
        }),
        kind => Err(damaged("a block of the index", format!("compression {kind}"), "0, for none", end as u64)),
    }
}

/// Call `visit` with the key and the span of the value of each entry of a block.
fn walk(
    file: &[u8],
    span: Range<usize>,
    key_budget: &mut usize,
    mut visit: impl FnMut(&[u8], Range<usize>) -> Result<(), Error>,
) -> Result<(), Error> {
    let start = span.start;
    let block = file.get(span).unwrap_or_default();
    let error = |position: usize, found: &'static str, expected: &'static str| {
        damaged("a block of the index", found, expected, (start + position) as u64)
    };
    let restarts = block.last_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let table = restarts.and_then(|count| usize::try_from(count).ok()?.checked_add(1)?.checked_mul(4));
    let Some(end) = table.and_then(|table| block.len().checked_sub(table)) else {
        return Err(error(block.len(), "a restart table longer than the block", "entries before it"));
    };
    let entries = block.get(..end).unwrap_or_default();
    let mut key = Vec::new();
    let mut position = 0;
    while position < entries.len() {
        let mut number = || {
            let found = varint(entries.get(position..)?);
            let (value, length) = found?;
            position += length;
            usize::try_from(value).ok()
        };
        let Some([shared, unshared, length]) = number().zip(number()).zip(number()).map(|((a, b), c)| [a, b, c]) else {
            return Err(error(position, "no entry", "three varints"));
        };
        let middle = position.checked_add(unshared);
        let end = middle.and_then(|middle| middle.checked_add(length));
        let parts = middle.zip(end).and_then(|(middle, end)| Some((entries.get(position..middle)?, middle..end)));
        let Some((rest, value)) = parts.filter(|(_, value)| value.end <= entries.len()) else {
            return Err(error(position, "an entry that is longer than its block", "a key and a value"));
        };
        if shared > key.len() {
            return Err(error(position, "more shared bytes than the key before has", "a key"));
        }
        key.truncate(shared);
        key.extend_from_slice(rest);
        *key_budget = key_budget
            .checked_sub(key.len())
            .ok_or_else(|| error(position, "keys far longer than the file", "keys that share little"))?;
        position = value.end;
        visit(&key, start + value.start..start + value.end)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::unmask;

    #[test]
    fn the_mask_is_undone() {
        let mask = |crc: u32| crc.rotate_right(15).wrapping_add(0xa282_ead8);
        for crc in [0, 1, 0x1234_5678, u32::MAX] {
            assert_eq!(unmask(mask(crc)), crc);
        }
    }
}
