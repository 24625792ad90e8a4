//! The bytes around the data, as PyTorchStreamWriter writes them (PyTorch 1.13, miniz with 64-bit records always on).

use crate::torchscript::archive::end::{CENTRAL_LEN, END, END_LEN, END64, END64_LEN, LOCATOR, LOCATOR_LEN};
use crate::torchscript::archive::entry::{CENTRAL, DESCRIPTOR, Entry, HAS_DESCRIPTOR, LOCAL, LOCAL_LEN, Method};
use crate::torchscript::archive::fields::ZIP64;

/// Data starts at multiples of this.
const ALIGNMENT: u64 = 64;
/// From this size or position on, 64-bit fields are used.
const WIDE: u64 = 0xffff_ffff;
const UTF8_NAME: u16 = 1 << 11;
const VERSION_DEFLATE: u16 = 20;
const PADDING_ID: [u8; 2] = *b"FB";
const PADDING: u8 = b'Z';

/// What the headers say about one record.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) method: Method,
    made_by: u16,
    needed: u16,
    time: u16,
    date: u16,
    internal: u16,
    external: u32,
    /// Decoded length.
    pub(super) size: u64,
    /// Stored length.
    pub(super) packed: u64,
}

impl Head {
    /// Torch's own fields.
    pub(super) fn new(name: String, method: Method, size: u64, packed: u64) -> Self {
        let needed = if method == Method::Deflated { VERSION_DEFLATE } else { 0 };
        Self { name, method, made_by: 0, needed, time: 0, date: 0, internal: 0, external: 0, size, packed }
    }

    /// The fields of a record that is there already.
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            name: entry.name.clone(),
            method: entry.method,
            made_by: entry.made_by,
            needed: entry.needed,
            time: entry.time,
            date: entry.date,
            internal: entry.internal,
            external: entry.external,
            size: entry.size,
            packed: entry.data.len() as u64,
        }
    }

    fn flags(&self) -> u16 {
        if self.size == 0 { UTF8_NAME } else { UTF8_NAME | HAS_DESCRIPTOR }
    }

    fn method_code(&self) -> u16 {
        match self.method {
            Method::Stored => 0,
            Method::Deflated => 8,
        }
    }

    /// The 64-bit extra field of a record at `header`; in front of the data the stored length is not known yet.
    fn wide(&self, header: u64, packed: u64) -> Vec<u8> {
        let mut fields = Vec::new();
        if self.size >= WIDE {
            fields.extend(self.size.to_le_bytes());
            fields.extend(packed.to_le_bytes());
        }
        if header >= WIDE {
            fields.extend(header.to_le_bytes());
        }
        if fields.is_empty() {
            return fields;
        }
        let mut extra = Vec::from(ZIP64.to_le_bytes());
        extra.extend(narrow16(fields.len() as u64).to_le_bytes());
        extra.append(&mut fields);
        extra
    }

    /// The local header at position `header`, with the padding that aligns the data behind it.
    pub(super) fn local(&self, header: u64) -> Vec<u8> {
        let wide = self.wide(header, 0);
        let unpadded = header + (LOCAL_LEN + self.name.len() + wide.len() + 4) as u64;
        let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
        let mut out = Vec::with_capacity(LOCAL_LEN + self.name.len() + wide.len() + 4 + 64);
        out.extend(LOCAL.to_le_bytes());
        for field in [self.needed, self.flags(), self.method_code(), self.time, self.date] {
            out.extend(field.to_le_bytes());
        }
        // CRC and lengths follow the data.
        out.extend([0; 12]);
        out.extend(narrow16(self.name.len() as u64).to_le_bytes());
        out.extend(narrow16(wide.len() as u64 + 4 + padding).to_le_bytes());
        out.extend(self.name.as_bytes());
        out.extend(wide);
        out.extend(PADDING_ID);
        out.extend(narrow16(padding).to_le_bytes());
        out.extend((0..padding).map(|_| PADDING));
        out
    }

    /// The data descriptor; empty records have none.
    pub(super) fn descriptor(&self, header: u64, crc: u32) -> Vec<u8> {
        let mut out = Vec::new();
        if self.size == 0 {
            return out;
        }
        out.extend(DESCRIPTOR.to_le_bytes());
        out.extend(crc.to_le_bytes());
        for size in [self.packed, self.size] {
            if self.is_wide(header) {
                out.extend(size.to_le_bytes());
            } else {
                out.extend(narrow32(size).to_le_bytes());
            }
        }
        out
    }

    fn is_wide(&self, header: u64) -> bool {
        self.size >= WIDE || header >= WIDE
    }

    /// The entry of the central directory.
    pub(super) fn central(&self, header: u64, crc: u32, out: &mut Vec<u8>) {
        let wide = self.wide(header, self.packed);
        let sizes = if self.size >= WIDE { (WIDE, WIDE) } else { (self.packed, self.size) };
        out.reserve(CENTRAL_LEN + self.name.len() + wide.len());
        out.extend(CENTRAL.to_le_bytes());
        for field in [self.made_by, self.needed, self.flags(), self.method_code(), self.time, self.date] {
            out.extend(field.to_le_bytes());
        }
        out.extend(crc.to_le_bytes());
        out.extend(narrow32(sizes.0).to_le_bytes());
        out.extend(narrow32(sizes.1).to_le_bytes());
        // Name, extra fields, comment, disk, internal attributes.
        for field in [narrow16(self.name.len() as u64), narrow16(wide.len() as u64), 0, 0, self.internal] {
            out.extend(field.to_le_bytes());
        }
        out.extend(self.external.to_le_bytes());
        out.extend(narrow32(header).to_le_bytes());
        out.extend(self.name.as_bytes());
        out.extend(wide);
    }
}

/// The 64-bit end record, its locator, and the classic end record.
pub(super) fn end(directory: u64, size: u64, entries: u64) -> Vec<u8> {
    const MADE_BY: u16 = 798;
    const NEEDED: u16 = 45;
    let end64 = directory + size;
    let mut out = Vec::with_capacity(END64_LEN + LOCATOR_LEN + END_LEN);
    out.extend(END64.to_le_bytes());
    out.extend((END64_LEN as u64 - 12).to_le_bytes());
    out.extend(MADE_BY.to_le_bytes());
    out.extend(NEEDED.to_le_bytes());
    out.extend([0; 8]);
    for field in [entries, entries, size, directory] {
        out.extend(field.to_le_bytes());
    }
    out.extend(LOCATOR.to_le_bytes());
    out.extend([0; 4]);
    out.extend(end64.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend(END.to_le_bytes());
    out.extend([0; 4]);
    out.extend(narrow16(entries).to_le_bytes());
    out.extend(narrow16(entries).to_le_bytes());
    out.extend(narrow32(size).to_le_bytes());
    out.extend(narrow32(directory).to_le_bytes());
    out.extend([0; 2]);
    out
}

/// Saturated where it does not fit, which says that the 64-bit field holds the number.
fn narrow32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn narrow16(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
