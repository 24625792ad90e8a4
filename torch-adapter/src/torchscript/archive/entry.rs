//! One record of the archive, as the central directory and its local header describe it.

use std::ops::Range;

use super::end::{CENTRAL_LEN, Directory};
use super::fields::{Fields, ZIP64, extra};
use super::name;
use crate::error::{ArchiveFault, Error};

pub(super) const LOCAL: u32 = 0x0403_4b50;
pub(super) const CENTRAL: u32 = 0x0201_4b50;
pub(super) const DESCRIPTOR: u32 = 0x0807_4b50;
pub(super) const LOCAL_LEN: usize = 30;
pub(super) const HAS_DESCRIPTOR: u16 = 1 << 3;
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const SATURATED: u32 = u32::MAX;

/// How a record's data is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// As a raw deflate stream.
    Deflated,
}

/// A record of an archive.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) made_by: u16,
    pub(super) needed: u16,
    pub(super) time: u16,
    pub(super) date: u16,
    pub(super) internal: u16,
    pub(super) external: u32,
    pub(super) crc: u32,
    pub(super) size: u64,
    /// The local header's position.
    pub(super) header: usize,
    /// The data, as stored.
    pub(super) data: Range<usize>,
    /// Behind the data descriptor.
    pub(super) end: usize,
}

impl Entry {
    /// The full name, the archive's prefix included.
    pub fn full_name(&self) -> &str {
        &self.name
    }

    /// How the data is stored.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Bytes of the data when decoded.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the data as stored.
    pub fn stored_size(&self) -> usize {
        self.data.len()
    }

    /// The position of the stored data in the file.
    pub fn data_offset(&self) -> usize {
        self.data.start
    }
}

/// Every entry of the directory, each checked against its local header.
pub(super) fn read_all(data: &[u8], directory: &Directory) -> Result<Vec<Entry>, Error> {
    // The count was checked against the directory's length.
    let mut entries = Vec::with_capacity(usize::try_from(directory.entries).unwrap_or_default());
    let mut cursor = Fields::new(data.get(..directory.span.end).unwrap_or_default(), directory.span.start);
    for _ in 0..directory.entries {
        let at = cursor.at();
        let Some(central) = Central::read(&mut cursor) else {
            let found = directory.span.end.saturating_sub(at) as u64;
            let what = "an entry of the central directory";
            return Err(ArchiveFault::Truncated { what, found, expected: CENTRAL_LEN as u64 }.at(at));
        };
        entries.push(central.into_entry(data, at)?);
    }
    let left = directory.span.end.saturating_sub(cursor.at());
    if left != 0 {
        let what = "bytes behind the last directory entry";
        return Err(ArchiveFault::Directory { what, found: left as u64, expected: 0 }.at(cursor.at()));
    }
    Ok(entries)
}

struct Central<'a> {
    signature: u32,
    made_by: u16,
    needed: u16,
    flags: u16,
    method: u16,
    time: u16,
    date: u16,
    crc: u32,
    packed: u32,
    size: u32,
    disk: u16,
    internal: u16,
    external: u32,
    header: u32,
    name: &'a [u8],
    extra: &'a [u8],
}

impl<'a> Central<'a> {
    fn read(cursor: &mut Fields<'a>) -> Option<Self> {
        let mut entry = Self {
            signature: cursor.u32()?,
            made_by: cursor.u16()?,
            needed: cursor.u16()?,
            flags: cursor.u16()?,
            method: cursor.u16()?,
            time: cursor.u16()?,
            date: cursor.u16()?,
            crc: cursor.u32()?,
            packed: cursor.u32()?,
            size: cursor.u32()?,
            disk: 0,
            internal: 0,
            external: 0,
            header: 0,
            name: &[],
            extra: &[],
        };
        let (name, extra, comment) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
        entry.disk = cursor.u16()?;
        entry.internal = cursor.u16()?;
        entry.external = cursor.u32()?;
        entry.header = cursor.u32()?;
        entry.name = cursor.take(name.into())?;
        entry.extra = cursor.take(extra.into())?;
        cursor.take(comment.into())?;
        Some(entry)
    }

    fn into_entry(self, data: &[u8], at: usize) -> Result<Entry, Error> {
        if self.signature != CENTRAL {
            let what = "central directory entry";
            return Err(ArchiveFault::Signature { what, found: self.signature, expected: CENTRAL }.at(at));
        }
        let name = name::checked(self.name).map_err(|fault| fault.at(at))?;
        let in_record = |fault: ArchiveFault| fault.in_record(name);
        if self.flags & ENCRYPTED != 0 {
            return Err(in_record(ArchiveFault::Encrypted { flags: self.flags }));
        }
        if self.disk != 0 {
            let found = self.disk.into();
            return Err(in_record(ArchiveFault::Directory { what: "disk of the record", found, expected: 0 }));
        }
        let method = match self.method {
            0 => Method::Stored,
            8 => Method::Deflated,
            method => return Err(in_record(ArchiveFault::Method { method })),
        };
        let (size, packed, header) = self.wide().ok_or_else(|| {
            in_record(ArchiveFault::Truncated { what: "the 64-bit sizes of a record", found: 0, expected: 8 })
        })?;
        if method == Method::Stored && packed != size {
            let (found, expected) = (packed.to_string(), size.to_string());
            return Err(in_record(ArchiveFault::Mismatch { what: "the stored length", found, expected }));
        }
        let cut = |expected: u64| {
            let found = data.len() as u64;
            in_record(ArchiveFault::Truncated { what: "the data of a record", found, expected })
        };
        let header = usize::try_from(header).map_err(|_| cut(header))?;
        let local = Local { data, header, size, packed, crc: self.crc, flags: self.flags, method: self.method };
        let span = local.check(self.name, name)?;
        Ok(Entry {
            name: name.to_owned(),
            method,
            made_by: self.made_by,
            needed: self.needed,
            time: self.time,
            date: self.date,
            internal: self.internal,
            external: self.external,
            crc: self.crc,
            size,
            header,
            data: span.data,
            end: span.end,
        })
    }

