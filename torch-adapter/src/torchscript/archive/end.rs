//! The records at the end of a zip file: where the central directory lies.

use std::ops::Range;

use super::fields::Fields;
use crate::error::{ArchiveFault, Error};

pub(super) const END: u32 = 0x0605_4b50;
pub(super) const END_LEN: usize = 22;
pub(super) const END64: u32 = 0x0606_4b50;
pub(super) const END64_LEN: usize = 56;
pub(super) const LOCATOR: u32 = 0x0706_4b50;
pub(super) const LOCATOR_LEN: usize = 20;
/// The shortest entry of the central directory, without its name.
pub(super) const CENTRAL_LEN: usize = 46;
const LONGEST_COMMENT: usize = 0xffff;

/// Where the central directory is, and how many entries it has.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) span: Range<usize>,
    pub(super) entries: u64,
}

struct Counts {
    disk: u32,
    directory_disk: u32,
    here: u64,
    total: u64,
    size: u64,
    offset: u64,
}

pub(super) fn find(data: &[u8]) -> Result<Directory, Error> {
    let end = find_end(data)?;
    let cut = |at: usize| {
        let what = "the end-of-directory record";
        ArchiveFault::Truncated { what, found: data.len().saturating_sub(at) as u64, expected: END_LEN as u64 }.at(at)
    };
    let classic = read_end(data, end).ok_or_else(|| cut(end))?;
    let (counts, limit) = match end.checked_sub(LOCATOR_LEN) {
        Some(at) if Fields::new(data, at).u32() == Some(LOCATOR) => {
            let (counts, start) = read_end64(data, at)?;
            agree(&classic, &counts, end)?;
            (counts, start)
        }
        _ => (classic, end),
    };
    let expect = |what, found, expected| {
        if found == expected { Ok(()) } else { Err(ArchiveFault::Directory { what, found, expected }.at(end)) }
    };
    expect("number of this disk", u64::from(counts.disk), 0)?;
    expect("disk of the central directory", u64::from(counts.directory_disk), 0)?;
    expect("entries on this disk", counts.here, counts.total)?;
    expect("end of the central directory", counts.offset.saturating_add(counts.size), limit as u64)?;
    if counts.total > counts.size / CENTRAL_LEN as u64 {
        let most = counts.size / CENTRAL_LEN as u64;
        return Err(
            ArchiveFault::Directory { what: "entries in the directory", found: counts.total, expected: most }.at(end)
        );
    }
    // The sum above equals a position in the file, so both parts fit into `usize`.
    let start = usize::try_from(counts.offset).map_err(|_| cut(end))?;
    Ok(Directory { span: start..limit, entries: counts.total })
}

/// The position of the end record: the last one whose comment ends with the file.
fn find_end(data: &[u8]) -> Result<usize, Error> {
    let last = data.len().checked_sub(END_LEN);
    let first = data.len().saturating_sub(END_LEN + LONGEST_COMMENT);
    let searched = data.len() - first;
    let mut behind = None;
    for at in (first..last.map_or(first, |last| last + 1)).rev() {
        let mut fields = Fields::new(data, at);
        if fields.u32() != Some(END) {
            continue;
        }
        let comment = Fields::new(data, at + END_LEN - 2).u16().map_or(0, usize::from);
        if at + END_LEN + comment == data.len() {
            return Ok(at);
        }
        behind = behind.or(Some((at, data.len() - at - END_LEN)));
    }
    Err(match behind {
        Some((at, found)) => ArchiveFault::TrailingBytes { found: found as u64 }.at(at),
        None => ArchiveFault::NoEnd { searched }.at(first),
    })
}

fn read_end(data: &[u8], at: usize) -> Option<Counts> {
    let mut fields = Fields::new(data, at);
    fields.u32()?;
    Some(Counts {
        disk: fields.u16()?.into(),
        directory_disk: fields.u16()?.into(),
        here: fields.u16()?.into(),
        total: fields.u16()?.into(),
        size: fields.u32()?.into(),
        offset: fields.u32()?.into(),
    })
}

/// The 64-bit end record that the locator at `at` points to, and where it starts.
fn read_end64(data: &[u8], at: usize) -> Result<(Counts, usize), Error> {
    let cut = |at: usize, expected: usize| {
        let what = "the 64-bit end-of-directory record";
        let found = data.len().saturating_sub(at) as u64;
        ArchiveFault::Truncated { what, found, expected: expected as u64 }.at(at)
    };
    let mut locator = Fields::new(data, at + 4);
    let position = locator.u32().zip(locator.u64()).zip(locator.u32());
    let ((disk, position), disks) = position.ok_or_else(|| cut(at, LOCATOR_LEN))?;
    if disk != 0 || disks > 1 {
        let what = "disks of the archive";
        return Err(ArchiveFault::Directory { what, found: disks.into(), expected: 1 }.at(at));
    }
    let out = || ArchiveFault::Directory {
        what: "position of the 64-bit end record",
        found: position,
        expected: at.saturating_sub(END64_LEN) as u64,
    };
    let start = usize::try_from(position).map_err(|_| out().at(at))?;
    let (found, counts) = parse_end64(data, start).ok_or_else(|| out().at(at))?;
    if found.signature != END64 {
        let what = "64-bit end-of-directory record";
        return Err(ArchiveFault::Signature { what, found: found.signature, expected: END64 }.at(start));
    }
    if position.checked_add(found.size).and_then(|end| end.checked_add(12)) != Some(at as u64) {
        return Err(out().at(at));
    }
    Ok((counts, start))
}

struct Head64 {
    signature: u32,
    size: u64,
}

fn parse_end64(data: &[u8], at: usize) -> Option<(Head64, Counts)> {
    let mut fields = Fields::new(data, at);
    let head = Head64 { signature: fields.u32()?, size: fields.u64()? };
    fields.take(4)?;
    let counts = Counts {
        disk: fields.u32()?,
        directory_disk: fields.u32()?,
        here: fields.u64()?,
        total: fields.u64()?,
        size: fields.u64()?,
        offset: fields.u64()?,
    };
    Some((head, counts))
}

/// The classic record repeats the 64-bit one wherever its fields are wide enough.
fn agree(classic: &Counts, wide: &Counts, at: usize) -> Result<(), Error> {
    let pairs = [
        ("entries in the directory", classic.total, wide.total, 0xffff),
        ("size of the directory", classic.size, wide.size, 0xffff_ffff),
        ("position of the directory", classic.offset, wide.offset, 0xffff_ffff),
    ];
    for (what, found, expected, saturated) in pairs {
        if found != saturated && found != expected {
            return Err(ArchiveFault::Directory { what, found, expected }.at(at));
        }
    }
    Ok(())
}
