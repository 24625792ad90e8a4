//! The mix of choices with the least sum of losses that fits into so many bytes: a knapsack with one choice of each item.
//!
//! Choices that another one beats are left out. The relaxation to fractions of choices (Sinha and Zoltners 1979: steps along the lower convex
//! hull of each item, the steepest first) gives a lower bound and, at the step that no longer fits, the price of a byte. A dynamic program
//! then goes through the items, and keeps of all partial mixes those that no other beats in both bytes and loss, and whose loss at that price
//! (Lagrange) can still come below the best mix known. So the result is the best there is, unless there were too many partial mixes to keep;
//! then the bound says how far it can be from it.

/// What can be done with an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The bytes that it takes.
    pub bytes: u64,
    /// What it loses alone, at least 0. A choice whose loss is not finite is never taken.
    pub loss: f64,
}

/// A choice for each item.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// For each item the index of its choice.
    pub picks: Vec<usize>,
    /// The sum of their bytes.
    pub bytes: u64,
    /// The sum of their losses.
    pub loss: f64,
    /// No mix of at most as many bytes as were allowed has a smaller sum of losses than this.
    pub bound: f64,
}

/// A choice that no other of its item beats.
#[derive(Debug, Clone, Copy)]
struct Kept {
    index: usize,
    bytes: u64,
    loss: f64,
}

/// A mix of the first items.
#[derive(Debug, Clone, Copy)]
struct State {
    bytes: u64,
    loss: f64,
    /// The mix of one item less, and the choice of the last.
    before: usize,
    pick: usize,
}

/// Partial mixes that are kept for each item: 32 bytes each.
const MOST_STATES: usize = 1 << 14;

/// The mix of the least sum of losses in at most `budget` bytes; of equal ones, one of the fewest bytes. `None` where nothing fits, or an item has
/// no choice of a finite loss.
///
/// The same numbers give the same mix.
///
/// ```
/// use quant_math::allocation::{Choice, least};
///
/// let choice = |bytes, loss| Choice { bytes, loss };
/// let items = [vec![choice(8, 0.0), choice(4, 1.0)], vec![choice(80, 0.1), choice(40, 0.3)]];
/// let mix = least(&items, 60).unwrap();
/// assert_eq!((mix.picks, mix.bytes), (vec![0, 1], 48));
/// assert!(least(&items, 43).is_none());
/// ```
pub fn least(items: &[Vec<Choice>], budget: u64) -> Option<Mix> {
    let kept: Vec<Vec<Kept>> = items.iter().map(|choices| unbeaten(choices)).collect();
    let smallest = kept.iter().map(|choices| choices.first().copied()).collect::<Option<Vec<Kept>>>()?;
    let fewest = smallest.iter().fold(0_u64, |sum, choice| sum.saturating_add(choice.bytes));
    if fewest > budget {
        return None;
    }
    let Relaxed { bound, price, fits } = relaxed(&kept, smallest, budget);
    let mut upper: f64 = fits.iter().map(|choice| choice.loss).sum();
    // Room for sums that are rounded in another order.
    let slack = 1e-9 * upper + 1e-12 * priced(budget, 0.0, price);
    // What the items from each on come to at the price of a byte, and what the items before may take.
    let mut rest = vec![(0.0, budget)];
    for choices in kept.iter().rev() {
        let (behind, limit) = rest.last().copied().unwrap_or_default();
        let prices = choices.iter().map(|choice| priced(choice.bytes, choice.loss, price));
        let fewest = choices.first().map_or(0, |choice| choice.bytes);
        rest.push((behind + prices.fold(f64::INFINITY, f64::min), limit.saturating_sub(fewest)));
    }
    rest.reverse();
    let mut is_whole = true;
    let mut layers: Vec<Vec<State>> = vec![vec![State { bytes: 0, loss: 0.0, before: 0, pick: 0 }]];
    for (at, choices) in kept.iter().enumerate() {
        let (behind, limit) = rest.get(at + 1).copied().unwrap_or_default();
        let least_of = |state: &State| state.loss + behind - priced(budget.saturating_sub(state.bytes), 0.0, price);
        let before = layers.last().map(Vec::as_slice).unwrap_or_default();
        let mut states: Vec<State> = Vec::with_capacity(before.len() * choices.len());
        for (number, state) in before.iter().enumerate() {
            for choice in choices {
                let (bytes, loss) = (state.bytes.saturating_add(choice.bytes), state.loss + choice.loss);
                let next = State { bytes, loss, before: number, pick: choice.index };
                if bytes <= limit && least_of(&next) <= upper + slack {
                    states.push(next);
                }
            }
        }
        states.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.loss.total_cmp(&b.loss)));
        let mut lowest = f64::INFINITY;
        states.retain(|state| {
            let is_better = state.loss < lowest;
            lowest = lowest.min(state.loss);
            is_better
        });
        if states.len() > MOST_STATES {
            is_whole = false;
            states.sort_by(|a, b| least_of(a).total_cmp(&least_of(b)).then(a.bytes.cmp(&b.bytes)));
            states.truncate(MOST_STATES);
            states.sort_by_key(|state| state.bytes);
            // What was known to be reached may be gone.
            upper = f64::INFINITY;
        }
        layers.push(states);
    }
    // Sorted by bytes and without any that another beats: the last has the least loss.
    let (end, last) = layers.last().and_then(|states| states.iter().enumerate().next_back())?;
    let (mut bytes, mut loss) = (last.bytes, last.loss);
    let mut picks = vec![0; kept.len()];
    let mut number = end;
    for (at, pick) in picks.iter_mut().enumerate().rev() {
        let state = layers.get(at + 1).and_then(|states| states.get(number))?;
        (*pick, number) = (state.pick, state.before);
    }
    if is_whole {
        return Some(Mix { picks, bytes, loss, bound: loss });
    }
    let simple: f64 = fits.iter().map(|choice| choice.loss).sum();
    if simple < loss {
        picks = fits.iter().map(|choice| choice.index).collect();
        (bytes, loss) = (fits.iter().map(|choice| choice.bytes).sum(), simple);
    }
    Some(Mix { picks, bytes, loss, bound: bound.min(loss) })
}

