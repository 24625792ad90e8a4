//! Tensors that share bytes: tied parameters and views.

use super::{Storage, Tensor};

/// Whether other tensors use the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// None does.
    #[default]
    Alone,
    /// Others have exactly the same elements, in whatever order of dimensions.
    Same,
    /// Others have some of its elements, or more.
    Partial,
}

/// How each tensor of a storage shares its elements, in the order of [`Storage::tensors`].
///
/// One sort and one pass: extents in ascending order overlap an earlier one where that reaches furthest, and a later one where the next one
/// begins.
pub(super) fn sharing(storage: &Storage, tensors: &[Tensor]) -> Vec<Sharing> {
    let mut found = vec![Sharing::Alone; storage.tensors.len()];
    let members = storage.tensors.iter().enumerate().filter_map(|(member, position)| {
        let tensor = tensors.get(*position)?;
        let extent = tensor.extent();
        (extent.start < extent.end).then_some((extent.start, extent.end, member, tensor))
    });
    let mut members: Vec<_> = members.collect();
    members.sort_unstable_by_key(|(start, end, member, _)| (*start, *end, *member));
    // Tensors with one extent are next to each other.
    let groups: Vec<_> = members.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).collect();
    let mut reached = 0;
    for (index, group) in groups.iter().enumerate() {
        let Some((start, end, _, first)) = group.first() else { continue };
        let later = groups.get(index + 1).and_then(|next| next.first());
        let overlaps = reached > *start || later.is_some_and(|(next, ..)| next < end);
        let kind = if overlaps || !group.iter().all(|(.., tensor)| same_elements(first, tensor)) {
            Sharing::Partial
        } else if group.len() > 1 {
            Sharing::Same
        } else {
            Sharing::Alone
        };
        for (_, _, member, _) in *group {
            if let Some(place) = found.get_mut(*member) {
                *place = kind;
            }
        }
        reached = reached.max(*end);
    }
    found
}

fn same_elements(a: &Tensor, b: &Tensor) -> bool {
    if (a.offset, &a.sizes, &a.strides) == (b.offset, &b.sizes, &b.strides) {
        return true;
    }
    matches!((a.dense(), b.dense()), (Ok(a), Ok(b)) if a.span == b.span)
}
