//! Little-endian fields of zip headers.

/// A cursor over bytes; every read is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// The payload of the extra field `id`, if there is one; `None` also where the extra fields are malformed before it.
pub(super) fn extra(fields: &[u8], id: u16) -> Option<&[u8]> {
    let mut cursor = Fields::new(fields, 0);
    loop {
        let (found, len) = (cursor.u16()?, cursor.u16()?);
        let payload = cursor.take(usize::from(len))?;
        if found == id {
            return Some(payload);
        }
    }
}

/// The extra field that holds 64-bit sizes.
pub(super) const ZIP64: u16 = 0x0001;