    /// Size, stored size and position, from the 64-bit extra field where the 32-bit fields are saturated.
    fn wide(&self) -> Option<(u64, u64, u64)> {
        let mut wide = Fields::new(extra(self.extra, ZIP64).unwrap_or_default(), 0);
        let mut field = |narrow: u32| if narrow == SATURATED { wide.u64() } else { Some(narrow.into()) };
        Some((field(self.size)?, field(self.packed)?, field(self.header)?))
    }
}

struct Span {
    data: Range<usize>,
    end: usize,
}

/// What the directory says about a record, to be compared with what stands in front of and behind its data.
struct Local<'a> {
    data: &'a [u8],
    header: usize,
    size: u64,
    packed: u64,
    crc: u32,
    flags: u16,
    method: u16,
}

impl Local<'_> {
    fn check(&self, raw_name: &[u8], name: &str) -> Result<Span, Error> {
        let cut = || {
            let found = self.data.len().saturating_sub(self.header) as u64;
            let expected = (LOCAL_LEN as u64).saturating_add(self.packed);
            ArchiveFault::Truncated { what: "a record", found, expected }.in_record(name)
        };
        let mut fields = Fields::new(self.data, self.header);
        let signature = fields.u32().ok_or_else(cut)?;
        if signature != LOCAL {
            let what = "local header";
            return Err(ArchiveFault::Signature { what, found: signature, expected: LOCAL }.in_record(name));
        }
        let local = LocalFields::read(&mut fields).ok_or_else(cut)?;
        let mismatch = |what: &'static str, found: String, expected: String| {
            Err(ArchiveFault::Mismatch { what, found, expected }.in_record(name))
        };
        if local.name != raw_name {
            return mismatch("the name", local.name.escape_ascii().to_string(), raw_name.escape_ascii().to_string());
        }
        if local.flags != self.flags {
            return mismatch("the flags", format!("{:#06x}", local.flags), format!("{:#06x}", self.flags));
        }
        if local.method != self.method {
            return mismatch("the compression method", local.method.to_string(), self.method.to_string());
        }
        let later = self.flags & HAS_DESCRIPTOR != 0;
        if local.crc != self.crc && !(later && local.crc == 0) {
            return mismatch("the CRC", format!("{:#010x}", local.crc), format!("{:#010x}", self.crc));
        }
        let (size, packed) = local.wide().ok_or_else(cut)?;
        if size != self.size && !(later && size == 0) {
            return mismatch("the length", size.to_string(), self.size.to_string());
        }
        if packed != self.packed && !(later && packed == 0) {
            return mismatch("the stored length", packed.to_string(), self.packed.to_string());
        }
        let start = fields.at();
        let stored = usize::try_from(self.packed).map_err(|_| cut())?;
        fields.take(stored).ok_or_else(cut)?;
        let data = start..fields.at();
        if later && self.size != 0 {
            let Some(len) = self.descriptor(fields.at()) else {
                let text = format!("CRC {:#010x}, stored length {}, length {}", self.crc, self.packed, self.size);
                return mismatch("the data descriptor", "something else".to_owned(), text);
            };
            fields.take(len).ok_or_else(cut)?;
        }
        Ok(Span { data, end: fields.at() })
    }

    /// The length of the data descriptor at `at`: with or without signature, with 32-bit or 64-bit sizes.
    fn descriptor(&self, at: usize) -> Option<usize> {
        [(true, false), (true, true), (false, false), (false, true)].into_iter().find_map(|(signed, wide)| {
            let mut fields = Fields::new(self.data, at);
            if signed && fields.u32()? != DESCRIPTOR {
                return None;
            }
            let crc = fields.u32()?;
            let (packed, size) =
                if wide { (fields.u64()?, fields.u64()?) } else { (fields.u32()?.into(), fields.u32()?.into()) };
            ((crc, packed, size) == (self.crc, self.packed, self.size)).then(|| fields.at() - at)
        })
    }
}

struct LocalFields<'a> {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name: &'a [u8],
    extra: &'a [u8],
}

impl<'a> LocalFields<'a> {
    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.take(4)?;
        let (crc, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name, extra) = (fields.u16()?, fields.u16()?);
        let (name, extra) = (fields.take(name.into())?, fields.take(extra.into())?);
        Some(Self { flags, method, crc, packed, size, name, extra })
    }

    fn wide(&self) -> Option<(u64, u64)> {
        let mut wide = Fields::new(extra(self.extra, ZIP64).unwrap_or_default(), 0);
        let mut field = |narrow: u32| if narrow == SATURATED { wide.u64() } else { Some(narrow.into()) };
        Some((field(self.size)?, field(self.packed)?))
    }
}
