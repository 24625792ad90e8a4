//! Elements out of the parts in which a tensor was stored.

use std::sync::Arc;

use super::entry::{Entry, Extent};
use super::part_key::key_of;
use super::region::Region;
use super::values::Held;
use super::{Bundle, damaged};
use crate::error::Error;

/// What `wanted` has of the tensor `whole`: where it lies, if it is one of the parts, else put together.
pub(super) fn assemble(bundle: &Bundle, whole: &Entry, wanted: &Region, name: &str) -> Result<Held, Error> {
    let error = |found: String, expected: String| {
        let error = damaged(format!("tensor `{name}`"), found, expected, whole.offset_in_index);
        error.in_file(&bundle.index_path)
    };
    let (_, size) = whole.elements(name).map_err(|error| error.in_file(&bundle.index_path))?;
    let total = wanted.elements().checked_mul(size).filter(|total| *total as u64 <= bundle.data_bytes);
    let total = total.ok_or_else(|| {
        let expected = format!("no more than the {} bytes of the data files", bundle.data_bytes);
        error(format!("the shape {:?}", whole.shape), expected)
    })?;
    let mut out =
        Filling { out: vec![0; total], size, filled: vec![false; wanted.elements()], left: wanted.elements() };
    for extents in &whole.slices {
        let part = Region::new(&whole.shape, extents)
            .ok_or_else(|| error(format!("the part {extents:?}"), format!("a part of the shape {:?}", whole.shape)))?;
        let common = part.common(wanted);
        if common.elements() == 0 && part != *wanted {
            continue;
        }
        let overlap = || error("parts that overlap".to_owned(), "each element once".to_owned());
        if common.elements() > out.left {
            return Err(overlap());
        }
        let found = entry_of(bundle, whole, &part, extents, name)?;
        let place = bundle.place(&found, name)?;
        if part == *wanted {
            return Ok(Held::Mapped { entry: Arc::new(place), range: 0..total });
        }
        out.take(place.bytes()?, &common.within(&part), &common.within(wanted)).ok_or_else(overlap)?;
        place.check()?;
    }
    if out.left > 0 {
        return Err(error(format!("parts that leave {} elements out", out.left), "each element once".to_owned()));
    }
    Ok(Held::Owned(out.out))
}

/// The entry of a part.
pub(super) fn entry_of(
    bundle: &Bundle,
    whole: &Entry,
    part: &Region,
    extents: &[Extent],
    name: &str,
) -> Result<Entry, Error> {
    let error = |found: String, expected: String| {
        let error = damaged(format!("tensor `{name}`"), found, expected, whole.offset_in_index);
        error.in_file(&bundle.index_path)
    };
    let found = bundle.entry_named(&key_of(name.as_bytes(), extents), name)?;
    let found = found.ok_or_else(|| error(format!("no entry of the part {extents:?}"), "one".to_owned()))?;
    if found.dtype != whole.dtype || found.shape != part.shape() || !found.slices.is_empty() {
        let shown = format!("{:?} {:?} in the entry of a part", found.dtype, found.shape);
        return Err(error(shown, format!("{:?} {:?}", whole.dtype, part.shape())));
    }
    Ok(found)
}

/// What is being put together.
struct Filling {
    out: Vec<u8>,
    /// Bytes of an element.
    size: usize,
    filled: Vec<bool>,
    left: usize,
}

impl Filling {
    /// Copy the rows `from` of a part to the places `to`; `None` where one is taken.
    fn take(&mut self, part: &[u8], from: &Region, to: &Region) -> Option<()> {
        for (from, to) in from.rows().zip(to.rows()) {
            let places = self.filled.get_mut(to.clone())?;
            if places.iter().any(|taken| *taken) {
                return None;
            }
            places.fill(true);
            let source = part.get(from.start * self.size..from.end * self.size)?;
            self.out.get_mut(to.start * self.size..to.end * self.size)?.copy_from_slice(source);
        }
        self.left = self.left.checked_sub(from.elements())?;
        Some(())
    }
}
