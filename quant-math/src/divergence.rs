//! How far what a model says of its classes is from what the float model says: the Kullback-Leibler divergence of its outputs.

use serde::{Deserialize, Serialize};

use crate::MathError;
use crate::exp::{exp, tail};
use crate::ln::ln;

/// What an output's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scores {
    /// A score for each class, of which a softmax makes probabilities.
    Logits,
    /// A probability for each class, which add up to 1: what a softmax has made.
    Probabilities,
    /// Probabilities of things that do not exclude each other: what a sigmoid has made.
    Independent,
}

/// No probability counts as less than e^−745, which is about the smallest number of float64; of probabilities that are given as float32, none as
/// less than that type's smallest number, 2^−149. Else a model that is sure and wrong once would be infinitely far off.
const LEAST_LN: f64 = -745.0;
const LEAST: f64 = f64::from_bits((1023 - 149) << 52);

/// The sum of the Kullback-Leibler divergences of rows of scores, `Σ p·ln(p/q)` in nats, where p are the probabilities of the reference.
///
/// Each term is `p·ln(p/q) − p + q`, of which the last two add up to 0 over a row: it is never negative, has no cancellation where both models
/// say nearly the same, and is 0 where they say the same. Logarithms are taken of the softmax and not of its rounded result. All is float64 in a
/// fixed order, with functions of this crate: the same bits on every machine, at every number of threads and however rows are cut into batches.
///
/// ```
/// use quant_math::divergence::{Divergence, Scores};
///
/// let mut divergence = Divergence::new(Scores::Probabilities);
/// divergence.add(2, &[0.5, 0.5], &[0.25, 0.75])?;
/// // 0.5·ln 2 + 0.5·ln(2/3)
/// assert!((divergence.mean().unwrap() - 0.143_841).abs() < 1e-6);
/// # Ok::<(), quant_math::MathError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    scores: Scores,
    sum: f64,
    rows: u64,
}

impl Divergence {
    /// Nothing was added yet.
    pub fn new(scores: Scores) -> Self {
        Self { scores, sum: 0.0, rows: 0 }
    }

    /// What the rows hold.
    pub fn scores(&self) -> Scores {
        self.scores
    }

    /// Add rows of `classes` scores each. Nothing is added where there is an error.
    ///
    /// # Errors
    /// [`MathError::Layout`] where the slices are no whole rows of the same number, [`MathError::NonFinite`] for NaN, and for logits that are
    /// infinite (−∞ is a class that cannot be, and is none, unless all classes are so).
    pub fn add(&mut self, classes: usize, reference: &[f32], values: &[f32]) -> Result<(), MathError> {
        if reference.len() != values.len() || reference.len().checked_rem(classes) != Some(0) {
            return Err(MathError::Layout { expected: reference.len(), found: values.len() });
        }
        let mut sum = self.sum;
        let (mut of_reference, mut of_values) = (Row::default(), Row::default());
        let rows = reference.chunks_exact(classes).zip(values.chunks_exact(classes));
        for (number, (reference, values)) in rows.enumerate() {
            let at = |error| in_row(error, number * classes);
            of_reference.read(self.scores, reference).map_err(at)?;
            of_values.read(self.scores, values).map_err(at)?;
            let terms = of_reference.terms.iter().zip(&of_values.terms).map(|(p, q)| p.against(*q));
            sum += terms.sum::<f64>();
        }
        self.sum = sum;
        self.rows += (reference.len() / classes) as u64;
        Ok(())
    }

    /// The mean over the rows in nats, 0 and more; `None` before there is a row.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
    pub fn mean(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.sum / self.rows as f64)
    }
}

/// Whether every number is a probability, and those of each row of `classes` add up to 1.
pub fn probabilities(classes: usize, values: &[f32]) -> (bool, bool) {
    /// A softmax in float16 is off by half an ulp of 2^−11 for each class at most, and usually by far less than the sum of that.
    const OFF: f64 = 1e-3;
    let all = values.iter().all(|x| (0.0..=1.0).contains(x));
    let is_one = |row: &[f32]| (row.iter().map(|x| f64::from(*x)).sum::<f64>() - 1.0).abs() <= OFF;
    (all, all && classes > 1 && values.chunks(classes).all(is_one))
}

