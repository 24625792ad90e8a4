//! Index files of checkpoints, made by hand.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "no test uses all of it; a test fails by panicking"
)]

use tf_rewriter::wire::{put_bytes, put_tag, put_varint};

/// A block with its trailer.
fn block(content: &[u8], kind: u8) -> Vec<u8> {
    let mut block = content.to_vec();
    block.push(kind);
    let crc = crc32c::crc32c(&block).rotate_right(15).wrapping_add(0xa282_ead8);
    block.extend(crc.to_le_bytes());
    block
}

/// The content of a block whose keys share nothing.
pub(crate) fn content(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in entries {
        put_entry(&mut content, 0, key, value);
    }
    content.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    content
}

pub(crate) fn put_entry(out: &mut Vec<u8>, shared: u64, rest: &[u8], value: &[u8]) {
    put_varint(out, shared);
    put_varint(out, rest.len() as u64);
    put_varint(out, value.len() as u64);
    out.extend(rest);
    out.extend(value);
}

pub(crate) fn handle(offset: usize, size: usize) -> Vec<u8> {
    let mut handle = Vec::new();
    put_varint(&mut handle, offset as u64);
    put_varint(&mut handle, size as u64);
    handle
}

/// Snappy's block format, as plain as it can be: literals, and copies of two-byte distances where four bytes were there before.
pub(crate) fn snappy(text: &[u8]) -> Vec<u8> {
    fn literal(out: &mut Vec<u8>, bytes: &[u8]) {
        for bytes in bytes.chunks(60) {
            out.push(u8::try_from(bytes.len() - 1).unwrap() << 2);
            out.extend(bytes);
        }
    }
    let mut out = Vec::new();
    put_varint(&mut out, text.len() as u64);
    let mut seen = std::collections::BTreeMap::new();
    let (mut at, mut plain) = (0, 0);
    while at < text.len() {
        let before = text.get(at..at + 4).and_then(|four| seen.insert(four, at)).filter(|before| at - before < 1 << 16);
        let Some(before) = before else {
            at += 1;
            continue;
        };
        literal(&mut out, &text[plain..at]);
        let length = text[at..].iter().zip(&text[before..]).take(64).take_while(|(a, b)| a == b).count();
        out.push((u8::try_from(length - 1).unwrap() << 2) | 2);
        out.extend(u16::try_from(at - before).unwrap().to_le_bytes());
        at += length;
        plain = at;
    }
    literal(&mut out, &text[plain..]);
    out
}

/// A table with one data block.
pub(crate) fn table(content_of_block: &[u8], kind: u8) -> Vec<u8> {
    let whole = handle(0, content_of_block.len());
    table_of(content_of_block, kind, &[whole])
}

/// A table whose index block has these handles.
pub(crate) fn table_of(content_of_block: &[u8], kind: u8, handles: &[Vec<u8>]) -> Vec<u8> {
    let mut table = block(content_of_block, kind);
    let entries: Vec<(&[u8], Vec<u8>)> = handles.iter().map(|handle| (&b"\xff"[..], handle.clone())).collect();
    let index = content(&entries);
    let mut footer = [handle(0, 0), handle(table.len(), index.len())].concat();
    footer.resize(40, 0);
    footer.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    table.extend(block(&index, 0));
    table.extend(footer);
    table
}

fn varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, 0);
    put_varint(out, value);
}

pub(crate) fn header(shards: u64, endianness: u64, least_version: u64) -> Vec<u8> {
    let mut header = Vec::new();
    varint_field(&mut header, 1, shards);
    varint_field(&mut header, 2, endianness);
    let mut version = Vec::new();
    varint_field(&mut version, 2, least_version);
    put_bytes(&mut header, 3, &version);
    header
}

/// An entry of float32 elements.
pub(crate) fn entry(shape: &[u64], shard: u64, offset: u64, size: u64, data: &[u8]) -> Vec<u8> {
    let mut entry = Vec::new();
    varint_field(&mut entry, 1, 1);
    put_bytes(&mut entry, 2, &shape_of(shape));
    varint_field(&mut entry, 3, shard);
    varint_field(&mut entry, 4, offset);
    varint_field(&mut entry, 5, size);
    put_tag(&mut entry, 6, 5);
    entry.extend(crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes());
    entry
}

fn shape_of(shape: &[u64]) -> Vec<u8> {
    let mut message = Vec::new();
    for size in shape {
        let mut dim = Vec::new();
        varint_field(&mut dim, 1, *size);
        put_bytes(&mut message, 2, &dim);
    }
    message
}

/// An entry of a vector of float32 that is stored in parts.
pub(crate) fn partitioned(length: u64, parts: &[(u64, u64)]) -> Vec<u8> {
    let mut entry = Vec::new();
    varint_field(&mut entry, 1, 1);
    put_bytes(&mut entry, 2, &shape_of(&[length]));
    for (start, length) in parts {
        let mut extent = Vec::new();
        varint_field(&mut extent, 1, *start);
        varint_field(&mut extent, 2, *length);
        let mut slice = Vec::new();
        put_bytes(&mut slice, 1, &extent);
        put_bytes(&mut entry, 7, &slice);
    }
    entry
}
