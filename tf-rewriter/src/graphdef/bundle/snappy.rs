//! Snappy's block format, decoded: index blocks of some builds of TensorFlow are compressed with it.
//!
//! ```text
//! varint: length of the text │ elements, by the two low bits of their first byte:
//!   0  literal      length − 1 in six bits, or (60 … 63) in one to four bytes behind them; then the bytes
//!   1  copy         length − 4 in three bits; distance: three bits, then a byte
//!   2  copy         length − 1 in six bits; distance: two bytes
//!   3  copy         length − 1 in six bits; distance: four bytes
//! ```
//!
//! Source: Snappy's `format_description.txt`.

use crate::graphdef::wire::varint;

/// Text for each compressed byte that there can be: a copy of 64 bytes takes three.
const MAX_EXPANSION: u64 = 22;

/// How long the text says that it is; `None` where that cannot be.
pub(super) fn length(compressed: &[u8]) -> Option<usize> {
    let (length, _) = varint(compressed)?;
    let most = (compressed.len() as u64).saturating_mul(MAX_EXPANSION);
    (length <= most).then(|| usize::try_from(length).ok())?
}

/// Append the text of `compressed` to `out`; `None` where it is no such text. What was appended before it broke off stays there.
pub(super) fn decode(compressed: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let length = length(compressed)?;
    let start = out.len();
    let end = start.checked_add(length)?;
    let (_, mut rest) = compressed.split_at_checked(varint(compressed)?.1)?;
    while let Some((tag, after)) = rest.split_first() {
        let high = usize::from(tag >> 2);
        let (count, distance);
        (count, distance, rest) = match tag & 3 {
            0 => {
                let (count, after) = literal_length(high, after)?;
                let (literal, after) = after.split_at_checked(count)?;
                if end - out.len() < count {
                    return None;
                }
                out.extend_from_slice(literal);
                rest = after;
                continue;
            }
            1 => {
                let (low, after) = number(1, after)?;
                (4 + (high & 7), (usize::from(tag >> 5) << 8) | low, after)
            }
            kind => {
                let (distance, after) = number(if kind == 2 { 2 } else { 4 }, after)?;
                (high + 1, distance, after)
            }
        };
        let from = out.len().checked_sub(distance).filter(|from| distance > 0 && *from >= start)?;
        if end - out.len() < count {
            return None;
        }
        // What is copied may begin in what the copy itself writes: then it repeats.
        for at in from..from + count {
            out.push(*out.get(at)?);
        }
    }
    (out.len() == end).then_some(())
}

fn literal_length(high: usize, rest: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = match high {
        0..60 => (high, rest),
        _ => number(high - 59, rest)?,
    };
    Some((length.checked_add(1)?, rest))
}

/// A number of `count` bytes, lowest first.
fn number(count: usize, bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (bytes, rest) = bytes.split_at_checked(count)?;
    Some((bytes.iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(compressed: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        decode(compressed, &mut out)?;
        Some(out.split_off(6))
    }

    #[test]
    fn every_element_is_decoded() {
        assert_eq!(text(b"\x00").unwrap(), b"");
        assert_eq!(text(b"\x03\x08abc").unwrap(), b"abc");
        // One-byte distance: 4 bytes, 3 back, which repeats.
        assert_eq!(text(b"\x07\x08abc\x01\x03").unwrap(), b"abcabca");
        assert_eq!(text(b"\x0a\x08abc\x1a\x02\x00").unwrap(), b"abcbcbcbcb");
        assert_eq!(text(b"\x06\x08abc\x0b\x03\x00\x00\x00").unwrap(), b"abcabc");
        let long = [&[0x80, 2, 0xf0, 0xff][..], &[7; 256]].concat();
        assert_eq!(text(&long).unwrap(), [7; 256]);
        let longer = [&[0x80, 2, 0xf4, 0xff, 0][..], &[7; 256]].concat();
        assert_eq!(text(&longer).unwrap(), [7; 256]);
    }

    #[test]
    fn what_is_no_such_text_is_refused() {
        for wrong in [
            &b""[..],
            b"\x80",
            b"\x04\x08abc",         // less than it says
            b"\x02\x08abc",         // more than it says
            b"\x03\x0cabc",         // a literal that is cut off
            b"\x07\x08abc\x01\x04", // a copy of what was there before
            b"\x07\x08abc\x01\x00", // a copy of nothing
            b"\x06\x08abc\x01\x03", // a copy past the end
            b"\x07\x08abc\x01",
            b"\x07\x08abc\x0e\x01",
            b"\x03\xf0",
            b"\xff\xff\xff\xff\x0f\x08abc",
        ] {
            assert_eq!(text(wrong), None, "{wrong:x?}");
        }
    }
}
