//! Which mix holds under a condition on the whole model: the budget of bytes is bisected, and each mix that comes up is measured.

use super::knapsack::{Choice, Mix, least};
use super::result::Stopped;
use crate::sensitivity::Loss;

/// A mix, and the model with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// For each item the index of its choice.
    pub picks: Vec<usize>,
    /// The bytes of all items.
    pub bytes: u64,
    /// The sum of what its choices lose alone.
    pub sum: f64,
    /// What the model with all of them loses.
    pub loss: Loss,
    /// Whether the condition holds.
    pub holds: bool,
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Every mix that was measured, in that order.
    pub measured: Vec<Measured>,
    /// Why there are no more.
    pub stopped: Stopped,
}

impl Found {
    /// The mixes that hold, the smallest first; of equally large ones, the one that loses less.
    pub fn holding(&self) -> Vec<&Measured> {
        let mut all: Vec<&Measured> = self.measured.iter().filter(|measured| measured.holds).collect();
        all.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.loss.loss.total_cmp(&b.loss.loss)));
        all
    }
}

/// The bytes and the losses alone of a mix; `None` where a pick is none of its item's choices.
pub fn sums(items: &[Vec<Choice>], picks: &[usize]) -> Option<(u64, f64)> {
    let choices = items.iter().zip(picks).map(|(choices, pick)| choices.get(*pick));
    choices.into_iter().try_fold((0_u64, 0.0), |(bytes, loss), choice| {
        let choice = choice?;
        Some((bytes.saturating_add(choice.bytes), loss + choice.loss))
    })
}

