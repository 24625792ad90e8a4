//! LevelDB's table format, written as TensorFlow writes it: not compressed, blocks of 256 KiB, a whole key after every 15 that share
//! their start with the key before. See `table` for the format.
//!
//! Source: TensorFlow 2.21, `table_builder.cc` and `block_builder.cc`; a table that it wrote comes out byte for byte.

use std::io::{self, Write};

use crate::graphdef::bundle::checksum::mask;
use crate::graphdef::bundle::table::{FOOTER, MAGIC, TRAILER};
use crate::graphdef::wire::put_varint;

/// Content after which a block ends.
const BLOCK: usize = 256 << 10;
/// Keys from one that stands there whole to the next.
const RESTART: usize = 16;

/// Writes a table, key by key. The keys come in order, each once.
#[derive(Debug)]
pub(super) struct TableWriter<W> {
    out: W,
    written: u64,
    block: Block,
    index: Block,
    last: Vec<u8>,
    /// Of the block that was finished last, until the next key tells where it ends.
    pending: Option<Handle>,
}

#[derive(Debug, Clone, Copy)]
struct Handle {
    offset: u64,
    size: u64,
}

impl Handle {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, self.offset);
        put_varint(&mut bytes, self.size);
        bytes
    }
}

impl<W: Write> TableWriter<W> {
    pub(super) fn new(out: W) -> Self {
        let (block, index) = (Block::new(RESTART), Block::new(1));
        Self { out, written: 0, block, index, last: Vec::new(), pending: None }
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if let Some(handle) = self.pending.take() {
            self.index.put(&between(&self.last, key), &handle.bytes());
        }
        self.block.put(key, value);
        key.clone_into(&mut self.last);
        if self.block.size() >= BLOCK {
            self.end_block()?;
        }
        Ok(())
    }

    /// Write what is left, and hand back what was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.end_block()?;
        let metaindex = self.write(&Block::new(RESTART).finish())?;
        if let Some(handle) = self.pending.take() {
            self.index.put(&behind(&self.last), &handle.bytes());
        }
        let index = std::mem::replace(&mut self.index, Block::new(1));
        let index = self.write(&index.finish())?;
        let mut footer = [metaindex.bytes(), index.bytes()].concat();
        footer.resize(FOOTER - MAGIC.len(), 0);
        footer.extend(MAGIC);
        self.out.write_all(&footer)?;
        Ok(self.out)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            let block = std::mem::replace(&mut self.block, Block::new(RESTART));
            self.pending = Some(self.write(&block.finish())?);
        }
        Ok(())
    }

    fn write(&mut self, content: &[u8]) -> io::Result<Handle> {
        let handle = Handle { offset: self.written, size: content.len() as u64 };
        // Not compressed.
        let kind = [0];
        let crc = crc32c::crc32c_append(crc32c::crc32c(content), &kind);
        self.out.write_all(content)?;
        self.out.write_all(&kind)?;
        self.out.write_all(&mask(crc).to_le_bytes())?;
        self.written += (content.len() + TRAILER) as u64;
        Ok(handle)
    }
}

/// A block as it grows.
#[derive(Debug)]
struct Block {
    content: Vec<u8>,
    restarts: Vec<u32>,
    interval: usize,
    since_restart: usize,
    last: Vec<u8>,
}

impl Block {
    fn new(interval: usize) -> Self {
        Self { content: Vec::new(), restarts: vec![0], interval, since_restart: 0, last: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.content.is_empty()
    }

    fn size(&self) -> usize {
        self.content.len() + 4 * self.restarts.len() + 4
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        let shared = if self.since_restart < self.interval {
            shared(&self.last, key)
        } else {
            // A block is far shorter than 4 GiB but for a single longer entry, which stands at its start.
            self.restarts.push(u32::try_from(self.content.len()).unwrap_or(u32::MAX));
            self.since_restart = 0;
            0
        };
        for number in [shared, key.len() - shared, value.len()] {
            put_varint(&mut self.content, number as u64);
        }
        self.content.extend_from_slice(key.get(shared..).unwrap_or_default());
        self.content.extend_from_slice(value);
        self.since_restart += 1;
        key.clone_into(&mut self.last);
    }

    fn finish(mut self) -> Vec<u8> {
        let count = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        for number in self.restarts.iter().chain([&count]) {
            self.content.extend(number.to_le_bytes());
        }
        self.content
    }
}

fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A short key that is not less than `last` and less than `next`.
fn between(last: &[u8], next: &[u8]) -> Vec<u8> {
    let shared = shared(last, next);
    match (last.split_at_checked(shared).and_then(|(start, rest)| Some((start, *rest.first()?))), next.get(shared)) {
        (Some((start, differs)), Some(other)) if differs < 0xff && differs + 1 < *other => {
            [start, &[differs + 1]].concat()
        }
        _ => last.to_vec(),
    }
}

/// A short key that is not less than `last`.
fn behind(last: &[u8]) -> Vec<u8> {
    match last.iter().position(|byte| *byte != 0xff) {
        Some(at) => last.iter().take(at).copied().chain(last.get(at).map(|byte| byte + 1)).collect(),
        None => last.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphdef::bundle::table::Table;

    fn table(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut writer = TableWriter::new(Vec::new());
        for (key, value) in entries {
            writer.put(key, value).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(file: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let table = Table::read(file).unwrap();
        table.keys().map(|key| (key.to_vec(), table.get(file, key).unwrap().0.to_vec())).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&table(&[])), []);
        for (count, length) in [(1, 3), (15, 1), (16, 1), (17, 1), (3000, 400)] {
            let entries: Vec<_> =
                (0..count).map(|i| (format!("a/long/name/{i:05}").into_bytes(), vec![7; length])).collect();
            assert!(read(&table(&entries)) == entries, "{count}");
        }
    }

    #[test]
    fn tables_of_tensorflow_come_out_byte_for_byte() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/checkpoint/saver.index");
        let golden = std::fs::read(golden).unwrap();
        assert!(table(&read(&golden)) == golden);
    }

    #[test]
    fn keys_of_blocks_are_short_and_in_order() {
        for (last, next, expected) in [
            ("abcd", "abzz", "abd"),
            ("abcd", "abd", "abcd"),
            ("ab", "abc", "ab"),
            ("abc", "abc", "abc"),
            ("a\u{7f}x", "b", "a\u{7f}x"),
        ] {
            assert_eq!(between(last.as_bytes(), next.as_bytes()), expected.as_bytes(), "{last} {next}");
        }
        assert_eq!(behind(b"abc"), b"b");
        assert_eq!(behind(b"\xff\xffa"), b"\xff\xffb");
        assert_eq!(behind(b"\xff"), b"\xff");
    }
}
