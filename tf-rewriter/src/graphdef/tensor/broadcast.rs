//! NumPy's broadcasting, the rule of TensorFlow's binary ops.

/// The shape of what two tensors come to, and for each of its elements, in row-major order, where in either tensor the element stands that it
/// is made of. `None` where the shapes do not fit, or there are more than `most` elements.
pub(crate) fn positions(a: &[u64], b: &[u64], most: usize) -> Option<(Vec<u64>, impl Iterator<Item = (usize, usize)>)> {
    let rank = a.len().max(b.len());
    let padded = |shape: &[u64]| -> Vec<u64> {
        std::iter::repeat_n(1, rank - shape.len()).chain(shape.iter().copied()).collect()
    };
    let (a, b) = (padded(a), padded(b));
    let dim = |(a, b): (&u64, &u64)| match (*a, *b) {
        (one, other) if one == other => Some(one),
        (1, other) => Some(other),
        (one, 1) => Some(one),
        _ => None,
    };
    let shape: Vec<u64> = a.iter().zip(&b).map(dim).collect::<Option<_>>()?;
    let elements = shape.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim))?;
    let elements = usize::try_from(elements).ok().filter(|elements| *elements <= most)?;
    let (of_a, of_b) = (strides(&a), strides(&b));
    let mut index = vec![0usize; rank];
    let sizes = shape.clone();
    let walk = (0..elements).map(move |_| {
        let at = |strides: &[usize]| index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
        let here = (at(&of_a), at(&of_b));
        for (i, size) in index.iter_mut().zip(&sizes).rev() {
            *i += 1;
            if (*i as u64) < *size {
                break;
            }
            *i = 0;
        }
        here
    });
    Some((shape, walk))
}

/// How far apart neighbours along each axis are; 0 where one element stands for all.
fn strides(shape: &[u64]) -> Vec<usize> {
    let mut stride = 1usize;
    let mut strides: Vec<usize> = shape
        .iter()
        .rev()
        .map(|size| {
            let own = if *size == 1 { 0 } else { stride };
            // The whole tensor is in memory, or nothing is read.
            stride = stride.saturating_mul(usize::try_from(*size).unwrap_or(usize::MAX));
            own
        })
        .collect();
    strides.reverse();
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    type Walked = (Vec<u64>, Vec<(usize, usize)>);

    fn all(a: &[u64], b: &[u64]) -> Option<Walked> {
        positions(a, b, 100).map(|(shape, walk)| (shape, walk.collect()))
    }

    #[test]
    fn both_sides_are_spread_over_each_other() {
        let each = vec![(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];
        assert_eq!(all(&[2, 1], &[3]), Some((vec![2, 3], each.clone())));
        assert_eq!(all(&[3], &[2, 1]), Some((vec![2, 3], each.iter().map(|(a, b)| (*b, *a)).collect())));
        assert_eq!(all(&[], &[2]), Some((vec![2], vec![(0, 0), (0, 1)])));
        assert_eq!(all(&[2, 2], &[2, 1]), Some((vec![2, 2], vec![(0, 0), (1, 0), (2, 1), (3, 1)])));
        assert_eq!(all(&[], &[]), Some((vec![], vec![(0, 0)])));
        assert_eq!(all(&[0], &[1]), Some((vec![0], vec![])));
    }

    #[test]
    fn other_shapes_and_too_many_elements_are_refused() {
        assert_eq!(all(&[2], &[3]), None);
        assert_eq!(all(&[101], &[1]), None);
        assert_eq!(all(&[u64::MAX, 2], &[1]), None);
        assert_eq!(all(&[u64::MAX, 0, 2], &[1]), Some((vec![u64::MAX, 0, 2], vec![])));
    }
}