#[expect(clippy::cast_precision_loss, reason = "a bound, with room for rounding")]
fn priced(bytes: u64, loss: f64, price: f64) -> f64 {
    loss + price * bytes as f64
}

/// The choices that no other one beats, the fewest bytes first; each next one has less loss.
fn unbeaten(choices: &[Choice]) -> Vec<Kept> {
    let mut all: Vec<Kept> = choices
        .iter()
        .enumerate()
        .filter(|(_, choice)| choice.loss.is_finite())
        .map(|(index, choice)| Kept { index, bytes: choice.bytes, loss: choice.loss.max(0.0) })
        .collect();
    all.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.loss.total_cmp(&b.loss)));
    let mut lowest = f64::INFINITY;
    all.retain(|choice| {
        let is_better = choice.loss < lowest;
        lowest = lowest.min(choice.loss);
        is_better
    });
    all
}

/// The best with fractions of choices.
struct Relaxed {
    /// Its loss, less what rounding may be.
    bound: f64,
    /// The loss that a byte more would save there.
    price: f64,
    /// A mix of whole choices that fits.
    fits: Vec<Kept>,
}

/// A step along the hull of an item.
#[derive(Debug, Clone, Copy)]
struct Step {
    item: usize,
    to: Kept,
    bytes: u64,
    slope: f64,
}

/// From the smallest choices, steps along the hulls, the steepest first.
#[expect(clippy::cast_precision_loss, reason = "a bound, with room for rounding")]
fn relaxed(kept: &[Vec<Kept>], smallest: Vec<Kept>, budget: u64) -> Relaxed {
    let mut steps: Vec<Step> = kept.iter().enumerate().flat_map(|(item, choices)| hull(item, choices)).collect();
    // Steps of one item have falling slopes, and stay in order where they are equal.
    steps.sort_by(|a, b| b.slope.total_cmp(&a.slope));
    let sum = |choices: &[Kept]| choices.iter().map(|choice| choice.loss).sum::<f64>();
    let mut left = budget.saturating_sub(smallest.iter().map(|choice| choice.bytes).sum());
    let mut fits = smallest;
    let mut best: Option<(f64, f64)> = None;
    let mut ended = vec![false; kept.len()];
    for Step { item, to, bytes, slope } in steps {
        let (Some(place), Some(ended)) = (fits.get_mut(item), ended.get_mut(item)) else { continue };
        if bytes > left {
            *ended = true;
            if best.is_none() {
                best = Some((sum(&fits) - slope * left as f64, slope));
            }
        } else if !*ended {
            left -= bytes;
            *place = to;
        }
    }
    let (loss, price) = best.unwrap_or_else(|| (sum(&fits), 0.0));
    let bound = (loss - 1e-9 * sum(&fits) - 1e-12 * priced(budget, 0.0, price)).max(0.0);
    Relaxed { bound, price, fits }
}

