//! Ranges files: joining the files of parts is the file of the whole, and what does not fit is named.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use quant_math::plan::{Observer, QuantType, Settings};
use quant_math::ranges::{Calibration, ModelId, RANGES_VERSION, Ranges, RangesError, SiteRange};
use quant_math::{Quantizer, Range};

const EXACT: [Observer; 4] = [Observer::MinMax, Observer::Percentile, Observer::Entropy, Observer::Mse];

/// What a run over `batches` writes: two activations, one the other's negative half.
fn run(observer: Observer, batches: &[Vec<f32>]) -> Ranges {
    let settings = Settings { observer, symmetric: false, ..Settings::new(Quantizer::Qat, 8) };
    let entry = |site: &str, change: fn(f32) -> f32| {
        let mut calibration = Calibration::new(&settings).unwrap();
        for batch in batches {
            let batch: Vec<f32> = batch.iter().map(|x| change(*x)).collect();
            calibration.statistics.observe(&batch).unwrap();
            calibration.samples += 1;
        }
        SiteRange::measured(site, QuantType::Output, format!("{site}:0"), calibration).unwrap()
    };
    Ranges {
        version: RANGES_VERSION,
        framework: "tensorflow 2.21.0".to_owned(),
        model: ModelId { file: "m.pb".to_owned(), fingerprint: "crc32c:00000000:0".to_owned() },
        config: Some("crc32c:00000001:1".to_owned()),
        observer,
        samples: batches.len() as u64,
        batch: None,
        folded: Vec::new(),
        ranges: vec![entry("a", |x| x), entry("b", |x| (-x).max(0.0))],
    }
}

fn batches() -> impl Strategy<Value = Vec<Vec<f32>>> {
    prop::collection::vec(prop::collection::vec(-9.0_f32..30.0, 1..40), 2..6)
}

proptest! {
    #[test]
    fn parts_join_to_the_whole(batches in batches(), cut in any::<prop::sample::Index>(), back: bool) {
        let (a, b) = batches.split_at(1 + cut.index(batches.len() - 1));
        let (a, b) = if back { (b, a) } else { (a, b) };
        for observer in EXACT {
            let merged = Ranges::merge(vec![run(observer, a), run(observer, b)]).unwrap();
            prop_assert_eq!(merged.to_json().unwrap(), run(observer, &batches).to_json().unwrap());
        }
    }

    #[test]
    fn the_text_gives_everything_back(batches in batches()) {
        for observer in [Observer::Ema, Observer::MinMax, Observer::Mse] {
            let ranges = run(observer, &batches);
            let text = ranges.to_json().unwrap();
            prop_assert_eq!(text.lines().filter(|line| line.contains("\"site\"")).count(), 2, "one activation a line");
            prop_assert_eq!(Ranges::parse(&text).unwrap(), ranges);
        }
    }
}

#[test]
fn moving_averages_join_in_their_order() {
    let (a, b) = (vec![vec![1.0, 2.0], vec![-1.0, 4.0]], vec![vec![0.5, 3.0]]);
    let whole = run(Observer::Ema, &[a.clone(), b.clone()].concat());
    let merged = Ranges::merge(vec![run(Observer::Ema, &a), run(Observer::Ema, &b)]).unwrap();
    for (merged, whole) in merged.ranges.iter().zip(&whole.ranges) {
        // Two steps of five half units at most for the run, and one rounding for the joining; no value is above 4.
        let bound = 4.0 * f32::EPSILON * (2.0 * 2.5 + 0.5);
        assert!((merged.min - whole.min).abs() <= bound && (merged.max - whole.max).abs() <= bound);
    }
    let other_way = Ranges::merge(vec![run(Observer::Ema, &b), run(Observer::Ema, &a)]).unwrap();
    assert_ne!(other_way.ranges, merged.ranges);
}

#[test]
fn smallest_and_largest_need_no_statistics() {
    let bare = |min, max| {
        let range = Range::new(min, max).unwrap();
        let ranges = vec![SiteRange::new("a", QuantType::Input, "x:0", range)];
        Ranges { version: 1, config: None, ranges, ..run(Observer::MinMax, &[vec![0.0]]) }
    };
    let merged = Ranges::merge(vec![bare(-1.0, 2.0), bare(0.0, 3.0)]).unwrap();
    assert_eq!(merged.find("a", QuantType::Input, "x:0"), Some(Range { min: -1.0, max: 3.0 }));
    assert_eq!((merged.version, merged.samples), (RANGES_VERSION, 2));
    let average = |min, max| Ranges { observer: Observer::Ema, ..bare(min, max) };
    let refused = Ranges::merge(vec![average(0.0, 1.0), average(0.0, 2.0)]).unwrap_err();
    assert_eq!(refused.code(), "R0105");
}

