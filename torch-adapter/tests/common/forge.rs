//! Archives that no writer makes: sound ones with single fields changed.

use torch_adapter::Limits;
use torch_adapter::archive::{Archive, Edits, write};

/// An archive whose headers can be changed byte by byte.
pub(crate) struct Forge {
    pub(crate) bytes: Vec<u8>,
}

impl Forge {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    fn archive(&self) -> Archive {
        Archive::from_bytes(self.bytes.clone(), &Limits::default()).unwrap()
    }

    /// The archive with sound edits.
    pub(crate) fn edited(&self, edits: &Edits<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        write(&self.archive(), edits, &mut out, &|_| {}).unwrap();
        out
    }

    /// Position of a record's data.
    pub(crate) fn data(&self, record: &str) -> usize {
        self.archive().entry(record).unwrap().data_offset()
    }

    /// Position behind a record's data: its data descriptor.
    pub(crate) fn data_end(&self, record: &str) -> usize {
        let archive = self.archive();
        let entry = archive.entry(record).unwrap();
        entry.data_offset() + entry.stored_size()
    }

    /// Position of a record's local header.
    pub(crate) fn local(&self, record: &str) -> usize {
        let central = self.central(record);
        let field = self.bytes[central + 42..central + 46].try_into().unwrap();
        usize::try_from(u32::from_le_bytes(field)).unwrap()
    }

    /// Position of a record's directory entry.
    pub(crate) fn central(&self, record: &str) -> usize {
        let name = format!("{}/{record}", self.archive().prefix());
        let entries = (0..self.bytes.len() - 46).filter(|at| self.bytes[*at..].starts_with(b"PK\x01\x02"));
        entries.into_iter().find(|at| self.bytes[at + 46..].starts_with(name.as_bytes())).unwrap()
    }

    pub(crate) fn put16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn put32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Another name of the same length for a record, in both headers.
    pub(crate) fn rename(&mut self, record: &str, to: &[u8]) {
        assert_eq!(record.len(), to.len());
        let prefix = self.archive().prefix().len() + 1;
        let places = [self.central(record) + 46 + prefix, self.local(record) + 30 + prefix];
        for at in places {
            self.bytes[at..at + to.len()].copy_from_slice(to);
        }
    }

    /// Every record under another prefix of the same length.
    pub(crate) fn with_prefix(bytes: &[u8], to: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let prefix = Self::new(bytes.clone()).archive().prefix().as_bytes().to_vec();
        assert_eq!(prefix.len(), to.len());
        let places: Vec<usize> =
            (0..bytes.len() - prefix.len()).filter(|at| bytes[*at..].starts_with(&prefix)).collect();
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        bytes
    }

    /// The signature of the first directory entry destroyed.
    pub(crate) fn broken_directory(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let first = (0..bytes.len()).find(|at| bytes[*at..].starts_with(b"PK\x01\x02")).unwrap();
        bytes[first + 2] = b'x';
        bytes
    }
}

/// A plain zip archive of stored records, as other writers make them: sizes in front of the data, no padding.
pub(crate) fn stored(records: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in records {
        let (header, len) = (u32::try_from(out.len()).unwrap(), u32::try_from(data.len()).unwrap());
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        fields.extend(crc32fast::hash(data).to_le_bytes());
        fields.extend(len.to_le_bytes());
        fields.extend(len.to_le_bytes());
        fields.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        fields.extend([0; 2]);
        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(name.as_bytes());
        out.extend(*data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, count) = (u32::try_from(out.len()).unwrap(), u16::try_from(records.len()).unwrap());
    let size = u32::try_from(directory.len()).unwrap();
    out.append(&mut directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0; 2]);
    out
}
