//! Which records the output has, in which order, and where their bytes come from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::super::{Archive, ArchiveFault, name};
use super::edits::{Body, Change, Edits, Fill, Patch};
use super::layout::Head;
use super::source::Source;
use crate::error::Error;
use crate::torchscript::archive::entry::{Entry, Method};

/// From this length on, torch deflates code and its debug pickles.
const DEFLATE_FROM: usize = 200;
const DEFLATE_LEVEL: u8 = 9;

/// A part of a record's data.
pub(super) enum Part<'e> {
    Bytes(&'e [u8]),
    Owned(Vec<u8>),
    Made { fill: &'e (dyn Fill + 'e), source: Source<'e>, len: u64 },
}

/// What is known about a record's CRC before its data is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Crc {
    /// It is right already.
    Known(u32),
    /// The written bytes must have this one.
    Expected(u32),
    /// The stored bytes inflate to this one, if they are undamaged.
    Inflated(u32),
    /// It is what the written bytes give.
    Found,
}

/// A record of the output.
pub(super) struct Record<'e> {
    pub(super) head: Head,
    pub(super) crc: Crc,
    pub(super) parts: Vec<Part<'e>>,
    /// The CRC that the stored bytes of the input have, where all of them are read while this record is made, and its name.
    pub(super) source_crc: Option<(u32, String)>,
}

impl<'e> Record<'e> {
    fn of(head: Head, crc: Crc, part: Part<'e>) -> Self {
        Self { head, crc, parts: vec![part], source_crc: None }
    }
}

pub(super) fn plan<'e>(archive: &'e Archive, edits: &'e Edits<'_>) -> Result<Vec<Record<'e>>, Error> {
    check(archive, edits)?;
    let mut behind = places(archive, edits);
    let mut records = Vec::with_capacity(archive.entries().len() + edits.added.len());
    for (position, entry) in archive.entries().iter().enumerate() {
        let change = archive.record_name(entry).and_then(|record| Some((record, edits.changes.get(record)?)));
        match change {
            None => records.push(copied(archive, position, entry)),
            Some((_, Change::Remove)) => {}
            Some((_, Change::Replace(body))) => records.push(new(archive, entry.name.clone(), entry.method, body)?),
            Some((record, Change::Patch(patches))) => records.push(patched(archive, position, entry, record, patches)?),
        }
        for added in behind.remove(&position).unwrap_or_default() {
            records.push(add(archive, added, &edits.added)?);
        }
    }
    for added in behind.into_values().flatten() {
        records.push(add(archive, added, &edits.added)?);
    }
    Ok(records)
}

fn fault(what: &'static str, name: &str, why: impl Into<Cow<'static, str>>) -> Error {
    ArchiveFault::Edit { what, name: name.to_owned(), why: why.into() }.in_record(name)
}

fn check(archive: &Archive, edits: &Edits<'_>) -> Result<(), Error> {
    for (record, change) in &edits.changes {
        if !archive.has(record) {
            let what = match change {
                Change::Replace(_) => "replace",
                Change::Patch(_) => "patch",
                Change::Remove => "remove",
            };
            return Err(fault(what, record, "there is no such record"));
        }
    }
    for record in edits.added.keys() {
        if archive.has(record) {
            return Err(fault("add", record, "there is such a record already"));
        }
        let full = format!("{}/{record}", archive.prefix());
        name::checked(full.as_bytes()).map_err(|fault| fault.in_record(record))?;
        if full.ends_with('/') || full.len() > usize::from(u16::MAX) {
            return Err(fault("add", record, "a record's name is 1 to 65,535 bytes long and does not end with `/`"));
        }
    }
    Ok(())
}

/// By position in the directory, the added records that go behind it; those without a folder go to the end.
fn places<'e>(archive: &Archive, edits: &'e Edits<'_>) -> BTreeMap<usize, Vec<&'e str>> {
    let folder = |record: &str| record.split_once('/').map(|(folder, _)| folder.to_owned());
    let mut last = BTreeMap::new();
    for (position, entry) in archive.entries().iter().enumerate() {
        if let Some(folder) = archive.record_name(entry).and_then(folder) {
            last.insert(folder, position);
        }
    }
    let mut places: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for record in edits.added.keys() {
        let place = folder(record).and_then(|folder| last.get(&folder).copied()).unwrap_or(usize::MAX);
        places.entry(place).or_default().push(record);
    }
    places
}

fn copied<'e>(archive: &'e Archive, position: usize, entry: &Entry) -> Record<'e> {
    let crc = match entry.method {
        _ if archive.is_verified(position) => Crc::Known(entry.crc),
        Method::Stored => Crc::Expected(entry.crc),
        Method::Deflated => Crc::Inflated(entry.crc),
    };
    Record::of(Head::of(entry), crc, Part::Bytes(archive.stored(entry)))
}