#[test]
fn what_does_not_belong_together_is_named() {
    let first = || run(Observer::Mse, &[vec![1.0, 2.0]]);
    let refused = |change: &dyn Fn(&mut Ranges)| {
        let mut other = first();
        change(&mut other);
        let error = Ranges::merge(vec![first(), first(), other]).unwrap_err();
        assert_eq!(error.part(), Some(2), "{error}");
        error.to_string()
    };
    let found = refused(&|r| r.model.fingerprint = "crc32c:00000009:9".to_owned());
    assert_eq!(found, "the model is `m.pb` (crc32c:00000009:9), but `m.pb` (crc32c:00000000:0) in the first file");
    assert!(refused(&|r| r.config = None).starts_with("the config is not named, but crc32c:"));
    assert!(refused(&|r| r.observer = Observer::Ema).starts_with("the observer is ema, but mse"));
    assert!(refused(&|r| drop(r.ranges.pop())).contains("`b` (tensor `b:0`) is missing"));
    assert!(refused(&|r| r.ranges.iter_mut().for_each(|e| e.tensor.push('1'))).contains("is missing, but the first"));
    assert!(refused(&|r| r.ranges.extend(r.ranges.clone())).contains("more than once"));
    assert!(
        refused(&|r| {
            let mut more = r.ranges.first().unwrap().clone();
            "c".clone_into(&mut more.site);
            r.ranges.push(more);
        })
        .contains("missing in the first")
    );
    let bits = refused(&|r| r.ranges.iter_mut().for_each(|e| e.calibration.as_mut().unwrap().bits = 4));
    assert!(bits.ends_with("is mse, 4 bits, asymmetric, but mse, 8 bits, asymmetric in the first file"), "{bits}");
    assert!(refused(&|r| r.ranges.iter_mut().for_each(|e| e.calibration = None)).contains("no statistics"));
    assert_eq!(Ranges::merge(Vec::new()), Err(RangesError::Nothing));
    assert_eq!(Ranges::merge(vec![Ranges { samples: u64::MAX, ..first() }, first()]), Err(RangesError::Samples));
}

#[test]
fn frameworks_are_listed_once() {
    let of = |framework: &str| Ranges { framework: framework.to_owned(), ..run(Observer::MinMax, &[vec![1.0]]) };
    let merged = Ranges::merge(vec![of("b 2"), of("a 1, b 2"), of("")]).unwrap();
    assert_eq!(merged.framework, "a 1, b 2");
}

#[test]
fn damaged_statistics_are_refused() {
    let text = run(Observer::Entropy, &[vec![1.0, 2.0]]).to_json().unwrap();
    let damaged = text.replacen("\"exponent\":-9", "\"exponent\":-8", 1);
    assert_ne!(damaged, text);
    let Err(RangesError::Json(message)) = Ranges::parse(&damaged) else { panic!("damage was not seen") };
    assert!(message.contains("a histogram contradicts itself"), "{message}");
}

#[test]
fn only_moving_averages_are_bound_to_a_batch() {
    let left = |observer, batch| Ranges { batch, ..run(observer, &[vec![1.0, 2.0], vec![3.0]]) };
    for observer in EXACT {
        assert_eq!(left(observer, None).check_batch(7), Ok(()), "{observer}");
    }
    let average = left(Observer::Ema, Some(2));
    assert_eq!(Ranges::parse(&average.to_json().unwrap()).unwrap(), average);
    assert_eq!(average.check_batch(2), Ok(()));
    let error = average.check_batch(3).unwrap_err();
    assert_eq!(error, RangesError::OtherBatch { found: Some(2), expected: 3 });
    assert_eq!(error.to_string(), "its moving averages are of batches of 2 (`--batch 2`), expected batches of 3");
    let unknown = left(Observer::Ema, None).check_batch(2).unwrap_err();
    assert!(unknown.to_string().contains("batches of unknown size"), "{unknown}");
    // What was joined is finished.
    assert_eq!(Ranges::merge(vec![average.clone(), average]).unwrap().batch, None);
}
