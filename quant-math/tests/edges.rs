//! Tensors at the edge of what numbers can be: empty, scalar, all zero, constant, subnormal, huge, not finite.

use ndarray::{ArrayD, IxDyn, arr0};
use quant_math::kernels::tensorflow::NudgedRange;
use quant_math::kernels::torch::{
    CodeType, FakeQuantize, MinMaxObserver, MovingAverageMinMaxObserver, PerChannelMinMaxObserver, QParams, Scheme,
};
use quant_math::plan::Settings;
use quant_math::weights::{codes_view, fake_quant_view, observe_view};
use quant_math::{Affine, ChannelLayout, Grid, MathError, Quantizer, Range, WeightMap, observe};

fn weights(quantizer: Quantizer, symmetric: bool, data: &[f32]) -> Result<Vec<f32>, MathError> {
    let settings = Settings { symmetric, ..Settings::new(quantizer, 8) };
    let map = observe(&settings, ChannelLayout::per_tensor(data.len()), data)?;
    let mut values = vec![f32::NAN; data.len()];
    map.values_into(0, data, &mut values);
    Ok(values)
}

const KINDS: [(Quantizer, bool); 5] = [
    (Quantizer::Naive, true),
    (Quantizer::Naive, false),
    (Quantizer::Qat, true),
    (Quantizer::Qat, false),
    (Quantizer::DoReFa, true),
];

#[test]
fn empty() {
    for (quantizer, symmetric) in KINDS {
        assert_eq!(weights(quantizer, symmetric, &[]).unwrap_err().code(), "M0107");
    }
    let empty = ArrayD::<f32>::zeros(IxDyn(&[3, 0, 2]));
    for channel_axis in [None, Some(0), Some(1)] {
        let settings = Settings { channel_axis, ..Settings::new(Quantizer::Qat, 8) };
        assert_eq!(observe_view(&settings, &empty.view()).unwrap_err().code(), "M0107");
    }
    assert_eq!(Range::observe(&[][..]).unwrap_err().code(), "M0107");
    let mut observer = MinMaxObserver::default();
    observer.observe(&[][..]).unwrap();
    assert_eq!(observer.range(), None);
}

#[test]
fn scalar() {
    for (quantizer, symmetric) in KINDS {
        let settings = Settings { symmetric, ..Settings::new(quantizer, 8) };
        let value = fake_quant_view(&settings, &arr0(-3.0_f32).into_dyn().view()).unwrap();
        assert_eq!(value.ndim(), 0);
        // The only number is an end of the range, except that DoReFa makes it −1.
        let expected = if quantizer == Quantizer::DoReFa { -1.0 } else { -3.0 };
        assert!((value[IxDyn(&[])] - expected).abs() <= 3.0 * f32::EPSILON, "{quantizer} {symmetric}: {value}");
    }
    let (codes, map) = codes_view(&Settings::new(Quantizer::Naive, 8), &arr0(2.0_f64).into_dyn().view()).unwrap();
    assert_eq!((codes[IxDyn(&[])], map.scale_span()), (127, Some((2.0 / 127.0, 2.0 / 127.0))));
    let settings = Settings { channel_axis: Some(0), ..Settings::new(Quantizer::Naive, 8) };
    assert_eq!(observe_view(&settings, &arr0(2.0_f32).into_dyn().view()).unwrap_err().code(), "M0106");
}

#[test]
fn all_zero() {
    for (quantizer, symmetric) in KINDS {
        assert_eq!(weights(quantizer, symmetric, &[0.0; 3]).unwrap(), [0.0; 3]);
    }
    for grid in [Grid::unsigned(8), Grid::signed(4), Grid::signed_narrow(2)] {
        let zero = Range::new(0.0, 0.0).unwrap();
        for affine in [Affine::symmetric(zero, grid.clone().unwrap()), Affine::asymmetric(zero, grid.unwrap())] {
            let affine = affine.unwrap();
            assert_eq!((affine.scale(), affine.quantize(0.0), affine.zero_point()), (1.0, 0, 0));
        }
    }
    // One dead channel does not touch the others.
    let settings = Settings::new(Quantizer::Naive, 8);
    let layout = ChannelLayout { outer: 1, channels: 2, inner: 2 };
    let map = observe(&settings, layout, &[0.0, -0.0, 1.0, -1.0][..]).unwrap();
    let WeightMap::Affine(map) = map else { panic!("the Naive quantizer is affine") };
    assert_eq!(map.scale(), [1.0, 1.0 / 127.0]);
}

#[test]
fn constant() {
    for x in [0.7_f32, -0.7, 1e-20, 1e20] {
        for (quantizer, symmetric) in &KINDS[..4] {
            for value in weights(*quantizer, *symmetric, &[x; 5]).unwrap() {
                // steps · (x / steps): two roundings.
                assert!(
                    (value - x).abs() <= 2.0 * f32::EPSILON * x.abs(),
                    "{quantizer} {symmetric}: {value}, expected {x}"
                );
            }
        }
        let dorefa = weights(Quantizer::DoReFa, true, &[x; 5]).unwrap();
        assert_eq!(dorefa, [1.0_f32.copysign(x); 5]);
    }
}

