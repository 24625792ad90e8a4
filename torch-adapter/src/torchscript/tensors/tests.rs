//! Memory order, sharing, and bounds, on shapes and strides that torch writes.

use quant_math::weights::ChannelLayout;

use super::share::Sharing::{Alone, Partial, Same};
use super::*;

fn view(offset: u64, sizes: &[u64], strides: &[u64]) -> Tensor {
    let kind = StorageType::Float;
    Tensor { storage: 0, kind, offset, sizes: sizes.to_vec(), strides: strides.to_vec(), requires_grad: false }
}

fn layout(outer: usize, channels: usize, inner: usize) -> ChannelLayout {
    ChannelLayout { outer, channels, inner }
}

#[test]
fn a_row_major_tensor_has_channels_where_its_shape_says() {
    let dense = view(7, &[8, 3, 2, 5], &[30, 10, 5, 1]).dense().unwrap();
    assert_eq!((dense.span.clone(), dense.is_row_major()), (7..247, true));
    assert_eq!(dense.per_channel(0), Some(layout(1, 8, 30)));
    assert_eq!(dense.per_channel(1), Some(layout(8, 3, 10)));
    assert_eq!(dense.per_channel(3), Some(layout(48, 5, 1)));
    assert_eq!(dense.per_channel(4), None);
    assert_eq!(dense.per_tensor(), Some(layout(1, 1, 240)));
}

#[test]
fn a_channels_last_weight_lies_in_the_order_o_h_w_i() {
    let dense = view(0, &[8, 3, 2, 5], &[30, 1, 15, 3]).dense().unwrap();
    assert_eq!((dense.order.as_slice(), dense.is_row_major()), (&[0, 2, 3, 1][..], false));
    assert_eq!(dense.per_channel(0), Some(layout(1, 8, 30)));
    assert_eq!(dense.per_channel(1), Some(layout(80, 3, 1)));
    assert_eq!(dense.per_channel(2), Some(layout(8, 2, 15)));
}

#[test]
fn a_transposed_matrix_is_dense_and_its_channels_turn_with_it() {
    let dense = view(0, &[4, 6], &[1, 4]).dense().unwrap();
    assert_eq!(dense.per_channel(0), Some(layout(6, 4, 1)));
    assert_eq!(dense.per_channel(1), Some(layout(1, 6, 4)));
}

#[test]
fn dimensions_of_size_1_have_any_stride() {
    // torch writes such strides for depthwise weights in channels-last order.
    let dense = view(0, &[8, 1, 3, 3], &[9, 1, 3, 1]).dense().unwrap();
    assert_eq!(dense.per_channel(0), Some(layout(1, 8, 9)));
    assert_eq!(dense.per_channel(1), Some(layout(1, 1, 72)));
    let scalar = view(5, &[], &[]).dense().unwrap();
    assert_eq!((scalar.span.clone(), scalar.per_tensor()), (5..6, Some(layout(1, 1, 1))));
    assert!(view(0, &[1, 1], &[100, 0]).dense().is_ok());
}

#[test]
fn irregular_views_say_what_they_are() {
    assert_eq!(view(0, &[4, 0], &[1, 1]).dense(), Err(Irregular::Empty));
    assert_eq!(view(0, &[4, 3], &[0, 1]).dense(), Err(Irregular::Overlapping));
    assert_eq!(view(0, &[4, 3], &[1, 1]).dense(), Err(Irregular::Overlapping));
    assert_eq!(view(0, &[4, 3], &[2, 1]).dense(), Err(Irregular::Overlapping));
    assert_eq!(view(0, &[4, 3], &[4, 1]).dense(), Err(Irregular::Gaps));
    assert_eq!(view(0, &[4], &[2]).dense(), Err(Irregular::Gaps));
    for kind in [Irregular::Empty, Irregular::Overlapping, Irregular::Gaps] {
        assert!(kind.reason().code.starts_with("tensor-"));
    }
}

#[test]
fn sharing_tells_ties_from_overlaps() {
    let tensors = vec![
        view(0, &[4, 6], &[6, 1]),
        view(0, &[4, 6], &[6, 1]),
        view(0, &[6, 4], &[1, 6]),
        view(0, &[2, 6], &[6, 1]),
        view(24, &[3], &[1]),
        view(3, &[4], &[6]),
        view(10, &[0], &[1]),
    ];
    assert_eq!(shared(tensors), [Partial, Partial, Partial, Partial, Alone, Partial, Alone]);
}

/// How tensors of one storage share it.
fn shared(tensors: Vec<Tensor>) -> Vec<Sharing> {
    let count = tensors.len();
    let storage = Storage {
        record: String::new(),
        kind: StorageType::Float,
        device: 0..0,
        numel: u64::MAX,
        tensors: (0..count).collect(),
    };
    let mut tensors = Tensors { storages: vec![storage], all: tensors, sharing: Vec::new() };
    tensors.share();
    (0..count).map(|position| tensors.sharing(position)).collect()
}

#[test]
fn sharing_sees_ties_neighbours_and_long_reaches() {
    let tied = vec![view(0, &[4, 6], &[6, 1]), view(24, &[2], &[1]), view(0, &[6, 4], &[1, 6]), view(0, &[24], &[1])];
    assert_eq!(shared(tied), [Same, Alone, Same, Same]);
    // The last one lies far behind the second, in the first's reach.
    let long = vec![view(0, &[2], &[100]), view(10, &[5], &[1]), view(100, &[3], &[1]), view(103, &[1], &[1])];
    assert_eq!(shared(long), [Partial, Partial, Partial, Alone]);
    // One extent, but gaps in one of them.
    assert_eq!(shared(vec![view(0, &[2], &[2]), view(0, &[3], &[1])]), [Partial, Partial]);
}

#[test]
fn sharing_of_many_tensors_takes_one_sort() {
    // Two hundred thousand squared would not end.
    let many: Vec<Tensor> = (0..200_000).map(|at| view(at, &[2], &[1])).collect();
    assert!(shared(many).iter().all(|found| *found == Partial));
    let same: Vec<Tensor> = (0..200_000).map(|_| view(0, &[2], &[1])).collect();
    assert!(shared(same).iter().all(|found| *found == Same));
}

#[test]
fn bounds_do_not_wrap() {
    let huge = u64::MAX / 2;
    assert_eq!(last(1, &[huge, huge], &[huge, huge]), Some(u64::MAX));
    assert_eq!(last(u64::MAX, &[2], &[1]), Some(u64::MAX));
    assert_eq!(last(9, &[0, huge], &[1, 1]), None);
    assert_eq!(last(9, &[], &[]), Some(9));
    assert_eq!(view(0, &[huge, huge], &[0, 0]).numel(), u64::MAX);
}