fn add<'e>(archive: &'e Archive, record: &str, added: &'e BTreeMap<String, Body<'_>>) -> Result<Record<'e>, Error> {
    let body = added.get(record).ok_or_else(|| fault("add", record, "it has no data"))?;
    let text = record.starts_with("code/");
    let long = matches!(body, Body::Bytes(bytes) if bytes.len() > DEFLATE_FROM);
    let method = if text && long { Method::Deflated } else { Method::Stored };
    new(archive, format!("{}/{record}", archive.prefix()), method, body)
}

fn new<'e>(archive: &'e Archive, name: String, method: Method, body: &'e Body<'_>) -> Result<Record<'e>, Error> {
    Ok(match (body, method) {
        (Body::Bytes(bytes), Method::Stored) => {
            let len = bytes.len() as u64;
            Record::of(Head::new(name, method, len, len), Crc::Found, Part::Bytes(bytes))
        }
        (Body::Bytes(bytes), Method::Deflated) => {
            let packed = miniz_oxide::deflate::compress_to_vec(bytes, DEFLATE_LEVEL);
            let head = Head::new(name, Method::Deflated, bytes.len() as u64, packed.len() as u64);
            Record::of(head, Crc::Known(crc32fast::hash(bytes)), Part::Owned(packed))
        }
        // What is made is stored, as torch stores all data.
        (Body::Made { len, source, fill }, _) => {
            let (source, source_crc) = match source {
                Some((record, span)) => made_from(archive, record, span)?,
                None => (Source::Nothing, None),
            };
            let part = Part::Made { fill: fill.as_ref(), source, len: *len };
            Record { source_crc, ..Record::of(Head::new(name, Method::Stored, *len, *len), Crc::Found, part) }
        }
    })
}

/// The source of a made record, and what its stored bytes must hash to, where they are read as a whole and were not checked yet.
fn made_from<'e>(
    archive: &'e Archive,
    record: &str,
    span: &Range<u64>,
) -> Result<(Source<'e>, Option<(u32, String)>), Error> {
    let why = || fault("make from", record, format!("there are no bytes {span:?} in such a record"));
    let source = Source::new(archive, record, span).ok_or_else(why)?;
    let (position, entry) = archive.position(record).ok_or_else(why)?;
    let unchecked = entry.method == Method::Stored && !archive.is_verified(position);
    if unchecked && *span != (0..entry.size) {
        archive.read(record)?;
        return Ok((source, None));
    }
    Ok((source, unchecked.then(|| (entry.crc, record.to_owned()))))
}

fn patched<'e>(
    archive: &'e Archive,
    position: usize,
    entry: &Entry,
    record: &str,
    patches: &'e [Patch<'_>],
) -> Result<Record<'e>, Error> {
    let mut sorted: Vec<&Patch<'_>> = patches.iter().collect();
    sorted.sort_by_key(|patch| (patch.span.start, patch.span.end));
    let mut reached = 0;
    let mut parts = Vec::with_capacity(patches.len() * 2 + 1);
    for patch in &sorted {
        let span = &patch.span;
        let why = || format!("bytes {span:?} overlap another patch or leave the record's {} bytes", entry.size);
        if span.start < reached {
            return Err(fault("patch", record, why()));
        }
        let source = Source::new(archive, record, span).ok_or_else(|| fault("patch", record, why()))?;
        parts.extend(between(archive, record, reached..span.start));
        parts.push(Part::Made { fill: patch.fill.as_ref(), source, len: span.end - span.start });
        reached = span.end;
    }
    parts.extend(between(archive, record, reached..entry.size));
    let head = match entry.method {
        Method::Stored => Head::of(entry),
        Method::Deflated => Head::new(entry.name.clone(), Method::Stored, entry.size, entry.size),
    };
    // A new CRC must not hide that the old bytes were damaged; inflated ones are checked when they are inflated.
    let unchecked = entry.method == Method::Stored && !archive.is_verified(position);
    let source_crc = unchecked.then(|| (entry.crc, record.to_owned()));
    Ok(Record { head, crc: Crc::Found, parts, source_crc })
}

/// Bytes of a record that stay as they are.
fn between<'e>(archive: &'e Archive, record: &str, span: Range<u64>) -> Option<Part<'e>> {
    let len = span.end - span.start;
    let source = Source::new(archive, record, &span).filter(|_| len > 0)?;
    Some(match source {
        Source::Stored(bytes) => Part::Bytes(bytes),
        source => Part::Made { fill: &Same, source, len },
    })
}

/// The source itself.
struct Same;

impl Fill for Same {
    fn fill(&self, source: &[u8], at: u64, out: &mut [u8]) -> Result<(), Error> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = source.get(start..).and_then(|rest| rest.get(..out.len()));
        if let Some(bytes) = bytes {
            out.copy_from_slice(bytes);
        }
        Ok(())
    }
}