/// The smallest mix that holds, as far as bisecting finds it: of each budget of bytes, the mix of the least sum of losses is measured, until one that
/// holds and one that does not are at most `tolerance` bytes apart.
///
/// `known` are mixes that were measured before. A mix that takes nothing but `untouched` of each item (the float model) holds and is never measured.
///
/// # Errors
/// Those of `measure`.
pub fn smallest<E>(
    items: &[Vec<Choice>],
    known: Vec<(Vec<usize>, Loss)>,
    untouched: usize,
    tolerance: u64,
    holds: &dyn Fn(&Loss) -> bool,
    measure: &mut dyn FnMut(&Mix) -> Result<Loss, E>,
) -> Result<Found, E> {
    let known = known.into_iter().filter_map(|(picks, loss)| {
        let (bytes, sum) = sums(items, &picks)?;
        let holds = holds(&loss);
        Some(Measured { picks, bytes, sum, loss, holds })
    });
    let mut measured: Vec<Measured> = known.collect();
    let fewest = items.iter().map(|choices| choices.iter().map(|choice| choice.bytes).min().unwrap_or_default());
    let fewest = fewest.fold(0_u64, u64::saturating_add);
    let best = |measured: &[Measured]| measured.iter().filter(|m| m.holds).map(|m| m.bytes).min();
    let all = || least(items, u64::MAX).map_or(fewest, |mix| mix.bytes);
    // Nothing fits below `low`, or what fits best there does not hold.
    let (mut low, mut high) = (fewest, best(&measured).unwrap_or_else(all));
    let mut stopped = Stopped::Smallest;
    // The smallest of all is worth a run: few bits may do.
    let mut budget = fewest;
    while let Some(mix) = least(items, budget) {
        let does_hold = if mix.picks.iter().all(|pick| *pick == untouched) {
            true
        } else if let Some(known) = measured.iter().find(|measured| measured.picks == mix.picks) {
            known.holds
        } else {
            let loss = measure(&mix)?;
            let does_hold = holds(&loss);
            let Mix { picks, bytes, loss: sum, .. } = mix.clone();
            measured.push(Measured { picks, bytes, sum, loss, holds: does_hold });
            does_hold
        };
        if does_hold {
            high = mix.bytes;
        } else {
            (low, stopped) = (budget.saturating_add(1), Stopped::Converged);
        }
        if high.saturating_sub(low) <= tolerance {
            break;
        }
        budget = low + (high - low) / 2;
    }
    // What was known before may not be the best of its bytes.
    if let Some(mix) = best(&measured).and_then(|bytes| least(items, bytes))
        && measured.iter().all(|known| known.picks != mix.picks)
    {
        let loss = measure(&mix)?;
        let holds = holds(&loss);
        measured.push(Measured { picks: mix.picks, bytes: mix.bytes, sum: mix.loss, loss, holds });
    }
    Ok(Found { measured, stopped })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Metrics;
    use crate::sensitivity::{OutputLoss, RankedBy};

    fn loss(kl: f64) -> Loss {
        let error = Metrics { sqnr_db: None, max_error: 0.0, cosine: 1.0, mse: kl };
        Loss::new(RankedBy::Kl, vec![OutputLoss { kl: Some(kl), error, top_1: None, accuracy: None }])
    }

    /// Items with 8 and 4 bits and float.
    fn items(of: &[(u64, f64)]) -> Vec<Vec<Choice>> {
        let at = |bytes, loss| Choice { bytes, loss };
        of.iter().map(|(n, loss)| vec![at(*n, loss / 256.0), at(n / 2, *loss), at(4 * n, 0.0)]).collect()
    }

    proptest! {
        /// Where the whole is the sum of its parts, what is found is the smallest that holds, to the tolerance.
        #[test]
        fn the_smallest_that_holds_is_found(
            of in prop::collection::vec((2_u64..100, 0.001..1.0_f64), 1..7),
            limit in 0.0..2.0_f64,
            tolerance in 0_u64..20,
        ) {
            let items = items(&of);
            let mut runs = 0;
            let found = smallest::<()>(&items, Vec::new(), 2, tolerance, &|loss| loss.loss <= limit, &mut |mix| {
                runs += 1;
                Ok(loss(mix.loss))
            }).unwrap();
            // Each run halves what is left, of at most 4 · 100 · 6 bytes, but for the first and the last.
            prop_assert!(runs <= 14 && runs == found.measured.len(), "{} runs", runs);
            let mut smallest = u64::MAX;
            for mut number in 0..3_usize.pow(u32::try_from(of.len()).unwrap()) {
                let picks: Vec<usize> = of.iter().map(|_| { let pick = number % 3; number /= 3; pick }).collect();
                let (bytes, sum) = sums(&items, &picks).unwrap();
                if sum <= limit && picks.iter().any(|pick| *pick != 2) {
                    smallest = smallest.min(bytes);
                }
            }
            // Where nothing is found, nothing holds, or only what is no farther from the float model than the tolerance.
            let float: u64 = of.iter().map(|(n, _)| 4 * n).sum();
            let bytes = found.holding().first().map_or(float, |best| best.bytes);
            prop_assert!(bytes <= smallest.saturating_add(tolerance), "{} {}", bytes, smallest);
        }
    }

    #[test]
    fn what_is_known_is_not_measured_again() {
        let items = items(&[(100, 0.5), (100, 0.1)]);
        let known = vec![(vec![0, 0], loss(0.0)), (vec![1, 1], loss(0.6))];
        let mut tried = Vec::new();
        let found = smallest::<()>(&items, known.clone(), 2, 1, &|loss| loss.loss < 0.2, &mut |mix| {
            tried.push(mix.picks.clone());
            Ok(loss(mix.loss))
        });
        let found = found.unwrap();
        assert_eq!(tried, [[0, 1]]);
        assert_eq!((found.measured.len(), found.stopped), (3, Stopped::Converged));
        assert_eq!(found.holding()[0].picks, [0, 1]);
        // All at the fewest bits: nothing is left to try.
        let found = smallest::<()>(&items, known.clone(), 2, 1, &|_| true, &mut |_| Err(())).unwrap();
        assert_eq!((found.holding()[0].picks.as_slice(), found.stopped), (&[1, 1][..], Stopped::Smallest));
        // Where more bits take as much, they are taken: the same bits everywhere are not the best of their bytes.
        let alike = [items[0].clone(), vec![Choice { bytes: 50, loss: 0.01 }, Choice { bytes: 50, loss: 0.1 }]];
        let found =
            smallest::<()>(&alike, known, 2, 1, &|loss| loss.loss < 0.7, &mut |mix| Ok(loss(mix.loss))).unwrap();
        let best = found.holding()[0];
        assert_eq!((best.picks.as_slice(), best.bytes, found.stopped), (&[1, 0][..], 100, Stopped::Smallest));
        // Nothing holds but the float model.
        let found = smallest::<()>(&items, Vec::new(), 2, 1, &|_| false, &mut |mix| Ok(loss(mix.loss))).unwrap();
        assert!(found.holding().is_empty());
        assert_eq!(smallest(&items, Vec::new(), 2, 1, &|_| false, &mut |_| Err("no")), Err("no"));
    }
}
