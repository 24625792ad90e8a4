//! Calibration statistics: merging parts is the whole, and every range is what a slow reference says.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use quant_math::observers::{BINS, Histogram, LEFT_OUT, MIN_EXPONENT, Statistics, percentile};
use quant_math::plan::Observer;
use quant_math::{MathError, Range};
use support::{noise, number};

const OBSERVERS: [Observer; 5] =
    [Observer::MinMax, Observer::Ema, Observer::Percentile, Observer::Entropy, Observer::Mse];

/// Batches as a run sees them, none of them empty.
fn batches() -> impl Strategy<Value = Vec<Vec<f32>>> {
    prop::collection::vec(prop::collection::vec(number(), 1..40), 1..8)
}

fn seen(observer: Observer, batches: &[Vec<f32>]) -> Statistics {
    let mut statistics = Statistics::new(observer, Some(0.9)).unwrap();
    for batch in batches {
        statistics.observe(batch).unwrap();
    }
    statistics
}

fn histogram(data: &[f32]) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.observe(data).unwrap();
    histogram
}

/// The bin of each value by division, one value at a time.
fn slow_bin(x: f32, exponent: i32) -> i32 {
    let bin = (f64::from(x.abs()) / 2.0_f64.powi(exponent)).floor();
    #[expect(clippy::cast_possible_truncation, reason = "the tests' histograms have 2048 bins")]
    let bin = bin as i32;
    if x < 0.0 { -bin } else { bin }
}

fn slow_exponent(data: &[f32]) -> i32 {
    let largest = data.iter().fold(0.0_f64, |m, x| m.max(f64::from(*x).abs()));
    (MIN_EXPONENT..128).find(|k| largest < 2048.0 * 2.0_f64.powi(*k)).unwrap()
}

/// How many values are in each bin, of bin −2047 first.
fn counts(data: &[f32], exponent: i32) -> Vec<i32> {
    let mut counts = vec![0; 2 * BINS - 1];
    for x in data {
        counts[usize::try_from(slow_bin(*x, exponent) + 2047).unwrap()] += 1;
    }
    counts
}

