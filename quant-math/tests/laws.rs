//! What must hold for any numbers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use ndarray::{ArrayD, Axis, IxDyn};
mod support;

use proptest::prelude::*;
use quant_math::kernels::{tensorflow, torch};
use quant_math::metrics::MetricsAccumulator;
use quant_math::plan::Settings;
use quant_math::weights::{codes_view, fake_quant_view, observe_ranges};
use quant_math::{Affine, ChannelLayout, Grid, Quantizer, Range, Rounding, WeightMap, observe};
use support::number;

fn numbers() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(number(), 1..200)
}

fn settings() -> impl Strategy<Value = Settings> {
    let rounding = prop_oneof![Just(Rounding::Nearest), Just(Rounding::Truncate)];
    prop_oneof![
        (2_u32..=16, any::<bool>(), rounding).prop_map(|(bits, symmetric, rounding)| Settings {
            symmetric,
            rounding,
            ..Settings::new(Quantizer::Naive, bits)
        }),
        (2_u32..=16, any::<bool>())
            .prop_map(|(bits, symmetric)| Settings { symmetric, ..Settings::new(Quantizer::Qat, bits) }),
        (1_u32..=8).prop_map(|bits| Settings::new(Quantizer::DoReFa, bits)),
    ]
}

fn affine() -> impl Strategy<Value = Affine> {
    let grids = prop_oneof![
        (1_u32..=16).prop_map(|bits| Grid::unsigned(bits).unwrap()),
        (2_u32..=16).prop_map(|bits| Grid::signed(bits).unwrap()),
        (2_u32..=16).prop_map(|bits| Grid::signed_narrow(bits).unwrap()),
    ];
    (number(), number(), grids, any::<bool>()).prop_map(|(a, b, grid, symmetric)| {
        let range = Range::new(a.min(b), a.max(b)).unwrap();
        if symmetric { Affine::symmetric(range, grid).unwrap() } else { Affine::asymmetric(range, grid).unwrap() }
    })
}

fn values(map: &WeightMap, data: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; data.len()];
    map.values_into(0, data, &mut out);
    out
}

fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// An array of up to four dimensions, and an axis of it.
fn array() -> impl Strategy<Value = (ArrayD<f32>, usize)> {
    prop::collection::vec(1_usize..5, 1..=4).prop_flat_map(|shape| {
        let axis = 0..shape.len();
        let data = prop::collection::vec(number(), shape.iter().product::<usize>());
        (data, axis).prop_map(move |(data, axis)| (ArrayD::from_shape_vec(IxDyn(&shape), data).unwrap(), axis))
    })
}

