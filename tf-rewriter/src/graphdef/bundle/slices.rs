//! Partitioned variables: their parts, and the keys under which these stand.
//!
//! A part stands under the ordered code of 0, the variable's name, the rank, and start and length of each dimension. Source:
//! TensorFlow 2.21, `saved_tensor_slice_util.h` and `ordered_code.h`, compared with files that it wrote.

use super::entry::{Entry, Extent};
use super::{Bundle, damaged};
use crate::error::Error;
use crate::graphdef::tensor::dtype_size;

/// The whole of a tensor that is stored in parts.
pub(super) fn assemble(bundle: &Bundle, whole: &Entry, name: &str) -> Result<Vec<u8>, Error> {
    let error = |found: String, expected: String| {
        let error = damaged(format!("tensor `{name}`"), found, expected, whole.offset_in_index);
        error.in_file(&bundle.index_path)
    };
    let total = whole.bytes(name).map_err(|error| error.in_file(&bundle.index_path))?;
    let size = dtype_size(whole.dtype).unwrap_or(1);
    let total = usize::try_from(total).ok().filter(|total| *total as u64 <= bundle.data_bytes);
    let total = total.ok_or_else(|| {
        let expected = format!("no more than the {} bytes of the data files", bundle.data_bytes);
        error(format!("the shape {:?}", whole.shape), expected)
    })?;
    let mut out = vec![0; total];
    let mut filled = vec![false; total / size];
    let mut left = filled.len();
    for extents in &whole.slices {
        let part = Part::new(&whole.shape, extents)
            .ok_or_else(|| error(format!("the part {extents:?}"), format!("a part of the shape {:?}", whole.shape)))?;
        if part.elements() > left {
            return Err(error("parts that overlap".to_owned(), "each element once".to_owned()));
        }
        left -= part.elements();
        let key = key_of(name, extents);
        let found = bundle.entry(&key, name)?;
        let found = found.ok_or_else(|| error(format!("no entry of the part {extents:?}"), "one".to_owned()))?;
        let same = found.dtype == whole.dtype && found.shape == part.shape() && found.slices.is_empty();
        if !same {
            let shown = format!("{:?} {:?} in the entry of a part", found.dtype, found.shape);
            return Err(error(shown, format!("{:?} {:?}", whole.dtype, part.shape())));
        }
        let bytes = bundle.bytes(&found, name)?;
        let overlaps = part.copy(&bytes, size, &mut out, &mut filled).is_none();
        if overlaps {
            return Err(error("parts that overlap".to_owned(), "each element once".to_owned()));
        }
    }
    if left > 0 {
        return Err(error(format!("parts that leave {left} elements out"), "each element once".to_owned()));
    }
    Ok(out)
}

/// A box in a tensor; every number fits the tensor.
struct Part {
    /// Of the tensor, start of the part, length of the part; outermost dimension first.
    dims: Vec<(usize, usize, usize)>,
}

impl Part {
    fn new(shape: &[u64], extents: &[Extent]) -> Option<Self> {
        if shape.len() != extents.len() {
            return None;
        }
        let dim = |(size, extent): (&u64, &Extent)| {
            let size = usize::try_from(*size).ok()?;
            let (start, length) = match extent.length {
                Some(length) => (usize::try_from(extent.start).ok()?, usize::try_from(length).ok()?),
                None => (0, size),
            };
            (start.checked_add(length)? <= size).then_some((size, start, length))
        };
        let dims = shape.iter().zip(extents).map(dim).collect::<Option<_>>()?;
        Some(Self { dims })
    }

    fn shape(&self) -> Vec<u64> {
        self.dims.iter().map(|(_, _, length)| *length as u64).collect()
    }

    /// No more than the tensor has.
    fn elements(&self) -> usize {
        self.dims.iter().map(|(_, _, length)| *length).product()
    }

    /// Copy the part's bytes to their places; `None` where one is taken.
    fn copy(&self, bytes: &[u8], size: usize, out: &mut [u8], filled: &mut [bool]) -> Option<()> {
        // A row is what lies side by side in both: the innermost dimension.
        let row = self.dims.last().map_or(1, |(_, _, length)| *length);
        let mut index = vec![0; self.dims.len().saturating_sub(1)];
        for source in bytes.chunks_exact(row.max(1).checked_mul(size)?) {
            let outer = self.dims.iter().zip(&index).fold(0, |at, ((full, start, _), i)| at * full + start + i);
            let at = self.dims.last().map_or(0, |(full, start, _)| outer * full + start);
            let places = filled.get_mut(at..at.checked_add(row)?)?;
            if places.iter().any(|taken| *taken) {
                return None;
            }
            places.fill(true);
            out.get_mut(at * size..(at + row) * size)?.copy_from_slice(source);
            for (i, (_, _, length)) in index.iter_mut().zip(&self.dims).rev() {
                *i += 1;
                if *i < *length {
                    break;
                }
                *i = 0;
            }
        }
        Some(())
    }
}

/// The key of a part.
fn key_of(name: &str, extents: &[Extent]) -> Vec<u8> {
    let mut key = Vec::new();
    put_number(&mut key, 0);
    for byte in name.bytes() {
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
        let of = |name, extents: &[(u64, Option<u64>)]| {
            key_of(
                name,
                &extents.iter().map(|(start, length)| Extent { start: *start, length: *length }).collect::<Vec<_>>(),
            )
        };
        assert_eq!(of("part", &[(0, Some(300)), (0, Some(44))]), b"\x00part\x00\x01\x01\x02\x80\xc1\x2c\x80\xac");
        assert_eq!(of("part", &[(0, Some(300)), (87, Some(43))]), b"\x00part\x00\x01\x01\x02\x80\xc1\x2c\xc0\x57\xab");
        assert_eq!(
            of("part0", &[(150, Some(150)), (0, Some(2))]),
            b"\x00part0\x00\x01\x01\x02\xc0\x96\xc0\x96\x80\x82"
        );
        assert_eq!(of("a\0", &[(0, None)]), b"\x00a\x00\xff\x00\x01\x01\x01\x80\x7f");
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
