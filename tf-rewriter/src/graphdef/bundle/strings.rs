//! How strings lie in a data file.
//!
//! ```text
//! varints: the length of each │ masked CRC-32C of the lengths │ the bytes of all
//! ```
//!
//! The CRCs are those of the lengths as four bytes each (eight, from 2^32 on) and not of the varints. Source: TensorFlow 2.21,
//! `WriteStringTensor` in `tensor_bundle.cc`, and files that it wrote.

use std::ops::Range;

use super::checksum::unmask;
use crate::graphdef::wire::varint;

/// A tensor's strings, found in its bytes.
pub(super) struct Strings {
    /// Where each is.
    pub(super) spans: Vec<Range<usize>>,
    /// The CRC-32C that the entry must have.
    pub(super) crc: u32,
}

/// What `bytes` hold, which are `count` strings; `None` where they are not, or the CRC of the lengths is another.
pub(super) fn read(bytes: &[u8], count: usize) -> Option<Strings> {
    // Each has a length of at least a byte.
    if count > bytes.len() {
        return None;
    }
    let (mut position, mut crc) = (0, 0);
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, taken) = varint(bytes.get(position..)?)?;
        position += taken;
        crc = match u32::try_from(length) {
            Ok(short) => crc32c::crc32c_append(crc, &short.to_le_bytes()),
            Err(_) => crc32c::crc32c_append(crc, &length.to_le_bytes()),
        };
        lengths.push(usize::try_from(length).ok()?);
    }
    let (stored, text) = bytes.get(position..)?.split_first_chunk()?;
    let mut start = position + stored.len();
    let mut spans = Vec::with_capacity(count);
    for length in lengths {
        let end = start.checked_add(length).filter(|end| *end <= bytes.len())?;
        spans.push(start..end);
        start = end;
    }
    if start != bytes.len() || unmask(u32::from_le_bytes(*stored)) != crc {
        return None;
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, stored), text);
    Some(Strings { spans, crc })
}
