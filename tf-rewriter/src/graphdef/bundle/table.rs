//! LevelDB's table format, as far as TensorFlow's index files use it.
//!
//! ```text
//! data blocks │ metaindex block │ index block │ footer (48 bytes): two block handles, padding, magic
//! block:  entries │ u32 restart positions │ u32 their number        then: type byte, masked CRC-32C of both
//! entry:  varints shared, unshared, length of the value │ the key behind its shared start │ the value
//! ```
//!
//! Source: LevelDB's documentation, "table_format".

use std::ops::Range;

use quant_math::Budget;

use super::checksum::unmask;
use super::{damaged, snappy};
use crate::error::Error;
use crate::graphdef::wire::varint;

pub(super) const FOOTER: usize = 48;
pub(super) const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();
/// Type byte and CRC behind a block.
pub(super) const TRAILER: usize = 5;

/// Keys share their starts with the keys before them, at most 15 times in a row as TensorFlow writes them. What expands further
/// was made to.
const MAX_EXPANSION: usize = 32;

/// The keys of a table in order, each with the place of its value.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<(Box<[u8]>, Range<usize>)>,
    texts: Texts,
}

/// What was compressed. Its places are counted on behind the end of the file.
#[derive(Debug, Default)]
struct Texts {
    file_length: usize,
    text: Vec<u8>,
    /// Of each compressed block: where its text begins, and where it begins in the file.
    blocks: Vec<(usize, usize)>,
}

/// What a handle names.
struct Block {
    /// Where its content is, in the file or behind it.
    content: Range<usize>,
    /// Where it ends in the file.
    end: usize,
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
        let budget = Budget::for_file(file.len() as u64);
        let mut texts = Texts { file_length: file.len(), ..Texts::default() };
        let mut keys = 0;
        let mut entries: Vec<(Box<[u8]>, Range<usize>)> = Vec::new();
        let mut end = 0;
        let mut blocks = Vec::new();
        let index = texts.block(file, index, body, &budget)?;
        let mut key_budget = texts.key_budget(0);
        texts.walk(file, index.content, &mut key_budget, |_, value, at| {
            let error = || damaged("the index", "no block handle", "a handle of the next block", at.start as u64);
            blocks.push((handle(value).ok_or_else(error)?.0, at.start));
            Ok(())
        })?;
        for (found, at) in blocks {
            // In this order, no bytes are read twice: the work is bounded by the file.
            if usize::try_from(found.0).is_ok_and(|start| start < end) {
                let found = "a block that is before the last one, or in it";
                return Err(damaged("the index", found, "a handle of the next block", texts.in_file(at) as u64));
            }
            let spent = texts.key_budget(0) - key_budget;
            let data = texts.block(file, found, body, &budget)?;
            end = data.end;
            key_budget = texts.key_budget(spent);
            texts.walk(file, data.content, &mut key_budget, |key, _, value| {
                if keys > 0 && entries.last().is_some_and(|(last, _)| **last >= *key) {
                    let at = texts.in_file(value.start) as u64;
                    return Err(damaged("the index", "a key out of order", "each key once, in order", at));
                }
                keys += 1;
                budget.take((key.len() + size_of::<(Box<[u8]>, Range<usize>)>()) as u64, "the keys")?;
                entries.push((key.into(), value));
                Ok(())
            })?;
        }
        Ok(Self { entries, texts })
    }

    /// The value of a key, and where it stands in the file: the start of its block, if that is compressed.
    pub(super) fn get<'a>(&'a self, file: &'a [u8], key: &[u8]) -> Option<(&'a [u8], usize)> {
        let found = self.entries.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        let (_, place) = self.entries.get(found)?;
        Some((self.texts.bytes(file, place.clone())?, self.texts.in_file(place.start)))
    }

    /// All keys, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|(key, _)| &**key)
    }
}

impl Texts {
    /// How many bytes all keys may have, of which `spent` are gone.
    fn key_budget(&self, spent: usize) -> usize {
        (self.file_length + self.text.len()).saturating_mul(MAX_EXPANSION).saturating_sub(spent)
    }

    fn bytes<'a>(&'a self, file: &'a [u8], place: Range<usize>) -> Option<&'a [u8]> {
        match place.start.checked_sub(self.file_length) {
            Some(start) => self.text.get(start..place.end - self.file_length),
            None => file.get(place),
        }
    }

    /// Where a place is, or its compressed block begins, in the file.
    fn in_file(&self, place: usize) -> usize {
        let Some(at) = place.checked_sub(self.file_length) else { return place };
        let block = self.blocks.partition_point(|(start, _)| *start <= at).checked_sub(1);
        block.and_then(|block| self.blocks.get(block)).map_or(0, |(_, in_file)| *in_file)
    }

    /// A block, which ends, with its trailer, before `limit`. What is compressed is decoded.
    fn block(
        &mut self,
        file: &[u8],
        (offset, size): (u64, u64),
        limit: usize,
        budget: &Budget,
    ) -> Result<Block, Error> {
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
            0 => Ok(Block { content: start..end, end }),
            1 => {
                let compressed = file.get(start..end).unwrap_or_default();
                let content = self.inflate(compressed, start, budget)?;
                Ok(Block { content, end })
            }
            kind => {
                let expected = "0 for none, or 1 for Snappy";
                Err(damaged("a block of the index", format!("compression {kind}"), expected, end as u64))
            }
        }
    }

    fn inflate(&mut self, compressed: &[u8], in_file: usize, budget: &Budget) -> Result<Range<usize>, Error> {
        let error = || {
            let expected = "as many bytes of Snappy's format as it says";
            damaged("a compressed block of the index", "something else", expected, in_file as u64)
        };
        let length = snappy::length(compressed).ok_or_else(error)?;
        budget.take(length as u64, "the compressed blocks")?;
        let start = self.text.len();
        self.blocks.push((start, in_file));
        snappy::decode(compressed, &mut self.text).ok_or_else(error)?;
        Ok(self.file_length + start..self.file_length + self.text.len())
    }

    /// Call `visit` with the key, the value and the value's place of each entry of a block.
    fn walk(
        &self,
        file: &[u8],
        place: Range<usize>,
        key_budget: &mut usize,
        mut visit: impl FnMut(&[u8], &[u8], Range<usize>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let start = place.start;
        let block = self.bytes(file, place).unwrap_or_default();
        let error = |position: usize, found: &'static str, expected: &'static str| {
            damaged("a block of the index", found, expected, self.in_file(start + position) as u64)
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
            let numbers = number().zip(number()).zip(number()).map(|((a, b), c)| [a, b, c]);
            let Some([shared, unshared, length]) = numbers else {
                return Err(error(position, "no entry", "three varints"));
            };
            let middle = position.checked_add(unshared);
            let end = middle.and_then(|middle| middle.checked_add(length));
            let parts = middle.zip(end).and_then(|(middle, end)| {
                Some((entries.get(position..middle)?, entries.get(middle..end)?, middle..end))
            });
            let Some((rest, value, span)) = parts else {
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
            position = span.end;
            visit(&key, value, start + span.start..start + span.end)?;
        }
        Ok(())
    }
}

/// A block handle, offset and size, at the start of `bytes`, and what follows it.
fn handle(bytes: &[u8]) -> Option<((u64, u64), &[u8])> {
    let (offset, length) = varint(bytes)?;
    let bytes = bytes.get(length..)?;
    let (size, length) = varint(bytes)?;
    Some(((offset, size), bytes.get(length..)?))
}
