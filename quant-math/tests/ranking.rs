//! Places of classes against sorting every row.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use proptest::prelude::*;
use quant_math::MathError;
use quant_math::ranking::Ranking;

/// All classes of a row, best first; a stable sort keeps the lower index first.
fn order(row: &[f32]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..row.len()).collect();
    classes.sort_by(|a, b| row[*b].partial_cmp(&row[*a]).unwrap());
    classes
}

/// Few different values, so that many are equal.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => (-2_i8..3).prop_map(f32::from),
        1 => Just(-0.0_f32),
        1 => Just(f32::NEG_INFINITY),
        1 => any::<f32>().prop_filter("ordered", |x| !x.is_nan()),
    ]
}

/// The number of classes, and two models' values of as many rows.
fn models() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>)> {
    (1_usize..7, 1_usize..9).prop_flat_map(|(classes, rows)| {
        let values = || prop::collection::vec(value(), classes * rows);
        (Just(classes), values(), values())
    })
}

proptest! {
    #[test]
    fn agreement_is_what_sorting_says((classes, reference, values) in models(), k in 1_usize..5) {
        let mut ranking = Ranking::new(k);
        ranking.against_reference(classes, &reference, &values).unwrap();
        let rows = reference.chunks(classes).zip(values.chunks(classes));
        let (mut first, mut among) = (0, 0);
        for (reference, values) in rows {
            let (target, found) = (order(reference)[0], order(values));
            first += u64::from(found[0] == target);
            among += u64::from(found.iter().take(k).any(|class| *class == target));
        }
        prop_assert_eq!((ranking.first(), ranking.among()), (first, among));
        prop_assert_eq!(ranking.rows(), (reference.len() / classes) as u64);
    }

    #[test]
    fn a_models_own_first_classes_are_all_right((classes, values, _) in models()) {
        let labels: Vec<i64> = values.chunks(classes).map(|row| i64::try_from(order(row)[0]).unwrap()).collect();
        let (mut own, mut labelled) = (Ranking::new(1), Ranking::new(1));
        own.against_reference(classes, &values, &values).unwrap();
        labelled.against_labels(classes, &labels, &values).unwrap();
        prop_assert_eq!(own, labelled);
        prop_assert_eq!((own.top1(), own.top_k()), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn parts_make_the_whole((classes, reference, values) in models(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(reference.len() / classes + 1) * classes;
        let mut rankings = [Ranking::new(2); 3];
        rankings[0].against_reference(classes, &reference, &values).unwrap();
        rankings[1].against_reference(classes, &reference[cut..], &values[cut..]).unwrap();
        rankings[2].against_reference(classes, &reference[..cut], &values[..cut]).unwrap();
        prop_assert_eq!(rankings[1].merge(rankings[2]).unwrap(), rankings[0]);
    }
}

#[test]
fn what_has_no_order_or_no_class_is_refused() {
    let mut ranking = Ranking::new(1);
    let nothing = ranking;
    let code = |result: Result<(), MathError>| result.unwrap_err().code();
    assert_eq!(code(ranking.against_reference(2, &[1.0, 2.0], &[1.0, f32::NAN])), "M0101");
    assert_eq!(code(ranking.against_reference(2, &[f32::NAN, 2.0], &[1.0, 2.0])), "M0101");
    assert_eq!(code(ranking.against_reference(2, &[1.0, 2.0], &[1.0])), "M0105");
    assert_eq!(code(ranking.against_reference(2, &[1.0; 3], &[1.0; 3])), "M0105");
    assert_eq!(code(ranking.against_reference(0, &[1.0], &[1.0])), "M0105");
    assert_eq!(code(ranking.against_labels(2, &[0, 1], &[1.0, 2.0])), "M0105");
    for label in [-1, 2, i64::MAX] {
        let error = ranking.against_labels(2, &[0, label], &[1.0; 4]).unwrap_err();
        assert_eq!(error, MathError::Label { index: 1, label, classes: 2 });
    }
    assert_eq!(ranking, nothing);
    assert_eq!((ranking.top1(), ranking.top_k()), (None, None));
    assert_eq!(ranking.merge(Ranking::new(5)), Err(MathError::OtherK { found: 5, expected: 1 }));
}
