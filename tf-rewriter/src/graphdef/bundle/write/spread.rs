//! Where the values of a tensor, or of a part of one, go in the data files.

use std::io::{self, Write};

use super::data::DataFile;
use crate::error::Error;
use crate::graphdef::bundle::entry::Entry;
use crate::graphdef::bundle::region::Region;
use crate::graphdef::bundle::{Bundle, assemble, damaged, slice};

/// A tensor, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPart {
    /// The tensor.
    pub name: String,
    /// Which part, as [`Bundle::values`] takes it; empty: all of it.
    pub part: String,
}

impl TensorPart {
    /// All of a tensor.
    pub fn whole(name: impl Into<String>) -> Self {
        Self { name: name.into(), part: String::new() }
    }
}

/// Values that lie side by side, among the new ones and in a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Among the new values.
    at: u64,
    pub(super) shard: usize,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Piece {
    pub(super) fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// A tensor that gets new values.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    /// In the order of the new values.
    pub(super) pieces: Vec<Piece>,
    /// The entries that the pieces are of, by their keys.
    pub(super) entries: Vec<(Vec<u8>, Entry)>,
    pub(super) bytes: u64,
}

impl Target {
    pub(super) fn of(bundle: &Bundle, TensorPart { name, part }: &TensorPart) -> Result<Self, Error> {
        let in_index = |error: Error| error.in_file(&bundle.index_path);
        let entry = bundle.entry_named(name.as_bytes(), name)?.ok_or_else(|| {
            let tensors = bundle.names().count();
            in_index(Error::NoSuchTensor { name: name.to_owned(), tensors })
        })?;
        let (_, size) = entry.elements(name).map_err(in_index)?;
        let wanted = slice::region(part, &entry.shape, name).map_err(in_index)?;
        let bytes = (wanted.elements() * size) as u64;
        let mut target = Self { name: name.clone(), pieces: Vec::new(), entries: Vec::new(), bytes };
        if entry.slices.is_empty() {
            let of_it = wanted.within(&wanted);
            target.add(bundle, name, (name.as_bytes().to_vec(), entry), size, (&wanted, &of_it))?;
            return Ok(target);
        }
        for extents in &entry.slices {
            let error = || {
                let (found, expected) = (format!("the part {extents:?}"), format!("a part of {:?}", entry.shape));
                in_index(damaged(format!("tensor `{name}`"), found, expected, entry.offset_in_index))
            };
            let part = Region::new(&entry.shape, extents).ok_or_else(error)?;
            let common = part.common(&wanted);
            if common.elements() > 0 {
                let found = assemble::entry_of(bundle, &entry, &part, extents, name)?;
                let key = crate::graphdef::bundle::part_key::key_of(name.as_bytes(), extents);
                target.add(bundle, name, (key, found), size, (&common.within(&part), &common.within(&wanted)))?;
            }
        }
        target.pieces.sort_unstable_by_key(|piece| piece.at);
        let mut ordered = target.pieces.iter();
        let end = ordered.try_fold(0, |end, piece| (piece.at == end).then_some(end + piece.length));
        if end == Some(target.bytes) {
            return Ok(target);
        }
        let found = "parts that overlap or leave something out";
        let what = format!("tensor `{name}`");
        Err(in_index(damaged(what, found, "each element once", entry.offset_in_index)))
    }

    /// The key of the entry, where the new values are one from its first byte to its last, side by side.
    pub(super) fn whole_entry(&self) -> Option<&[u8]> {
        match (self.pieces.as_slice(), self.entries.as_slice()) {
            ([piece], [(key, entry)]) if (piece.offset, piece.length) == (entry.offset, entry.size) => Some(key),
            _ => None,
        }
    }

    /// The elements `from` of an entry are the elements `to` of the new values.
    fn add(
        &mut self,
        bundle: &Bundle,
        name: &str,
        (key, entry): (Vec<u8>, Entry),
        size: usize,
        (from, to): (&Region, &Region),
    ) -> Result<(), Error> {
        // Its bytes must be there.
        let _place = bundle.place(&entry, name)?;
        let shard = usize::try_from(entry.shard).unwrap_or(usize::MAX);
        let mut add = |at: usize, start: usize, count: usize| {
            self.pieces.push(Piece {
                at: (at * size) as u64,
                shard,
                offset: entry.offset + (start * size) as u64,
                length: (count * size) as u64,
            });
        };
        match (from.contiguous(), to.contiguous()) {
            (Some(from), Some(to)) if from.is_empty() || to.is_empty() => {}
            (Some(from), Some(to)) => add(to.start, from.start, from.len()),
            _ => from.rows().zip(to.rows()).for_each(|(from, to)| add(to.start, from.start, from.len())),
        }
        self.entries.push((key, entry));
        Ok(())
    }
}

/// Writes new values to their places, in each of some targets.
pub(super) struct Spread<'a> {
    files: &'a mut [Option<DataFile>],
    targets: Vec<Left<'a>>,
    /// All bytes that came.
    pub(super) taken: u64,
    pub(super) crc: u32,
}

/// What has no new values yet.
struct Left<'a> {
    pieces: &'a [Piece],
    /// Bytes that went to the first of the pieces.
    within: u64,
}

impl<'a> Spread<'a> {
    pub(super) fn new(files: &'a mut [Option<DataFile>], targets: &'a [Target]) -> Self {
        let targets = targets.iter().map(|target| Left { pieces: &target.pieces, within: 0 }).collect();
        Self { files, targets, taken: 0, crc: 0 }
    }
}

impl Left<'_> {
    /// Write what comes next. What is too much is left out: that is told when all have come.
    fn take(&mut self, files: &mut [Option<DataFile>], mut bytes: &[u8]) -> io::Result<()> {
        while let (Some((piece, rest)), false) = (self.pieces.split_first(), bytes.is_empty()) {
            let left = usize::try_from(piece.length - self.within).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            let file = files.get_mut(piece.shard).and_then(Option::as_mut);
            let file = file.ok_or_else(|| io::Error::other("a data file that was not opened"))?;
            file.go_to(piece.offset + self.within)?;
            file.write_all(now)?;
            self.within += now.len() as u64;
            if self.within == piece.length {
                (self.pieces, self.within) = (rest, 0);
            }
            bytes = later;
        }
        Ok(())
    }
}

impl Write for Spread<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for target in &mut self.targets {
            target.take(self.files, bytes)?;
        }
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.taken += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
