//! The keys of parts: under these the parts of a tensor stand that was stored in several.
//!
//! A part stands under the ordered code of 0, the variable's name, the rank, and start and length of each dimension. Source:
//! TensorFlow 2.21, `saved_tensor_slice_util.h` and `ordered_code.h`, compared with files that it wrote.

use super::entry::Extent;

/// The key of a part.
pub(super) fn key_of(name: &[u8], extents: &[Extent]) -> Vec<u8> {
    let mut key = Vec::new();
    put_number(&mut key, 0);
    for byte in name.iter().copied() {
        match byte {
            0 => key.extend([0, 0xff]),
            0xff => key.extend([0xff, 0]),
            byte => key.push(byte),
        }
    }
    key.extend([0, 1]);
    put_number(&mut key, extents.len() as u64);
    for extent in extents {
        match extent.length {
            Some(length) => {
                put_signed(&mut key, extent.start);
                put_signed(&mut key, length);
            }
            // All of a dimension is written as start 0, length −1.
            None => key.extend([0x80, 0x7f]),
        }
    }
    key
}

/// A number by its bytes, highest first, after how many there are.
fn put_number(key: &mut Vec<u8>, number: u64) {
    let [count, ..] = (u64::BITS - number.leading_zeros()).div_ceil(u8::BITS).to_le_bytes();
    let bytes = number.to_be_bytes();
    key.push(count);
    key.extend_from_slice(bytes.get(bytes.len() - usize::from(count)..).unwrap_or_default());
}

/// A number that is not negative where it might be: n bytes, highest first, that begin with n ones and a 0.
fn put_signed(key: &mut Vec<u8>, number: u64) {
    let bits = u64::BITS - number.leading_zeros();
    let bytes = bits / 7 + 1;
    let ones = ((1_u128 << bytes) - 1) << (7 * bytes);
    let coded = (u128::from(number) | ones).to_be_bytes();
    key.extend_from_slice(coded.get(coded.len() - bytes as usize..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_tensorflow() {
        // Written by TensorFlow 2.21 for variables of shape [300, 130] and [300, 2].
        let of = |name: &[u8], extents: &[(u64, Option<u64>)]| {
            key_of(
                name,
                &extents.iter().map(|(start, length)| Extent { start: *start, length: *length }).collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(b"part", &[(0, Some(300)), (0, Some(44))]), b"\x00part\x00\x01\x01\x02\x80\xc1\x2c\x80\xac");
        assert_eq!(of(b"part", &[(0, Some(300)), (87, Some(43))]), b"\x00part\x00\x01\x01\x02\x80\xc1\x2c\xc0\x57\xab");
        assert_eq!(
            of(b"part0", &[(150, Some(150)), (0, Some(2))]),
            b"\x00part0\x00\x01\x01\x02\xc0\x96\xc0\x96\x80\x82"
        );
        assert_eq!(of(b"a\0", &[(0, None)]), b"\x00a\x00\xff\x00\x01\x01\x01\x80\x7f");
    }

    #[test]
    fn numbers_have_as_many_ones_as_bytes() {
        let of = |number| {
            let mut key = Vec::new();
            put_signed(&mut key, number);
            key
        };
        assert_eq!(of(63), [0xbf]);
        assert_eq!(of(64), [0xc0, 0x40]);
        assert_eq!(of((1 << 13) - 1), [0xdf, 0xff]);
        assert_eq!(of(1 << 13), [0xe0, 0x20, 0]);
        assert_eq!(of(1 << 55), [0xff, 0x80, 0x80, 0, 0, 0, 0, 0, 0]);
        assert_eq!(of((1 << 62) - 1), [0xff, 0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(of(1 << 62), [0xff, 0xc0, 0x40, 0, 0, 0, 0, 0, 0, 0]);
    }
}
