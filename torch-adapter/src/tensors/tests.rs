//! Memory order, sharing, and bounds, on shapes and strides that torch writes.

use quant_math::weights::ChannelLayout;

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
    let storage = Storage {
        record: "data/0".to_owned(),
        kind: StorageType::Float,
        numel: 27,
        tensors: (0..tensors.len()).collect(),
    };
    let tensors = Tensors { storages: vec![storage], tensors };
    assert_eq!(tensors.sharing(0), Sharing { same: vec![1, 2], partial: vec![3, 5] });
    assert_eq!(tensors.sharing(3).partial, [0, 1, 2, 5]);
    assert!(tensors.sharing(4).is_alone() && tensors.sharing(6).is_alone());
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
