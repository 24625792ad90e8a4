//! Tensors that share bytes: tied parameters and views.

use super::{Tensor, Tensors};

/// Which other tensors use the elements of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sharing {
    /// Those that have exactly the same elements, in whatever order of dimensions.
    pub same: Vec<usize>,
    /// Those that have some of its elements, or more.
    pub partial: Vec<usize>,
}

impl Sharing {
    /// Whether no other tensor uses its elements.
    pub fn is_alone(&self) -> bool {
        self.same.is_empty() && self.partial.is_empty()
    }
}

impl Tensors {
    /// Which tensors of the pickle share elements with the one at `position`.
    pub fn sharing(&self, position: usize) -> Sharing {
        let mut sharing = Sharing::default();
        let Some(tensor) = self.tensors.get(position) else { return sharing };
        let Some(storage) = self.storages.get(tensor.storage) else { return sharing };
        let extent = tensor.extent();
        for &other in &storage.tensors {
            let Some(found) = self.tensors.get(other).filter(|_| other != position) else { continue };
            let theirs = found.extent();
            if theirs.start.max(extent.start) >= theirs.end.min(extent.end) {
                continue;
            }
            if same_elements(tensor, found) { sharing.same.push(other) } else { sharing.partial.push(other) }
        }
        sharing
    }
}

fn same_elements(a: &Tensor, b: &Tensor) -> bool {
    if (a.offset, &a.sizes, &a.strides) == (b.offset, &b.sizes, &b.strides) {
        return true;
    }
    matches!((a.dense(), b.dense()), (Ok(a), Ok(b)) if a.span == b.span)
}
