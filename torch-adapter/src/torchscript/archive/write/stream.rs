//! What is written, in pieces; they are made and hashed in batches, each while the one before it is written.
//!
//! Memory: two batches of pieces, whatever the size of the records.

use std::io::Write;

use model_file::{pipeline, put};
use rayon::prelude::*;

use super::super::{ArchiveFault, inflate, verify};
use super::edits::Fill;
use super::layout::{self, Head};
use super::records::{Crc, Part, Record};
use super::source::Source;
use crate::error::Error;

/// Bytes of one piece; a multiple of every element size and of the alignment.
const PIECE: usize = 1 << 20;
/// Bytes of one batch.
const BATCH: usize = 8 << 20;

/// A stretch of the output.
struct Piece<'r> {
    record: usize,
    work: Work<'r>,
}

enum Work<'r> {
    /// The record's local header.
    Header,
    /// Bytes that are there.
    Bytes(&'r [u8]),
    /// Bytes that are to be made: position in their span, how many, and how many the span has.
    Made { fill: &'r (dyn Fill + 'r), source: &'r Source<'r>, at: u64, len: usize, of: u64 },
    /// The record's data descriptor.
    Descriptor,
}

impl Work<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Header | Self::Descriptor => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Made { len, .. } => *len,
        }
    }
}

/// A piece that is ready to be written.
enum Ready<'r> {
    Header,
    Bytes(&'r [u8], crc32fast::Hasher),
    /// The bytes, their hash, and the hash of their part of the source.
    Made(Vec<u8>, crc32fast::Hasher, crc32fast::Hasher),
    Descriptor,
}

/// Write all records, the directory and the end records; returns the number of bytes.
pub(super) fn write<W: Write + Send>(
    records: &[Record<'_>],
    out: &mut W,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    let pieces = cut(records);
    let (hasher, source_hasher) = (crc32fast::Hasher::new(), crc32fast::Hasher::new());
    let mut sink = Sink { out, at: 0, headers: Vec::with_capacity(records.len()), hasher, source_hasher };
    let write = |batch| {
        let before = sink.at;
        let used = sink.write_batch(records, batch)?;
        progress(sink.at - before);
        Ok(used)
    };
    pipeline(batches(&pieces), &mut Default::default(), |batch, spare| make(records, batch, spare), write)?;
    sink.finish(records)
}

/// Every record as header, data in pieces, and descriptor.
fn cut<'r>(records: &'r [Record<'_>]) -> Vec<Piece<'r>> {
    let mut pieces = Vec::new();
    for (record, Record { parts, .. }) in records.iter().enumerate() {
        let mut push = |work| pieces.push(Piece { record, work });
        push(Work::Header);
        for part in parts {
            match part {
                Part::Bytes(bytes) => bytes.chunks(PIECE).for_each(|bytes| push(Work::Bytes(bytes))),
                Part::Owned(bytes) => bytes.chunks(PIECE).for_each(|bytes| push(Work::Bytes(bytes))),
                Part::Made { fill, source, len } => {
                    let mut at = 0;
                    while at < *len {
                        let piece = usize::try_from(len - at).map_or(PIECE, |left| left.min(PIECE));
                        push(Work::Made { fill: *fill, source, at, len: piece, of: *len });
                        at += piece as u64;
                    }
                }
            }
        }
        push(Work::Descriptor);
    }
    pieces
}

/// Runs of pieces that together hold about [`BATCH`] bytes.
fn batches<'p, 'r>(pieces: &'p [Piece<'r>]) -> impl Iterator<Item = &'p [Piece<'r>]> {
    let mut bytes = 0;
    pieces.chunk_by(move |left, _| {
        bytes += left.work.len();
        let same = bytes < BATCH;
        if !same {
            bytes = 0;
        }
        same
    })
}

struct Batch<'r> {
    ready: Vec<(usize, Ready<'r>)>,
}

