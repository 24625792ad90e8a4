//! Which axis of a parameter is which where a call uses it: behind `t`, `transpose`, `permute`, `select` and their like.

use std::sync::Arc;

/// How the axes of a tensor lie against those of the parameter that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Axes {
    /// As in the parameter.
    Same,
    /// For each axis, that of the parameter; `None` for one of size 1 that was put in.
    Moved(Arc<[Option<usize>]>),
    /// Not to be told.
    Lost,
}

/// A call that hands a tensor on as a view or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum View {
    /// `t`, and `transpose` and its other names with two axes.
    Swap(i64, i64),
    /// All axes in reverse.
    Reverse,
    /// `permute`.
    Permute(Vec<i64>),
    /// `unsqueeze`.
    Insert(i64),
    /// `select` and `unbind`.
    Remove(i64),
    /// A part with the axes of the whole.
    Cut,
    /// Anything else.
    Other,
}

impl Axes {
    /// The parameter's axis that is `axis` here; `rank` is the parameter's.
    pub(super) fn of(&self, axis: usize, rank: usize) -> Option<usize> {
        match self {
            Self::Same => (axis < rank).then_some(axis),
            Self::Moved(moved) => moved.get(axis).copied().flatten(),
            Self::Lost => None,
        }
    }

    /// The number of axes here, where it is known.
    pub(super) fn rank(&self, rank: usize) -> Option<usize> {
        match self {
            Self::Same => Some(rank),
            Self::Moved(axes) => Some(axes.len()),
            Self::Lost => None,
        }
    }

    /// The axes behind `view`; `rank` is the parameter's.
    pub(super) fn behind(&self, view: &View, rank: usize) -> Self {
        let mut axes: Vec<Option<usize>> = match self {
            Self::Same => (0..rank).map(Some).collect(),
            Self::Moved(axes) => axes.to_vec(),
            Self::Lost => return Self::Lost,
        };
        let count = axes.len();
        let at = |axis: i64| index(axis, count);
        let done = match view {
            View::Cut => Some(()),
            View::Reverse => {
                axes.reverse();
                Some(())
            }
            View::Swap(first, second) => at(*first).zip(at(*second)).map(|(first, second)| axes.swap(first, second)),
            View::Permute(order) => {
                let moved: Option<Vec<_>> = order.iter().map(|axis| axes.get(at(*axis)?).copied()).collect();
                moved.filter(|moved| moved.len() == count).map(|moved| axes = moved)
            }
            View::Insert(place) => index(*place, count + 1).map(|place| axes.insert(place, None)),
            View::Remove(place) => at(*place).map(|place| {
                axes.remove(place);
            }),
            View::Other => None,
        };
        match done {
            Some(()) if axes.iter().copied().eq((0..rank).map(Some)) => Self::Same,
            Some(()) => Self::Moved(axes.into()),
            None => Self::Lost,
        }
    }
}

/// The position of an axis that may be counted from the end.
fn index(axis: i64, count: usize) -> Option<usize> {
    let count = i64::try_from(count).ok()?;
    let axis = if axis < 0 { axis.checked_add(count)? } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_followed_through_views() {
        let after = |views: &[View], rank| views.iter().fold(Axes::Same, |axes, view| axes.behind(view, rank));
        let swapped = after(&[View::Swap(0, -1)], 2);
        assert_eq!((swapped.of(0, 2), swapped.of(1, 2)), (Some(1), Some(0)));
        assert_eq!(swapped.behind(&View::Reverse, 2), Axes::Same);
        let permuted = after(&[View::Permute(vec![2, 0, 1]), View::Remove(1)], 3);
        assert_eq!((permuted.rank(3), permuted.of(0, 3), permuted.of(1, 3)), (Some(2), Some(2), Some(1)));
        let deeper = after(&[View::Insert(-1), View::Swap(1, 2)], 2);
        assert_eq!((deeper.rank(2), deeper.of(1, 2), deeper.of(2, 2)), (Some(3), None, Some(1)));
        assert_eq!(after(&[View::Cut], 2), Axes::Same);
        for lost in [View::Other, View::Swap(0, 2), View::Remove(-3), View::Permute(vec![0])] {
            assert_eq!(after(&[lost], 2), Axes::Lost);
        }
    }
}