proptest! {
    #[test]
    fn zero_stays_zero(affine in affine(), low in -1e30_f32..-1e-30, high in 0.0_f32..1e30, bits in 2_u32..=16, narrow: bool) {
        prop_assert_eq!(affine.fake_quant(0.0).to_bits(), 0);
        prop_assert_eq!(affine.fake_quant(-0.0).to_bits(), 0);
        prop_assert_eq!(affine.quantize(0.0), affine.zero_point());

        let range = tensorflow::NudgedRange::new(low, high, bits, narrow).unwrap();
        let mut y = [f32::NAN; 2];
        tensorflow::fake_quant_with_min_max_vars(range, &[0.0, -0.0], &mut y);
        prop_assert!(y.iter().all(|y| y.abs() <= 0.0));
        tensorflow::fake_quant_with_min_max_args(range, &[0.0, -0.0], &mut y);
        prop_assert!(y.iter().all(|y| y.abs() <= 0.0));
        let (grid, zero_point) = (affine.grid(), affine.zero_point());
        let torch = torch::FakeQuantize::new(affine.scale(), zero_point, grid.quant_min(), grid.quant_max()).unwrap();
        torch::fake_quantize_per_tensor_affine(torch, &[0.0, -0.0], &mut y);
        prop_assert_eq!(bits_of(&y), [0, 0]);
    }

    /// A value on the grid lies within a rounding of its step, so it is its own nearest.
    #[test]
    fn quantizing_twice_is_quantizing_once(affine in affine(), x in number()) {
        let once = affine.fake_quant(x);
        prop_assert_eq!(affine.fake_quant(once).to_bits(), once.to_bits());
        prop_assert_eq!(affine.quantize(once), affine.quantize(x));
    }

    #[test]
    fn order_is_kept(settings in settings(), mut data in numbers()) {
        let map = observe(&settings, ChannelLayout::per_tensor(data.len()), &data[..]).unwrap();
        data.sort_unstable_by(f32::total_cmp);
        prop_assert!(values(&map, &data).is_sorted());
    }

    #[test]
    fn there_are_no_more_values_than_codes(settings in settings(), data in numbers()) {
        let map = observe(&settings, ChannelLayout::per_tensor(data.len()), &data[..]).unwrap();
        prop_assume!(map != WeightMap::Unchanged);
        let distinct: BTreeSet<u32> = values(&map, &data).iter().map(|x| x.to_bits()).collect();
        prop_assert!(distinct.len() <= 1 << settings.bits);
    }

    #[test]
    fn codes_stay_on_the_grid_and_mean_their_values(affine in affine(), x in number()) {
        let code = affine.quantize(x);
        let grid = affine.grid();
        prop_assert!((grid.quant_min()..=grid.quant_max()).contains(&code));
        prop_assert_eq!(affine.dequantize(code).to_bits(), affine.fake_quant(x).to_bits());
    }

    #[test]
    fn inside_the_range_the_error_is_half_a_step(affine in affine(), at in 0.0_f32..=1.0) {
        let range = affine.nudged_range();
        let x = range.min + at * (range.max - range.min);
        let error = (f64::from(affine.fake_quant(x)) - f64::from(x)).abs();
        // x / scale and (q − z)·scale are rounded once each, at no more than 2^17 steps: 2^17 · 2^-24 of a step twice.
        prop_assert!(error <= f64::from(affine.scale()) * (0.5 + 2.0 / 128.0), "{x} is off by {error}");
    }

    #[test]
    fn channels_are_tensors_of_their_own((array, axis) in array(), settings in settings()) {
        prop_assume!(settings.quantizer != Quantizer::DoReFa);
        let whole = fake_quant_view(&Settings { channel_axis: Some(axis), ..settings }, &array.view()).unwrap();
        for channel in 0..array.len_of(Axis(axis)) {
            let slice = fake_quant_view(&settings, &array.index_axis(Axis(axis), channel)).unwrap();
            let found: Vec<u32> = whole.index_axis(Axis(axis), channel).iter().map(|x| x.to_bits()).collect();
            let expected: Vec<u32> = slice.iter().map(|x| x.to_bits()).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn strides_do_not_matter((array, axis) in array(), settings in settings()) {
        // Last axis first in memory, in the old logical order.
        let mut turned = array.view().reversed_axes().as_standard_layout().into_owned();
        turned = turned.reversed_axes();
        let per_channel = settings.quantizer != Quantizer::DoReFa;
        let settings = Settings { channel_axis: per_channel.then_some(axis), ..settings };
        prop_assert_eq!(turned.shape(), array.shape());
        prop_assert_eq!(fake_quant_view(&settings, &turned.view()).unwrap(), fake_quant_view(&settings, &array.view()).unwrap());
        let codes = codes_view(&settings, &array.view());
        prop_assert_eq!(codes_view(&settings, &turned.view()), codes);
    }

    #[test]
    fn parts_make_the_whole(data in numbers(), cut in any::<prop::sample::Index>()) {
        let (a, b) = data.split_at(cut.index(data.len()));
        let whole = Range::observe(&data[..]).unwrap();
        let parts = [a, b].into_iter().filter_map(|part| Range::observe(part).ok());
        prop_assert_eq!(parts.reduce(Range::merge).unwrap(), whole);

        let values: Vec<f32> = data.iter().map(|x| x * 0.75).collect();
        let (c, d) = values.split_at(a.len());
        let (mut one, mut first, mut second) = <(MetricsAccumulator, MetricsAccumulator, MetricsAccumulator)>::default();
        one.update(a, c);
        one.update(b, d);
        first.update(a, c);
        second.update(b, d);
        first.merge(&second);
        prop_assert_eq!(first, one);
    }

    #[test]
    fn ranges_hold_what_was_seen(data in numbers(), channels in 1_usize..5) {
        let data = &data[..data.len() / channels * channels];
        prop_assume!(!data.is_empty());
        let layout = ChannelLayout { outer: data.len() / channels, channels, inner: 1 };
        let ranges = observe_ranges(layout, data).unwrap();
        for (channel, range) in ranges.iter().enumerate() {
            let mut seen = data.iter().skip(channel).step_by(channels).copied().collect::<Vec<f32>>();
            seen.sort_unstable_by(f32::total_cmp);
            prop_assert!(range.min.total_cmp(&(seen[0] + 0.0)).is_eq());
            prop_assert!(range.max.total_cmp(&(seen[seen.len() - 1] + 0.0)).is_eq());
        }
    }

    #[test]
    fn stored_codes_give_the_values_back(data in numbers(), bits in 2_u32..=8, symmetric: bool, channels in 1_usize..5) {
        let data = &data[..data.len() / channels * channels];
        prop_assume!(!data.is_empty());
        let layout = ChannelLayout { outer: 1, channels, inner: data.len() / channels };
        let map = observe(&Settings { symmetric, ..Settings::new(Quantizer::Qat, bits) }, layout, data).unwrap();
        let mut codes = vec![0; data.len()];
        map.codes_into(0, data, &mut codes).unwrap();
        let mut found = vec![f32::NAN; data.len()];
        map.dequant().unwrap().values_into(0, &codes, &mut found);
        prop_assert_eq!(bits_of(&found), bits_of(&values(&map, data)));
    }
}
