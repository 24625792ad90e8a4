//! Codes that share bytes, separated as the ops of `packed` do it.

use super::folded::Folded;

/// The most codes that share a byte.
pub(super) const MOST_PER_BYTE: usize = 4;

/// Bytes of shape `[…, 1]`, shifted right by each of a vector `by`: of shape `[…, number of shifts]`. `None` for other shapes and numbers, and
/// for more bytes than the file has.
pub(super) fn shifted(bytes: &Folded, by: &Folded, file: u64) -> Option<Folded> {
    let (last, outer) = bytes.shape.split_last()?;
    let [count] = by.shape.as_slice() else { return None };
    if *last != 1 || by.values.len() > MOST_PER_BYTE || bytes.values.len() as u64 > file {
        return None;
    }
    let by: Vec<u8> = by.values.iter().map(|shift| byte(*shift).filter(|shift| *shift < 8)).collect::<Option<_>>()?;
    let mut values = Vec::with_capacity(bytes.values.len() * by.len());
    for value in &bytes.values {
        let value = byte(*value)?;
        values.extend(by.iter().map(|shift| f32::from(value >> shift)));
    }
    Some(Folded { shape: outer.iter().chain([count]).copied().collect(), values })
}

/// The bits of each value that a scalar `mask` has too.
pub(super) fn masked(mut codes: Folded, mask: &Folded) -> Option<Folded> {
    let [mask] = mask.values.as_slice() else { return None };
    let mask = byte(*mask)?;
    for value in &mut codes.values {
        *value = f32::from(byte(*value)? & mask);
    }
    Some(codes)
}

/// The same values in another shape.
pub(super) fn reshaped(folded: Folded, shape: Vec<u64>) -> Option<Folded> {
    let elements = shape.iter().try_fold(1_u64, |n, dim| n.checked_mul(*dim))?;
    (elements == folded.values.len() as u64).then_some(Folded { shape, ..folded })
}

/// The first values of a vector.
pub(super) fn cut(mut folded: Folded, begin: &[u64], size: &[u64]) -> Option<Folded> {
    let ([0], [size], [len]) = (begin, size, folded.shape.as_slice()) else { return None };
    if size > len {
        return None;
    }
    folded.values.truncate(usize::try_from(*size).ok()?);
    Some(Folded { shape: vec![*size], ..folded })
}

/// A whole number from 0 to 255.
fn byte(value: f32) -> Option<u8> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and the result is held against the value"
    )]
    let byte = value as u8;
    (f32::from(byte).to_bits() == value.to_bits()).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(shape: &[u64], values: &[f32]) -> Folded {
        Folded { shape: shape.to_vec(), values: values.to_vec() }
    }

    #[test]
    fn codes_come_out_of_bytes_in_order() {
        let bytes = folded(&[2, 1], &[f32::from(0xe1_u8), 3.0]);
        let nibbles = shifted(&bytes, &folded(&[2], &[0.0, 4.0]), 2).unwrap();
        let nibbles = masked(nibbles, &folded(&[], &[15.0])).unwrap();
        assert_eq!(nibbles, folded(&[2, 2], &[1.0, 14.0, 3.0, 0.0]));
        let flat = reshaped(nibbles, vec![4]).unwrap();
        assert_eq!(cut(flat, &[0], &[3]), Some(folded(&[3], &[1.0, 14.0, 3.0])));
        let pairs = shifted(&bytes, &folded(&[4], &[0.0, 2.0, 4.0, 6.0]), 2).unwrap();
        let pairs = masked(pairs, &folded(&[], &[3.0])).unwrap();
        assert_eq!(pairs, folded(&[2, 4], &[1.0, 0.0, 2.0, 3.0, 3.0, 0.0, 0.0, 0.0]));
    }

    #[test]
    fn what_is_no_such_step_is_left_alone() {
        let bytes = folded(&[2, 1], &[1.0, 2.0]);
        for by in [folded(&[1], &[8.0]), folded(&[5], &[0.0; 5]), folded(&[], &[0.0]), folded(&[1], &[0.5])] {
            assert_eq!(shifted(&bytes, &by, 2), None, "{by:?}");
        }
        let by = folded(&[2], &[0.0, 4.0]);
        assert_eq!(shifted(&bytes, &by, 1), None, "more than the file has");
        assert_eq!(shifted(&folded(&[1, 2], &[1.0, 2.0]), &by, 2), None);
        assert_eq!(shifted(&folded(&[1, 1], &[-1.0]), &by, 2), None);
        assert_eq!(masked(bytes.clone(), &folded(&[2], &[1.0, 1.0])), None);
        assert_eq!(reshaped(bytes.clone(), vec![3]), None);
        assert_eq!(reshaped(bytes.clone(), vec![u64::MAX, 2]), None);
        assert_eq!(cut(bytes.clone(), &[0], &[1]), None);
        assert_eq!(cut(folded(&[2], &[1.0, 2.0]), &[1], &[1]), None);
        assert_eq!(cut(folded(&[2], &[1.0, 2.0]), &[0], &[3]), None);
    }
}