proptest! {
    #[test]
    fn merging_parts_is_the_whole(batches in batches(), cut in any::<prop::sample::Index>(), back: bool) {
        let (a, b) = batches.split_at(cut.index(batches.len() + 1));
        let (a, b) = if back { (b, a) } else { (a, b) };
        for observer in [Observer::MinMax, Observer::Mse] {
            let whole = seen(observer, &[batches.concat()]);
            prop_assert_eq!(&seen(observer, &batches), &whole);
            prop_assert_eq!(&seen(observer, a).merge(seen(observer, b)).unwrap(), &whole);
        }
    }

    #[test]
    fn a_histogram_counts_each_value_in_its_bin(data in prop::collection::vec(number(), 1..200)) {
        let histogram = histogram(&data);
        let exponent = slow_exponent(&data);
        prop_assert_eq!(histogram.exponent(), exponent);
        prop_assert_eq!(histogram.total(), data.len() as u64);
        for bin in -2047..=2047 {
            let expected = data.iter().filter(|x| slow_bin(**x, exponent) == bin).count();
            prop_assert_eq!(histogram.count(bin), expected as u64, "bin {}", bin);
        }
    }

    #[test]
    fn counts_from_elsewhere_are_the_same(batches in batches()) {
        let mut counted = Histogram::default();
        for batch in &batches {
            let range = Range::observe(&batch[..]).unwrap();
            // The batch's own exponent and the larger one of what came before are both right.
            for exponent in [slow_exponent(batch), slow_exponent(batch).max(counted.exponent())] {
                counted.add_counts(range, exponent, &counts(batch, exponent)).unwrap();
            }
        }
        let twice = [batches.concat(), batches.concat()].concat();
        prop_assert_eq!(counted, histogram(&twice));
    }

    #[test]
    fn statistics_survive_their_file(batches in batches()) {
        for observer in OBSERVERS {
            for statistics in [Statistics::new(observer, None).unwrap(), seen(observer, &batches)] {
                let text = serde_json::to_string(&statistics).unwrap();
                prop_assert_eq!(serde_json::from_str::<Statistics>(&text).unwrap(), statistics);
            }
        }
    }

    #[test]
    fn every_range_is_part_of_what_was_seen(batches in batches(), bits in 2_u32..=16, symmetric: bool) {
        let whole = Range::observe(&batches.concat()[..]).unwrap();
        for observer in OBSERVERS {
            let range = seen(observer, &batches).range(observer, bits, symmetric).unwrap();
            let zero = range.with_zero();
            prop_assert!(zero.min <= 0.0 && 0.0 <= zero.max);
            prop_assert!(range.min <= range.max);
            // An average can be out of the hull by what it rounds: at most 7 steps of 2.5 units (`ema_is_a_running_average`).
            let slack = if observer == Observer::Ema { 17.6 * f32::EPSILON * whole.min.abs().max(whole.max.abs()) } else { 0.0 };
            prop_assert!(whole.min - slack <= range.min && range.max <= whole.max + slack, "{observer:?} {range:?} of {whole:?}");
        }
    }

    #[test]
    fn percentiles_are_a_bin_from_the_exact_ones(seed: u64, len in 1_usize..60_000, offset in -3.0_f32..3.0, symmetric: bool) {
        let mut data = noise(seed, len, offset);
        let histogram = histogram(&data);
        let found = percentile(&histogram, symmetric).unwrap();
        let width = histogram.width();
        if symmetric {
            data.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
            let exact = f64::from(data[len - 1 - len / usize::try_from(LEFT_OUT).unwrap()].abs());
            let found = f64::from(found.max.max(-found.min));
            prop_assert!(exact <= found && found - exact <= width, "{found}, exact {exact}");
        } else {
            data.sort_unstable_by(f32::total_cmp);
            let cut = len / usize::try_from(2 * LEFT_OUT).unwrap();
            for (exact, found, sign) in [(data[cut], found.min, -1.0), (data[len - 1 - cut], found.max, 1.0)] {
                let beyond = sign * (f64::from(found) - f64::from(exact));
                let bin = if f64::from(exact).abs() < width { 2.0 * width } else { width };
                prop_assert!((0.0..=bin).contains(&beyond), "{found}, exact {exact}");
            }
        }
    }

    #[test]
    fn ema_is_a_running_average(batches in batches(), cut in any::<prop::sample::Index>(), decay in 0.01_f64..0.99) {
        let mut whole = Statistics::new(Observer::Ema, Some(decay)).unwrap();
        let mut parts = [whole.clone(), whole.clone()];
        let mut expected: Option<Range> = None;
        let cut = cut.index(batches.len() + 1);
        let mut largest = 0.0_f32;
        #[expect(clippy::cast_possible_truncation, reason = "the average moves in float32")]
        let rate = (1.0 - decay) as f32;
        for (i, batch) in batches.iter().enumerate() {
            whole.observe(batch).unwrap();
            parts[usize::from(i >= cut)].observe(batch).unwrap();
            let now = Range::observe(&batch[..]).unwrap();
            largest = largest.max(now.min.abs()).max(now.max.abs());
            expected = Some(expected.map_or(now, |r| Range {
                min: r.min + rate * (now.min - r.min),
                max: r.max + rate * (now.max - r.max),
            }));
        }
        let (expected, whole) = (expected.unwrap(), whole.range(Observer::Ema, 8, false).unwrap());
        prop_assert_eq!(whole, Range { min: expected.min.min(expected.max), max: expected.max.max(expected.min) });
        // A step rounds the difference, its product and the sum: with both operands at most M, an error of at most
        // (2 + 2 + 1)·M half units. Errors do not grow afterwards, as a step forgets. Three averages, and one last rounding.
        let steps = f64::from(u8::try_from(batches.len()).unwrap());
        let bound = f64::from(f32::EPSILON) * f64::from(largest) * 0.5 * (15.0 * steps + 1.0) * 1.001;
        let bound = bound + (15.0 * steps + 1.0) * f64::from(f32::from_bits(1));
        let [a, b] = parts;
        let merged = a.merge(b).unwrap().range(Observer::Ema, 8, false).unwrap();
        for (merged, whole) in [(merged.min, whole.min), (merged.max, whole.max)] {
            prop_assert!((f64::from(merged) - f64::from(whole)).abs() <= bound, "{merged} {whole}");
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for observer in OBSERVERS {
        let mut statistics = seen(observer, &[vec![1.0, 2.0]]);
        let before = statistics.clone();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = statistics.observe(&[0.0, bad]).unwrap_err();
            assert!(matches!(error, MathError::NonFinite { index: 1, .. }), "{observer:?} {error}");
        }
        assert_eq!(statistics.observe(&[]), Err(MathError::Empty));
        assert_eq!(statistics, before);
    }
    let mut ends = Statistics::new(Observer::MinMax, None).unwrap();
    assert_eq!(ends.add_range(Range { min: 0.0, max: f32::NAN }).unwrap_err().code(), "M0101");
    assert_eq!(ends.add_range(Range { min: 2.0, max: 1.0 }).unwrap_err().code(), "M0104");
}

#[test]
fn nothing_seen_has_no_range() {
    for observer in OBSERVERS {
        let nothing = Statistics::new(observer, None).unwrap();
        assert_eq!(nothing.range(observer, 8, false), Err(MathError::Empty));
        let something = seen(observer, &[vec![1.0]]);
        let merged = Statistics::new(observer, Some(0.9)).unwrap().merge(something.clone()).unwrap();
        assert_eq!(merged, something);
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let [minmax, ema, histogram] = [Observer::MinMax, Observer::Ema, Observer::Mse].map(|o| seen(o, &[vec![1.0]]));
    let found = ema.clone().merge(minmax.clone()).unwrap_err();
    assert_eq!(found, MathError::Statistics { found: "minmax", expected: "ema" });
    assert_eq!(minmax.range(Observer::Mse, 8, true).unwrap_err().code(), "M0114");
    assert_eq!(histogram.range(Observer::Ema, 8, true).unwrap_err().code(), "M0114");
    assert_eq!(histogram.clone().add_range(Range { min: 0.0, max: 1.0 }).unwrap_err().code(), "M0114");
    let other = Statistics::new(Observer::Ema, Some(0.5)).unwrap();
    assert_eq!(ema.merge(other), Err(MathError::OtherDecay { found: 0.5, expected: 0.9 }));
    assert_eq!(Statistics::new(Observer::Ema, Some(1.0)).unwrap_err().code(), "M0112");
    let all = histogram.range(Observer::MinMax, 8, true).unwrap();
    assert_eq!(all, Range { min: 1.0, max: 1.0 });
}

#[test]
fn counts_that_contradict_each_other_are_refused() {
    let data = [0.5, -3.0, 1.0];
    let range = Range { min: -3.0, max: 1.0 };
    let exponent = Histogram::exponent_for(3.0);
    let counts = counts(&data, exponent);
    let mut histogram = Histogram::default();
    let mut refused = |range, exponent, counts: &[i32]| {
        let error = histogram.add_counts(range, exponent, counts).unwrap_err();
        assert_eq!(histogram, Histogram::default());
        error.to_string()
    };
    assert!(refused(range, exponent + 1, &counts).contains("exponent"));
    assert!(refused(range, exponent - 1, &counts).contains("exponent"));
    assert!(refused(range, exponent, &counts[1..]).contains("4095"));
    assert!(refused(range, exponent, &vec![0; counts.len()]).contains("outermost"));
    assert!(refused(Range { min: -3.0, max: 1.1 }, exponent, &counts).contains("outermost"));
    let less_than_nothing: Vec<i32> = counts.iter().map(|count| -count).collect();
    assert!(refused(range, exponent, &less_than_nothing).contains("negative"));
    assert!(refused(Range { min: f32::NAN, max: 1.0 }, exponent, &counts).contains("finite"));
    histogram.add_counts(range, exponent, &counts).unwrap();
    assert_eq!(histogram.total(), 3);
}

#[test]
fn damaged_histograms_are_refused() {
    let text = serde_json::to_string(&histogram(&[0.5, -3.0, 1.0])).unwrap();
    assert_eq!(
        text,
        r#"{"exponent":-9,"range":{"min":-3.0,"max":1.0},"bins":[{"first":-1536,"counts":[1]},{"first":256,"counts":[1]},{"first":512,"counts":[1]}]}"#
    );
    for (from, to) in [
        ("-9", "-8"),
        ("-1536", "-2048"),
        ("-1536", "-1535"),
        ("512", "256"),
        ("512", "2147483647"),
        ("256,\"counts\":[1]", "256,\"counts\":[18446744073709551615]"),
        ("\"max\":1.0", "\"max\":-4.0"),
        ("\"range\":{\"min\":-3.0,\"max\":1.0},", ""),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text);
        assert!(serde_json::from_str::<Histogram>(&damaged).is_err(), "{damaged}");
    }
}

#[test]
fn counts_do_not_wrap() {
    let text =
        r#"{"exponent":-126,"range":{"min":0.0,"max":0.0},"bins":[{"first":0,"counts":[18446744073709551615]}]}"#;
    let full: Histogram = serde_json::from_str(text).unwrap();
    assert_eq!(full.merge(&full), Err(MathError::CountOverflow));
}

#[test]
fn the_largest_floats_have_a_grid() {
    let histogram = histogram(&[f32::MAX, f32::MIN, 1.0]);
    assert_eq!(
        (histogram.exponent(), histogram.count(2047), histogram.count(-2047), histogram.count(0)),
        (117, 1, 1, 1)
    );
    let text = serde_json::to_string(&histogram).unwrap();
    assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), histogram);
    assert_eq!(percentile(&histogram, false).unwrap(), Range { min: f32::MIN, max: f32::MAX });
    for observer in [Observer::Entropy, Observer::Mse] {
        let statistics = Statistics::Histogram(histogram.clone());
        assert_eq!(statistics.range(observer, 8, false).unwrap_err().code(), "M0103");
    }
    assert_eq!(Histogram::exponent_for(0.0), MIN_EXPONENT);
    assert_eq!(Histogram::exponent_for(f32::from_bits(1)), MIN_EXPONENT);
    assert_eq!(Histogram::exponent_for(2048.0), 1);
    assert_eq!(Histogram::exponent_for(2_047.999_9), 0);
}
