//! Which records the output has, in which order, and where their bytes come from.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::entry::{Entry, Method};
use super::super::{Archive, ArchiveFault, name};
use super::edits::{Body, Change, Edits, Fill, Patch};
use super::layout::Head;
use crate::error::Error;

/// From this length on, torch deflates code and its debug pickles.
const DEFLATE_FROM: usize = 200;
const DEFLATE_LEVEL: u8 = 9;

/// A part of a record's data.
pub(super) enum Part<'e> {
    Bytes(&'e [u8]),
    Owned(Vec<u8>),
    Made { fill: &'e (dyn Fill + 'e), len: u64 },
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
            Some((_, Change::Replace(body))) => records.push(new(entry.name.clone(), entry.method, body)?),
            Some((record, Change::Patch(patches))) => records.push(patched(archive, entry, record, patches)?),
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
    Record { head: Head::of(entry), crc, parts: vec![Part::Bytes(archive.stored(entry))] }
}

fn add<'e>(archive: &Archive, record: &str, added: &'e BTreeMap<String, Body<'_>>) -> Result<Record<'e>, Error> {
    let body = added.get(record).ok_or_else(|| fault("add", record, "it has no data"))?;
    let text = record.starts_with("code/");
    let long = matches!(body, Body::Bytes(bytes) if bytes.len() > DEFLATE_FROM);
    let method = if text && long { Method::Deflated } else { Method::Stored };
    new(format!("{}/{record}", archive.prefix()), method, body)
}

fn new<'e>(name: String, method: Method, body: &'e Body<'_>) -> Result<Record<'e>, Error> {
    Ok(match (body, method) {
        (Body::Bytes(bytes), Method::Stored) => {
            let len = bytes.len() as u64;
            Record { head: Head::new(name, method, len, len), crc: Crc::Found, parts: vec![Part::Bytes(bytes)] }
        }
        (Body::Bytes(bytes), Method::Deflated) => deflated(name, bytes),
        (Body::Made { len, fill }, Method::Stored) => {
            let part = Part::Made { fill: fill.as_ref(), len: *len };
            Record { head: Head::new(name, method, *len, *len), crc: Crc::Found, parts: vec![part] }
        }
        (Body::Made { len, fill }, Method::Deflated) => {
            let len = usize::try_from(*len)
                .map_err(|_| fault("replace", &name, "it is too long to be deflated on this machine"))?;
            let mut bytes = vec![0; len];
            fill.fill(0, &mut bytes)?;
            deflated(name, &bytes)
        }
    })
}

fn deflated<'e>(name: String, bytes: &[u8]) -> Record<'e> {
    let packed = miniz_oxide::deflate::compress_to_vec(bytes, DEFLATE_LEVEL);
    let head = Head::new(name, Method::Deflated, bytes.len() as u64, packed.len() as u64);
    Record { head, crc: Crc::Known(crc32fast::hash(bytes)), parts: vec![Part::Owned(packed)] }
}

fn patched<'e>(
    archive: &'e Archive,
    entry: &Entry,
    record: &str,
    patches: &'e [Patch<'_>],
) -> Result<Record<'e>, Error> {
    let mut sorted: Vec<&Patch<'_>> = patches.iter().collect();
    sorted.sort_by_key(|patch| (patch.span.start, patch.span.end));
    let mut reached = 0;
    for patch in &sorted {
        let span = &patch.span;
        if span.start < reached || span.end < span.start || span.end > entry.size {
            let why = format!("bytes {span:?} overlap another patch or leave the record's {} bytes", entry.size);
            return Err(fault("patch", record, why));
        }
        reached = span.end;
    }
    // The bytes between the patches get a new CRC, which must not hide that they were damaged.
    let data = archive.read(record)?;
    match data {
        Cow::Borrowed(data) => {
            let parts = interleave(data, &sorted);
            let head = Head::of(entry);
            Ok(Record { head, crc: Crc::Found, parts })
        }
        Cow::Owned(mut data) => {
            for patch in sorted {
                if let Some(bytes) = span(&patch.span).and_then(|span| data.get_mut(span)) {
                    patch.fill.fill(0, bytes)?;
                }
            }
            Ok(deflated(entry.name.clone(), &data))
        }
    }
}

/// The patches, and between them the bytes of `data`.
fn interleave<'e>(data: &'e [u8], patches: &[&'e Patch<'_>]) -> Vec<Part<'e>> {
    let mut parts = Vec::with_capacity(patches.len() * 2 + 1);
    let mut reached = 0;
    let between = |from: usize, to: usize| data.get(from..to).filter(|bytes| !bytes.is_empty()).map(Part::Bytes);
    for patch in patches {
        let Some(span) = span(&patch.span) else { continue };
        parts.extend(between(reached, span.start));
        parts.push(Part::Made { fill: patch.fill.as_ref(), len: span.len() as u64 });
        reached = span.end;
    }
    parts.extend(between(reached, data.len()));
    parts
}

/// The same span as positions in memory; every span was checked against a record that is in memory.
fn span(span: &std::ops::Range<u64>) -> Option<std::ops::Range<usize>> {
    Some(usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?)
}