fn in_row(error: MathError, first: usize) -> MathError {
    match error {
        MathError::NonFinite { index, value } => MathError::NonFinite { index: first + index, value },
        other => other,
    }
}

/// A probability and its logarithm.
#[derive(Debug, Clone, Copy)]
struct Term {
    p: f64,
    ln: f64,
}

impl Term {
    /// Of a probability from 0 to 1.
    fn of(p: f64) -> Self {
        Self { p, ln: ln(p.max(LEAST)) }
    }

    /// What `q` in place of this adds to the divergence.
    fn against(self, q: Self) -> f64 {
        if self.p <= 0.0 {
            return q.p;
        }
        let d = q.ln.max(LEAST_LN) - self.ln;
        if d.abs() < std::f64::consts::LN_2 / 2.0 { self.p * tail(d) } else { q.p - self.p - self.p * d }
    }
}

#[derive(Debug, Default)]
struct Row {
    terms: Vec<Term>,
}

impl Row {
    fn read(&mut self, scores: Scores, row: &[f32]) -> Result<(), MathError> {
        self.terms.clear();
        let wrong = |x: f32| x.is_nan() || (scores == Scores::Logits && x >= f32::INFINITY);
        if let Some((index, value)) = row.iter().enumerate().find(|(_, x)| wrong(**x)) {
            return Err(MathError::NonFinite { index, value: f64::from(*value) });
        }
        match scores {
            Scores::Logits => {
                let largest = row.iter().fold(f64::NEG_INFINITY, |largest, x| largest.max(f64::from(*x)));
                if largest.is_infinite() {
                    return Err(MathError::NonFinite { index: 0, value: largest });
                }
                let below = |x: &f32| f64::from(*x) - largest;
                let ln_sum = ln(row.iter().map(|x| exp(below(x))).sum());
                self.terms.extend(row.iter().map(|x| Term { p: exp(below(x) - ln_sum), ln: below(x) - ln_sum }));
            }
            Scores::Probabilities => self.terms.extend(row.iter().map(|x| Term::of(f64::from(*x).max(0.0)))),
            Scores::Independent => {
                let both = |x: &f32| {
                    let p = f64::from(*x).clamp(0.0, 1.0);
                    [Term::of(p), Term::of(1.0 - p)]
                };
                self.terms.extend(row.iter().flat_map(both));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(scores: Scores, classes: usize, reference: &[f32], values: &[f32]) -> f64 {
        let mut divergence = Divergence::new(scores);
        divergence.add(classes, reference, values).unwrap();
        divergence.mean().unwrap()
    }

    #[test]
    fn small_cases_by_hand() {
        let expected = 0.5 * 2_f64.ln() + 0.5 * (2.0_f64 / 3.0).ln();
        approx::assert_relative_eq!(
            of(Scores::Probabilities, 2, &[0.5, 0.5], &[0.25, 0.75]),
            expected,
            max_relative = 1e-14
        );
        // Things that do not exclude each other: each is a choice of two.
        approx::assert_relative_eq!(
            of(Scores::Independent, 2, &[0.5, 0.5], &[0.25, 0.75]),
            2.0 * expected,
            max_relative = 1e-14
        );
        // e^0 : e^0 against e^0 : e^1.
        let q = [1.0 / (1.0 + 1_f64.exp()), 1_f64.exp() / (1.0 + 1_f64.exp())];
        let expected = 0.5 * (0.5 / q[0]).ln() + 0.5 * (0.5 / q[1]).ln();
        approx::assert_relative_eq!(of(Scores::Logits, 2, &[3.0, 3.0], &[0.0, 1.0]), expected, max_relative = 1e-14);
    }

    #[test]
    fn a_shift_of_all_logits_is_no_difference_and_nothing_is_negative() {
        let row = [1.5_f32, -2.0, 0.25, 7.0];
        let shifted = row.map(|x| x + 8.0);
        assert_eq!(of(Scores::Logits, 4, &row, &row).to_bits(), 0);
        assert!(of(Scores::Logits, 4, &row, &shifted) < 1e-30);
        for i in 1..2000_u16 {
            let near = row.map(|x| x * (1.0 + f32::from(i) * 1e-7));
            let found = of(Scores::Logits, 4, &row, &near);
            assert!((0.0..1e-6).contains(&found), "{found}");
        }
    }

    #[test]
    fn the_second_order_is_kept_where_a_difference_would_lose_it() {
        // KL ≈ Σ p·d²/2 − (Σ p·d)²/2 for logits that differ by d: of 2^-20 at one of two even classes, d²/8.
        let d = f32::from_bits((127 - 20) << 23);
        let expected = f64::from(d) * f64::from(d) / 8.0;
        approx::assert_relative_eq!(of(Scores::Logits, 2, &[0.0, 0.0], &[d, 0.0]), expected, max_relative = 1e-5);
    }

    #[test]
    fn what_is_impossible_is_far_off_but_finite() {
        let sure = of(Scores::Probabilities, 2, &[1.0, 0.0], &[0.0, 1.0]);
        approx::assert_relative_eq!(sure, 149.0 * 2_f64.ln(), max_relative = 1e-14);
        let masked = of(Scores::Logits, 2, &[0.0, f32::NEG_INFINITY], &[f32::NEG_INFINITY, 0.0]);
        approx::assert_relative_eq!(masked, 745.0, max_relative = 1e-14);
        assert_eq!(of(Scores::Logits, 2, &[0.0, f32::NEG_INFINITY], &[1.0, f32::NEG_INFINITY]).to_bits(), 0);
        assert!(of(Scores::Logits, 2, &[f32::MAX, 0.0], &[-f32::MAX, 0.0]).is_finite());
    }

    #[test]
    fn batches_change_nothing_and_errors_add_nothing() {
        let (reference, values) = ([0.1_f32, 2.0, -1.0, 0.5, 0.25, 9.0], [0.2_f32, 2.5, -1.5, 0.5, 0.75, 8.0]);
        let mut parts = Divergence::new(Scores::Logits);
        for at in [0..2, 2..6] {
            parts.add(2, &reference[at.clone()], &values[at]).unwrap();
        }
        assert_eq!(parts.mean().unwrap().to_bits(), of(Scores::Logits, 2, &reference, &values).to_bits());
        let before = parts;
        let nan = [0.1, 2.0, f32::NAN, 0.5];
        let wrong = parts.add(2, &reference[..4], &nan).unwrap_err();
        assert!(matches!(wrong, MathError::NonFinite { index: 2, .. }), "{wrong:?}");
        for (classes, reference, values) in [(2, &reference[..3], &values[..3]), (0, &[][..], &[][..])] {
            assert!(matches!(parts.add(classes, reference, values), Err(MathError::Layout { .. })));
        }
        assert!(parts.add(2, &[f32::INFINITY, 0.0], &[0.0, 0.0]).is_err());
        assert!(parts.add(2, &[f32::NEG_INFINITY; 2], &[0.0, 0.0]).is_err());
        assert_eq!((parts, Divergence::new(Scores::Logits).mean()), (before, None));
    }

    #[test]
    fn probabilities_are_told_from_other_numbers() {
        assert_eq!(probabilities(2, &[0.25, 0.75, 1.0, 0.0]), (true, true));
        assert_eq!(probabilities(2, &[0.25, 0.7501, 0.5, 0.5]), (true, true), "float16 rounds");
        assert_eq!(probabilities(2, &[0.25, 0.25]), (true, false));
        assert_eq!(probabilities(2, &[1.25, -0.25]), (false, false), "they add up to 1, and are none");
        assert_eq!(probabilities(1, &[1.0, 1.0]), (true, false), "one class says nothing");
    }
}