/// The steps between the corners of the lower convex hull.
#[expect(clippy::cast_precision_loss, reason = "a slope")]
fn hull(item: usize, choices: &[Kept]) -> Vec<Step> {
    let mut corners: Vec<Kept> = Vec::new();
    let slope = |a: &Kept, b: &Kept| (a.loss - b.loss) / (b.bytes - a.bytes) as f64;
    for choice in choices {
        while let [.., first, second] = corners.as_slice()
            && slope(second, choice) >= slope(first, second)
        {
            corners.pop();
        }
        corners.push(*choice);
    }
    let step = |pair: &[Kept]| match pair {
        [a, b] => Some(Step { item, to: *b, bytes: b.bytes - a.bytes, slope: slope(a, b) }),
        _ => None,
    };
    corners.windows(2).filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The best of all mixes, summed in the order of the items.
    fn by_force(items: &[Vec<Choice>], budget: u64) -> Option<(u64, f64)> {
        let mut all = vec![(0_u64, 0.0_f64)];
        for choices in items {
            let usable = choices.iter().filter(|choice| choice.loss.is_finite());
            let usable: Vec<&Choice> = usable.collect();
            all = all.iter().flat_map(|sum| usable.iter().map(|c| (sum.0 + c.bytes, sum.1 + c.loss))).collect();
        }
        all.retain(|sum| sum.0 <= budget);
        all.into_iter().min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)))
    }

    fn items() -> impl Strategy<Value = Vec<Vec<Choice>>> {
        // Few distinct numbers make ties; powers of ten make sums that round.
        let loss = prop_oneof![
            (0_u32..6).prop_map(f64::from),
            (0.0..1.0_f64, -12..3_i32).prop_map(|(loss, power)| loss * 10.0_f64.powi(power)),
            Just(f64::INFINITY),
        ];
        let choice = (0_u64..40, loss).prop_map(|(bytes, loss)| Choice { bytes, loss });
        prop::collection::vec(prop::collection::vec(choice, 1..5), 0..6)
    }

    proptest! {
        #[test]
        fn nothing_among_all_mixes_is_better(items in items(), budget in 0_u64..150) {
            let (found, expected) = (least(&items, budget), by_force(&items, budget));
            prop_assert_eq!(found.is_some(), expected.is_some());
            if let (Some(mix), Some((bytes, loss))) = (found, expected) {
                // Summed in the same order: the least sum has the same bits.
                prop_assert!(mix.loss.to_bits() == loss.to_bits() && mix.bytes == bytes, "{:?}, {} {}", mix, loss, bytes);
                let picked = |of: &dyn Fn(&Choice) -> f64| items.iter().zip(&mix.picks).fold(0.0, |sum, (i, p)| sum + of(&i[*p]));
                prop_assert_eq!(picked(&|choice| choice.loss).to_bits(), loss.to_bits());
                prop_assert_eq!(items.iter().zip(&mix.picks).map(|(i, p)| i[*p].bytes).sum::<u64>(), mix.bytes);
                prop_assert_eq!(mix.bound.to_bits(), mix.loss.to_bits());
            }
        }

        #[test]
        fn fractions_are_never_above_the_best_mix(items in items(), budget in 0_u64..150) {
            let kept: Vec<Vec<Kept>> = items.iter().map(|choices| unbeaten(choices)).collect();
            let smallest: Option<Vec<Kept>> = kept.iter().map(|choices| choices.first().copied()).collect();
            if let (Some(smallest), Some((_, loss))) = (smallest, by_force(&items, budget)) {
                let Relaxed { bound, fits, .. } = relaxed(&kept, smallest, budget);
                prop_assert!(bound <= loss, "{} {}", bound, loss);
                prop_assert!(fits.iter().map(|choice| choice.bytes).sum::<u64>() <= budget);
            }
        }
    }

    /// As many items as a large model has, whose partial mixes are far more than are kept.
    #[test]
    fn of_many_items_it_is_near_the_bound() {
        let mut seed = 1_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let items: Vec<Vec<Choice>> = (0..300)
            .map(|_| {
                let elements = 1000 + next(1_000_000);
                let loss = f64::from(u32::try_from(next(1_000_000)).unwrap()) / 1e6 + 1e-9;
                // 8, 4 and 2 bits, and float: each bit less is four times the noise.
                let at = |bytes, loss| Choice { bytes, loss };
                vec![
                    at(elements, loss / 65536.0),
                    at(elements / 2, loss / 256.0),
                    at(elements / 4, loss / 16.0),
                    at(4 * elements, 0.0),
                ]
            })
            .collect();
        let all: u64 = items.iter().map(|choices| choices[0].bytes).sum();
        for share in [30, 45, 60, 90, 100, 200, 399] {
            let mix = least(&items, all * share / 100).unwrap();
            assert!(mix.bytes <= all * share / 100);
            assert!(mix.bound <= mix.loss && mix.loss <= mix.bound * 1.001, "{share}: {} {}", mix.loss, mix.bound);
        }
        assert!(least(&items, all / 5).is_none());
        assert_eq!(least(&[], 0), Some(Mix { picks: Vec::new(), bytes: 0, loss: 0.0, bound: 0.0 }));
        assert_eq!(least(&[Vec::new()], 9), None);
    }
}