fn make<'r>(records: &[Record<'_>], pieces: &[Piece<'r>], mut spare: Vec<Vec<u8>>) -> Result<Batch<'r>, Error> {
    let buffers: Vec<Vec<u8>> = pieces
        .iter()
        .map(|piece| match piece.work {
            Work::Made { .. } => spare.pop().unwrap_or_default(),
            _ => Vec::new(),
        })
        .collect();
    let ready = pieces.par_iter().zip(buffers).map(|(piece, buffer)| {
        let record = records.get(piece.record);
        let crc = record.map_or(Crc::Found, |record| record.crc);
        let check_source = record.is_some_and(|record| record.source_crc.is_some());
        Ok((piece.record, piece.work.make(crc, check_source, buffer)?))
    });
    Ok(Batch { ready: ready.collect::<Result<_, Error>>()? })
}

impl<'r> Work<'r> {
    fn make(&self, crc: Crc, check_source: bool, mut buffer: Vec<u8>) -> Result<Ready<'r>, Error> {
        let mut hasher = crc32fast::Hasher::new();
        Ok(match *self {
            Self::Header => Ready::Header,
            Self::Descriptor => Ready::Descriptor,
            Self::Bytes(bytes) => {
                if matches!(crc, Crc::Expected(_) | Crc::Found) {
                    hasher.update(bytes);
                }
                Ready::Bytes(bytes, hasher)
            }
            Self::Made { fill, source, at, len, of } => {
                let view = source.view()?;
                let mut before = crc32fast::Hasher::new();
                if check_source {
                    before.update(share(view.bytes(), at, len, of));
                }
                buffer.resize(len, 0);
                fill.fill(view.bytes(), at, &mut buffer)?;
                hasher.update(&buffer);
                Ready::Made(buffer, hasher, before)
            }
        })
    }
}

/// The part of a source that belongs to the piece `at..at + len` of a span of `of` bytes: the pieces' parts are the whole source.
fn share(source: &[u8], at: u64, len: usize, of: u64) -> &[u8] {
    let scaled = |at: u64| {
        let place = u128::from(at) * source.len() as u128 / u128::from(of.max(1));
        usize::try_from(place).unwrap_or(usize::MAX)
    };
    source.get(scaled(at)..scaled(at + len as u64)).unwrap_or_default()
}

/// The output and what the directory will say.
struct Sink<'o, W> {
    out: &'o mut W,
    at: u64,
    /// Position of the local header, CRC.
    headers: Vec<(u64, u32)>,
    /// Over the record that is being written.
    hasher: crc32fast::Hasher,
    /// Over the stored bytes that it is made from.
    source_hasher: crc32fast::Hasher,
}

impl<W: Write> Sink<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        put(self.out, bytes).map_err(Error::writing)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Write a batch; its buffers can be used again.
    fn write_batch(&mut self, records: &[Record<'_>], batch: Batch<'_>) -> Result<Vec<Vec<u8>>, Error> {
        let mut used = Vec::new();
        for (record, ready) in batch.ready {
            let Some(record) = records.get(record) else { continue };
            match ready {
                Ready::Header => {
                    self.headers.push((self.at, 0));
                    let header = record.head.local(self.at);
                    self.put(&header)?;
                }
                Ready::Bytes(bytes, hasher) => {
                    self.hasher.combine(&hasher);
                    self.source_hasher.combine(&hasher);
                    self.put(bytes)?;
                }
                Ready::Made(bytes, hasher, before) => {
                    self.hasher.combine(&hasher);
                    self.source_hasher.combine(&before);
                    self.put(&bytes)?;
                    used.push(bytes);
                }
                Ready::Descriptor => self.close(record)?,
            }
        }
        Ok(used)
    }

    /// Check or settle the CRC and write the data descriptor.
    fn close(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let found = std::mem::take(&mut self.hasher).finalize();
        let before = std::mem::take(&mut self.source_hasher).finalize();
        if let Some((expected, source)) = &record.source_crc {
            verify::same(before, *expected).map_err(|fault| fault.in_record(source))?;
        }
        for part in &record.parts {
            if let Part::Made { source, .. } = part {
                source.release();
            }
        }
        let name = || short(&record.head);
        let crc = match record.crc {
            Crc::Known(crc) => crc,
            Crc::Found => found,
            Crc::Expected(expected) if found == expected => found,
            Crc::Expected(expected) => return Err(ArchiveFault::Crc { found, expected }.in_record(name())),
            Crc::Inflated(expected) => {
                let [Part::Bytes(packed)] = &*record.parts else { return Ok(()) };
                inflate::crc(packed, record.head.size)
                    .and_then(|found| verify::same(found, expected))
                    .map_err(|fault| fault.in_record(name()))?;
                expected
            }
        };
        let header = self.headers.last_mut().map_or(0, |(header, slot)| {
            *slot = crc;
            *header
        });
        self.put(&record.head.descriptor(header, crc))
    }

    fn finish(mut self, records: &[Record<'_>]) -> Result<u64, Error> {
        let mut directory = Vec::new();
        for (record, (header, crc)) in records.iter().zip(&self.headers) {
            record.head.central(*header, *crc, &mut directory);
        }
        let (at, size) = (self.at, directory.len() as u64);
        self.put(&directory)?;
        self.put(&layout::end(at, size, records.len() as u64))?;
        Ok(self.at)
    }
}

/// The record's name without the archive's prefix.
fn short(head: &Head) -> &str {
    head.name.split_once('/').map_or(&head.name, |(_, record)| record)
}