#[test]
fn subnormal() {
    let tiny = f32::from_bits(1000);
    for (quantizer, symmetric) in &KINDS[..4] {
        let settings = Settings { symmetric: *symmetric, ..Settings::new(*quantizer, 8) };
        let data = [tiny, -tiny, 0.0];
        let map = observe(&settings, ChannelLayout::per_tensor(3), &data[..]).unwrap();
        assert_eq!(map.scale_span(), Some((f32::MIN_POSITIVE, f32::MIN_POSITIVE)), "the scale has a floor");
        assert_eq!(weights(*quantizer, *symmetric, &data).unwrap(), [0.0; 3]);
    }
    // DoReFa's scale is relative: the largest number is ±1, whatever its size.
    assert_eq!(weights(Quantizer::DoReFa, true, &[tiny, -tiny]).unwrap(), [1.0, -1.0]);
    assert!(NudgedRange::new(-tiny, tiny, 8, false).unwrap().is_zero());
    assert_eq!(NudgedRange::new(-1e-37, 1e-37, 8, false).unwrap_err().code(), "M0110");
    let qparams = QParams::new(Scheme::Affine, CodeType::QUInt8, None).unwrap();
    assert_eq!(qparams.calculate(Some(Range::new(-tiny, tiny).unwrap())).unwrap(), (f32::EPSILON, 0));
}

#[test]
fn huge() {
    let data = [f32::MAX, -f32::MAX];
    for quantizer in [Quantizer::Naive, Quantizer::Qat] {
        // p − n overflows; so does quant_max · (max / quant_max), by a rounding, at 8 bits.
        assert_eq!(weights(quantizer, false, &data).unwrap_err().code(), "M0103");
        assert_eq!(weights(quantizer, true, &data).unwrap_err().code(), "M0103");
        let half = [f32::MAX / 2.0, -f32::MAX / 2.0];
        for value in weights(quantizer, true, &half).unwrap() {
            assert!((value.abs() - half[0]).abs() <= 2.0 * f32::EPSILON * half[0]);
        }
    }
    assert_eq!(weights(Quantizer::DoReFa, true, &data).unwrap(), [1.0, -1.0]);
    assert_eq!(NudgedRange::new(-3e38, 3e38, 8, false).unwrap_err().code(), "M0103");
    let qparams = QParams::new(Scheme::Affine, CodeType::QInt8, None).unwrap();
    assert_eq!(qparams.calculate(Some(Range::new(-3e38, 3e38).unwrap())).unwrap_err().code(), "M0103");
    let mut average = MovingAverageMinMaxObserver::new(0.01);
    average.observe(&[-3e38][..]).unwrap();
    assert_eq!(average.observe(&[3e38][..]).unwrap_err().code(), "M0103");
}

#[test]
fn not_finite() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let data = [1.0, 2.0, bad, bad];
        for (quantizer, symmetric) in KINDS {
            let error = weights(quantizer, symmetric, &data).unwrap_err();
            assert!(matches!(error, MathError::NonFinite { index: 2, .. }), "{error}");
        }
        for range in [Range::new(bad, 1.0), Range::new(0.0, bad), Range::observe(&data[..])] {
            assert_eq!(range.unwrap_err().code(), "M0101");
        }
        assert_eq!(NudgedRange::new(0.0, bad, 8, false).unwrap_err().code(), "M0101");
    }
    // A float64 beyond float32 is an infinity here.
    let settings = Settings::new(Quantizer::Naive, 8);
    let beyond = ArrayD::from_shape_vec(IxDyn(&[2]), vec![0.0, 1e300]).unwrap();
    let error = observe_view(&settings, &beyond.view()).unwrap_err();
    assert!(matches!(error, MathError::NonFinite { index: 1, .. }), "{error}");
}

#[test]
fn ranges_without_a_grid() {
    assert_eq!(Range::new(1.0, -1.0).unwrap_err().code(), "M0104");
    for (min, max) in [(1.0, 1.0), (-2.0, -2.0), (1.0, -1.0)] {
        assert_eq!(NudgedRange::new(min, max, 8, false).unwrap_err().code(), "M0104");
    }
    for bits in [0, 1, 17] {
        assert_eq!(NudgedRange::new(-1.0, 1.0, bits, false).unwrap_err().code(), "M0102");
    }
}

#[test]
fn parameters_that_do_not_fit() {
    for (scale, zero_point, quant_min, quant_max) in [
        (0.0, 0, 0, 255),
        (-1.0, 0, 0, 255),
        (f32::NAN, 0, 0, 255),
        (f32::INFINITY, 0, 0, 255),
        (f32::from_bits(1), 0, 0, 255),
        (1.0, -1, 0, 255),
        (1.0, 256, 0, 255),
        (1.0, 0, 1, -1),
        (1.0, 0, i32::MIN, 0),
        (1.0, 0, 0, i32::MAX),
    ] {
        let error = FakeQuantize::new(scale, zero_point, quant_min, quant_max).unwrap_err();
        assert_eq!(error.code(), "M0111", "{error}");
    }
    assert_eq!(QParams::new(Scheme::Affine, CodeType::QInt8, Some((3, 3))).unwrap_err().code(), "M0111");
    let mut observer = PerChannelMinMaxObserver::default();
    observer.observe(ChannelLayout { outer: 1, channels: 2, inner: 1 }, &[1.0, 2.0][..]).unwrap();
    let three = observer.observe(ChannelLayout { outer: 1, channels: 3, inner: 1 }, &[1.0, 2.0, 3.0][..]);
    assert_eq!(three.unwrap_err().code(), "M0105");
}
