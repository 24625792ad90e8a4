//! Boxes in tensors: what a part has of every dimension, and how its elements lie in the whole.

use std::ops::Range;

use super::entry::Extent;

/// A box in a tensor. Every number fits the tensor, whose elements are counted by a `usize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region {
    dims: Vec<Dim>,
}

/// A box in one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dim {
    /// Of the tensor.
    size: usize,
    start: usize,
    length: usize,
}

impl Region {
    /// `None` where the extents do not fit the shape.
    pub(super) fn new(shape: &[u64], extents: &[Extent]) -> Option<Self> {
        if shape.len() != extents.len() {
            return None;
        }
        let dim = |(size, extent): (&u64, &Extent)| {
            let size = usize::try_from(*size).ok()?;
            let (start, length) = match extent.length {
                Some(length) => (usize::try_from(extent.start).ok()?, usize::try_from(length).ok()?),
                None => (0, size),
            };
            (start.checked_add(length)? <= size).then_some(Dim { size, start, length })
        };
        let dims = shape.iter().zip(extents).map(dim).collect::<Option<_>>()?;
        Some(Self { dims })
    }

    /// All of a tensor.
    pub(super) fn whole(shape: &[u64]) -> Option<Self> {
        Self::new(shape, &vec![Extent { start: 0, length: None }; shape.len()])
    }

    pub(super) fn shape(&self) -> Vec<u64> {
        self.dims.iter().map(|dim| dim.length as u64).collect()
    }

    /// No more than the tensor has.
    pub(super) fn elements(&self) -> usize {
        self.dims.iter().map(|dim| dim.length).product()
    }

    /// What both have, of the same tensor.
    pub(super) fn common(&self, other: &Self) -> Self {
        let dim = |(own, other): (&Dim, &Dim)| {
            let start = own.start.max(other.start);
            let end = (own.start + own.length).min(other.start + other.length);
            Dim { size: own.size, start, length: end.saturating_sub(start) }
        };
        Self { dims: self.dims.iter().zip(&other.dims).map(dim).collect() }
    }

    /// The same box seen from `outer`, in which it lies.
    pub(super) fn within(&self, outer: &Self) -> Self {
        let dim = |(own, outer): (&Dim, &Dim)| Dim {
            size: outer.length,
            start: own.start.saturating_sub(outer.start),
            length: own.length,
        };
        Self { dims: self.dims.iter().zip(&outer.dims).map(dim).collect() }
    }

    /// Its elements in the whole where they lie side by side.
    pub(super) fn contiguous(&self) -> Option<Range<usize>> {
        // Outer dimensions of one index, one with any part, inner ones that are whole.
        let inner = self.dims.iter().rposition(|dim| dim.length != dim.size).unwrap_or(0);
        let outer = self.dims.get(..inner).unwrap_or_default();
        if self.elements() == 0 {
            return Some(0..0);
        }
        let start = self.dims.iter().fold(0, |at, dim| at * dim.size + dim.start);
        outer.iter().all(|dim| dim.length == 1).then(|| start..start + self.elements())
    }

    /// The elements in the whole, in order, as ranges that lie side by side.
    pub(super) fn rows(&self) -> Rows<'_> {
        Rows { region: self, index: vec![0; self.dims.len().saturating_sub(1)], left: self.elements() }
    }
}

/// See [`Region::rows`].
pub(super) struct Rows<'a> {
    region: &'a Region,
    /// In every dimension but the innermost.
    index: Vec<usize>,
    left: usize,
}

impl Iterator for Rows<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        if self.left == 0 {
            return None;
        }
        let dims = &self.region.dims;
        let outer = dims.iter().zip(&self.index).fold(0, |at, (dim, i)| at * dim.size + dim.start + i);
        let (at, row) = dims.last().map_or((0, 1), |dim| (outer * dim.size + dim.start, dim.length));
        self.left -= row;
        for (i, dim) in self.index.iter_mut().zip(dims).rev() {
            *i += 1;
            if *i < dim.length {
                break;
            }
            *i = 0;
        }
        Some(at..at + row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(shape: &[u64], extents: &[(u64, u64)]) -> Region {
        let extents: Vec<Extent> =
            extents.iter().map(|(start, length)| Extent { start: *start, length: Some(*length) }).collect();
        Region::new(shape, &extents).unwrap()
    }

    fn rows(region: &Region) -> Vec<Range<usize>> {
        region.rows().collect()
    }

    #[test]
    fn rows_are_where_the_elements_lie() {
        assert_eq!(rows(&region(&[2, 3], &[(0, 2), (1, 2)])), [1..3, 4..6]);
        assert_eq!(rows(&region(&[2, 2, 2], &[(0, 2), (1, 1), (0, 2)])), [2..4, 6..8]);
        assert_eq!(rows(&region(&[1, 4], &[(0, 1), (1, 2)])).first(), Some(&(1..3)));
        assert_eq!(rows(&region(&[], &[])).first(), Some(&(0..1)));
        assert!(rows(&region(&[2, 3], &[(0, 2), (1, 0)])).is_empty());
        assert!(rows(&Region::whole(&[2, 0]).unwrap()).is_empty());
    }

    #[test]
    fn side_by_side_is_told() {
        assert_eq!(region(&[4, 3], &[(1, 2), (0, 3)]).contiguous(), Some(3..9));
        assert_eq!(region(&[4, 3], &[(1, 1), (1, 2)]).contiguous(), Some(4..6));
        assert_eq!(region(&[4, 3], &[(1, 2), (1, 2)]).contiguous(), None);
        assert_eq!(region(&[2, 4, 3], &[(0, 2), (0, 2), (0, 3)]).contiguous(), None);
        assert_eq!(region(&[2, 4, 3], &[(1, 1), (2, 2), (0, 3)]).contiguous(), Some(18..24));
        assert_eq!(region(&[2, 4], &[(0, 2), (1, 0)]).contiguous(), Some(0..0));
        assert_eq!(Region::whole(&[2, 3]).unwrap().contiguous(), Some(0..6));
        assert_eq!(Region::whole(&[]).unwrap().contiguous(), Some(0..1));
    }

    #[test]
    fn boxes_are_cut() {
        let (a, b) = (region(&[4, 4], &[(0, 3), (1, 3)]), region(&[4, 4], &[(2, 2), (0, 2)]));
        let both = a.common(&b);
        assert_eq!(both, region(&[4, 4], &[(2, 1), (1, 1)]));
        assert_eq!(both.within(&a), region(&[3, 3], &[(2, 1), (0, 1)]));
        assert_eq!(both.within(&b), region(&[2, 2], &[(0, 1), (1, 1)]));
        assert_eq!(region(&[4], &[(0, 1)]).common(&region(&[4], &[(2, 2)])).elements(), 0);
        assert_eq!(Region::new(&[4], &[Extent { start: 2, length: Some(3) }]), None);
        assert_eq!(Region::new(&[4], &[]), None);
    }
}
