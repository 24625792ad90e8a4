//! How the codes of a tensor lie in bytes.

/// Codes in bytes: one each, or two or four that share a byte.
///
/// | bits of a code | codes of a byte |
/// | --- | --- |
/// | 1, 2 | 4 |
/// | 3, 4 | 2 |
/// | 5 to 8 | 1 |
///
/// Codes share bytes only where that saves at least [`LEAST_SAVED`](Self::LEAST_SAVED) bytes of a tensor, which is about what the ops take
/// that separate them again; else each has its own. Codes of their own bytes are int8 (see
/// [`WeightMap::codes_into`](crate::weights::WeightMap::codes_into)). Codes that share one count from the grid's lowest, so that none is
/// negative; the first of a byte has its lowest bits, and what the last byte has too many is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage {
    bits: u32,
}

impl Storage {
    /// One code a byte.
    pub const BYTES: Self = Self { bits: 8 };

    /// Two codes a byte.
    pub const HALVES: Self = Self { bits: 4 };

    /// Four codes a byte.
    pub const QUARTERS: Self = Self { bits: 2 };

    /// What sharing must save, in bytes of a tensor.
    pub const LEAST_SAVED: usize = 1024;

    /// How `elements` codes of `bits` bits are stored.
    pub fn of(bits: u32, elements: usize) -> Self {
        let shared = match bits {
            0..=2 => Self::QUARTERS,
            3 | 4 => Self::HALVES,
            _ => return Self::BYTES,
        };
        if elements - shared.bytes(elements) < Self::LEAST_SAVED { Self::BYTES } else { shared }
    }

    /// Bits that a code takes: 2, 4 or 8.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// Codes of a byte: 4, 2 or 1.
    pub fn per_byte(self) -> usize {
        8 / self.bits as usize
    }

    /// Whether codes share bytes.
    pub fn is_shared(self) -> bool {
        self.per_byte() > 1
    }

    /// The bytes of so many codes.
    pub fn bytes(self, elements: usize) -> usize {
        elements.div_ceil(self.per_byte())
    }

    /// The largest code that fits where codes share bytes, which has all bits.
    pub fn mask(self) -> u8 {
        u8::MAX >> (8 - self.bits)
    }

    /// Put codes, none of which has more bits than its place, into bytes: `dst` is as long as [`bytes`](Self::bytes) says (where it is not,
    /// the shorter one decides).
    pub fn pack(self, codes: &[u8], dst: &mut [u8]) {
        for (codes, byte) in codes.chunks(self.per_byte()).zip(dst) {
            *byte = codes.iter().rev().fold(0, |byte, code| byte.checked_shl(self.bits).unwrap_or(0) | code);
        }
    }

    /// The codes that bytes hold, in order, what is too many of the last byte included.
    pub fn unpack(self, bytes: &[u8]) -> impl Iterator<Item = u8> {
        let shifts = (0..8).step_by(self.bits as usize);
        bytes.iter().flat_map(move |byte| shifts.clone().map(move |shift| (byte >> shift) & self.mask()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_share_bytes_where_that_saves_a_kibibyte() {
        for bits in 1..=16 {
            let (per_byte, least) = match bits {
                1 | 2 => (4, 1366),
                3 | 4 => (2, 2048),
                _ => (1, usize::MAX),
            };
            for elements in [0, 1, 1023, 1024, 1365, 1366, 2046, 2047, 2048, 2049, 1 << 20] {
                let storage = Storage::of(bits, elements);
                let expected = if elements >= least { per_byte } else { 1 };
                assert_eq!(storage.per_byte(), expected, "{elements} codes of {bits} bits");
                assert_eq!(storage.is_shared(), expected > 1);
                assert!(storage.bits() >= bits.min(8) && storage.bits() as usize * expected == 8);
                assert_eq!(storage.bytes(elements), elements.div_ceil(expected));
            }
        }
    }

    #[test]
    fn the_first_code_has_the_lowest_bits_and_the_rest_of_the_last_byte_is_0() {
        let mut bytes = [0xff; 3];
        Storage::HALVES.pack(&[0x1, 0xf, 0x3, 0x4, 0xe], &mut bytes);
        assert_eq!(bytes, [0xf1, 0x43, 0x0e]);
        let mut bytes = [0xff; 2];
        Storage::QUARTERS.pack(&[0, 1, 2, 3, 2], &mut bytes);
        assert_eq!(bytes, [0b1110_0100, 0b10]);
        let mut bytes = [0; 3];
        Storage::BYTES.pack(&[255, 0, 7], &mut bytes);
        assert_eq!(bytes, [255, 0, 7]);
    }

    #[test]
    fn every_code_of_every_length_comes_back() {
        for storage in [Storage::QUARTERS, Storage::HALVES, Storage::BYTES] {
            for len in 0..40_u8 {
                let codes: Vec<u8> = (0..len).map(|i| i.wrapping_mul(37) & storage.mask()).collect();
                let mut bytes = vec![0xff; storage.bytes(codes.len())];
                storage.pack(&codes, &mut bytes);
                let mut found: Vec<u8> = storage.unpack(&bytes).collect();
                assert!(found.drain(codes.len()..).all(|padding| padding == 0));
                assert_eq!(found, codes);
            }
        }
    }
}
