//! A checkpoint with other values in the places of some: everything else is copied byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::data::{self, DataFile, Finished};
use super::spread::{Piece, Spread, Target, TensorPart};
use super::{message, write_index, wrong};
use crate::error::Error;
use crate::graphdef::bundle::entry::Entry;
use crate::graphdef::bundle::{Bundle, files};
use crate::graphdef::io::Mapped;

/// Writes values, row-major, little-endian, as they come.
pub type WriteValues<'a> = dyn FnOnce(&mut (dyn Write + Send)) -> Result<(), Error> + 'a;

/// New values for a tensor or a part of one, or for several that get the same.
pub struct NewValues<'a> {
    /// What gets them.
    pub parts: Vec<TensorPart>,
    /// Writes as many bytes as each of these has.
    pub write: Box<WriteValues<'a>>,
}

impl fmt::Debug for NewValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewValues").field("parts", &self.parts).finish_non_exhaustive()
    }
}

/// Write `bundle` with new values as the checkpoint `prefix`, which may be its own: shapes, types, places and unknown fields stay, and
/// only the CRCs of what has new values are others. An index that was compressed is not afterwards. Values are read back before a file takes its name.
///
/// # Errors
/// [`Error::NoSuchTensor`] and [`Error::NoSuchPart`]; [`Error::NewValues`] where there are more or fewer than a part has, where two
/// are for the same elements, or where a tensor without new ones has the same bytes; [`Error::Checkpoint`] for elements without a fixed
/// size; [`Error::Wire`] for a damaged index; [`Error::Changed`]; what `write` says; [`Error::Output`]; [`Error::Verify`].
pub fn patch(bundle: &Bundle, prefix: &Path, values: Vec<NewValues<'_>>) -> Result<(), Error> {
    let of_value = |value: &NewValues<'_>| value.parts.iter().map(|part| Target::of(bundle, part)).collect();
    let targets: Result<Vec<Vec<Target>>, Error> = values.iter().map(of_value).collect();
    let targets = bundle.settled(targets)?;
    let all = || targets.iter().flatten();
    let ranges = ranges(bundle.shards.len(), all())?;
    let touched: BTreeMap<&[u8], &Entry> =
        all().flat_map(|target| &target.entries).map(|(key, entry)| (&key[..], entry)).collect();
    alone(bundle, &ranges, &touched)?;

    let mut files = copied(bundle, prefix, &ranges)?;
    let mut crcs: Vec<(&Target, u32)> = Vec::new();
    for (value, targets) in values.into_iter().zip(&targets) {
        let mut out = Spread::new(&mut files, targets);
        (value.write)(&mut out)?;
        let (taken, crc) = (out.taken, out.crc);
        if let Some(other) = targets.iter().find(|target| target.bytes != taken) {
            let (found, expected) = (format!("{taken} bytes"), format!("{}, as the part has", other.bytes));
            return Err(Error::NewValues { name: other.name.clone(), found, expected });
        }
        crcs.extend(targets.iter().map(|target| (target, crc)));
    }
    let files = files.into_iter().map(|file| file.map(DataFile::finish).transpose());
    let files: Vec<Option<Finished>> = files.collect::<Result<_, _>>()?;
    let maps = files.iter().map(|file| file.as_ref().map(Finished::map).transpose());
    let maps: Vec<Option<Mapped>> = maps.collect::<Result<_, _>>()?;
    crcs.par_iter().try_for_each(|(target, crc)| {
        let read = target.pieces.iter().try_fold(0, |crc, piece| {
            Some(crc32c::crc32c_append(crc, bytes(&maps, piece.shard, piece.offset, piece.length)?))
        });
        if read == Some(*crc) { Ok(()) } else { Err(wrong(&target.name, "other bytes than were written")) }
    })?;
    same_elsewhere(bundle, &maps, &ranges)?;

    let whole = crcs.iter().filter_map(|(target, crc)| Some((target.whole_entry()?, *crc)));
    let new = entries(bundle, &maps, &touched, &whole.collect())?;
    let index = write_index(&files::index_of(prefix), &new.iter().map(|(key, value)| (*key, &value[..])))?;
    bundle.check()?;
    drop(maps);
    data::persist(files.into_iter().flatten().collect(), index)
}

/// What is written anew in each data file, in order. No two share bytes.
fn ranges<'a>(shards: usize, targets: impl Iterator<Item = &'a Target>) -> Result<Vec<Vec<Range<u64>>>, Error> {
    let named = |target: &'a Target| target.pieces.iter().map(|piece| (*piece, target.name.as_str()));
    let mut all: Vec<(Piece, &str)> = targets.flat_map(named).collect();
    all.sort_unstable_by_key(|(piece, _)| (piece.shard, piece.offset));
    let mut ranges: Vec<Vec<Range<u64>>> = vec![Vec::new(); shards];
    for (piece, name) in all {
        let Some(of_shard) = ranges.get_mut(piece.shard) else { continue };
        match of_shard.last_mut() {
            Some(last) if piece.offset < last.end => {
                return Err(Error::NewValues {
                    name: name.to_owned(),
                    found: "bytes that get other new values, too".to_owned(),
                    expected: "each byte once".to_owned(),
                });
            }
            Some(last) if piece.offset == last.end => last.end = piece.end(),
            _ => of_shard.push(piece.offset..piece.end()),
        }
    }
    Ok(ranges)
}

/// No tensor that keeps its values may have bytes that change.
fn alone(bundle: &Bundle, ranges: &[Vec<Range<u64>>], touched: &BTreeMap<&[u8], &Entry>) -> Result<(), Error> {
    for key in bundle.keys().filter(|key| !key.is_empty() && !touched.contains_key(key)) {
        let name = String::from_utf8_lossy(key);
        // One without a byte may stand anywhere.
        let Some(entry) = bundle.entry_named(key, &name)?.filter(|entry| entry.size > 0) else { continue };
        let of_shard = usize::try_from(entry.shard).ok().and_then(|shard| ranges.get(shard));
        let end = entry.offset.saturating_add(entry.size);
        let shares = of_shard.is_some_and(|ranges| {
            let first = ranges.partition_point(|range| range.end <= entry.offset);
            entry.slices.is_empty() && ranges.get(first).is_some_and(|range| range.start < end)
        });
        if shares {
            let found = "bytes of another tensor, which gets new values".to_owned();
            return Err(Error::NewValues { name: name.into_owned(), found, expected: "bytes of its own".to_owned() });
        }
    }
    Ok(())
}

/// The data files with everything that stays, at its place; `None` for one that stays as it is where it is.
fn copied(bundle: &Bundle, prefix: &Path, ranges: &[Vec<Range<u64>>]) -> Result<Vec<Option<DataFile>>, Error> {
    let count = u32::try_from(bundle.shards.len()).unwrap_or(u32::MAX);
    let mut files = Vec::new();
    for ((shard, ranges), number) in bundle.shards.iter().zip(ranges).zip(0..) {
        let path = files::shard_of(prefix, number, count);
        if ranges.is_empty() && is_same(shard.path(), &path) {
            files.push(None);
            continue;
        }
        let map = shard.map()?;
        let mut file = DataFile::create(&path)?;
        for kept in kept(ranges, map.len() as u64) {
            file.go_to(kept.start).map_err(Error::writing)?;
            file.write_all(part(map, &kept).unwrap_or_default()).map_err(Error::writing)?;
        }
        files.push(Some(file));
    }
    Ok(files)
}

fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// What is between the ranges and around them in a file of this length.
fn kept(ranges: &[Range<u64>], length: u64) -> impl Iterator<Item = Range<u64>> {
    let starts = std::iter::once(0).chain(ranges.iter().map(|range| range.end));
    let ends = ranges.iter().map(|range| range.start).chain(std::iter::once(length));
    starts.zip(ends).filter(|(start, end)| start < end).map(|(start, end)| start..end)
}

fn part<'a>(file: &'a [u8], range: &Range<u64>) -> Option<&'a [u8]> {
    file.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

fn bytes(maps: &[Option<Mapped>], shard: usize, offset: u64, length: u64) -> Option<&[u8]> {
    part(maps.get(shard)?.as_ref()?, &(offset..offset.checked_add(length)?))
}

/// What was copied must be what it was.
fn same_elsewhere(bundle: &Bundle, maps: &[Option<Mapped>], ranges: &[Vec<Range<u64>>]) -> Result<(), Error> {
    for ((shard, map), ranges) in bundle.shards.iter().zip(maps).zip(ranges) {
        let Some(map) = map else { continue };
        let old = shard.map()?;
        let mut kept = kept(ranges, old.len() as u64);
        if map.len() != old.len() || !kept.all(|range| part(map, &range) == part(old, &range)) {
            shard.check()?;
            return Err(wrong(&shard.path().display().to_string(), "other bytes than were copied"));
        }
    }
    Ok(())
}

/// Of the index.
type KeyAndValue<'b> = (&'b [u8], Vec<u8>);

/// All entries, with the CRCs of what was written; those of the entries in `known` were computed before.
fn entries<'b>(
    bundle: &'b Bundle,
    maps: &[Option<Mapped>],
    touched: &BTreeMap<&[u8], &Entry>,
    known: &BTreeMap<&[u8], u32>,
) -> Result<Vec<KeyAndValue<'b>>, Error> {
    let mut all = Vec::new();
    let mut left: BTreeSet<&[u8]> = touched.keys().copied().collect();
    for key in bundle.keys() {
        let Some(value) = bundle.table.get(&bundle.index, key) else { continue };
        let new = match touched.get(key) {
            None => value.0.to_vec(),
            Some(entry) => {
                let shard = usize::try_from(entry.shard).unwrap_or(usize::MAX);
                let name = || String::from_utf8_lossy(key).into_owned();
                // Without a byte, nothing of its file need have been written.
                let written =
                    if entry.size == 0 { Some(&[][..]) } else { bytes(maps, shard, entry.offset, entry.size) };
                let written = written.ok_or_else(|| wrong(&name(), "its end"))?;
                left.remove(key);
                let crc = known.get(key).copied().unwrap_or_else(|| crc32c::crc32c(written));
                message::with_crc(value, crc).map_err(|error| error.in_file(&bundle.index_path))?
            }
        };
        all.push((key, new));
    }
    if left.is_empty() { Ok(all) } else { Err(wrong("the index", "fewer entries than there were")) }
}
