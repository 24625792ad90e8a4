//! Which dimension of an array is the samples', told from the shapes alone.
//!
//! | the array has | it is fed |
//! | --- | --- |
//! | one dimension more than its input | sample by sample: the outermost dimension counts them |
//! | as many, and the outermost is a batch | in batches |
//! | as many, and it is no batch | whole, in every run |
//!
//! The outermost dimension of an input is a batch, unless the input is a scalar; has fixed dimensions that the array has, too, beside
//! others with another number of samples; or looks like one sample: an image (`[?, ?, 3]`), a signal (`[?]`), or what the graph itself
//! puts a dimension in front of. Where the array of such an input has as many rows as the labels or another array have samples, it is a
//! batch all the same.

/// How an array goes into an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Rows of it in each run; where the input says so, this number of them.
    Batches(Option<u64>),
    /// One row of it in each run, without the dimension of the rows.
    Single,
    /// All of it in each run.
    Whole,
}

/// An input, and the array for it.
#[derive(Debug, Clone)]
pub(super) struct Pair<'a> {
    /// The input's dimensions, where they are known.
    pub(super) wanted: Option<&'a [Option<i64>]>,
    /// The array's.
    pub(super) found: &'a [u64],
    /// Whether the graph puts a dimension in front of the input.
    pub(super) gets_front: bool,
}

/// What the shapes of one pair alone say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    Sure(Role),
    /// A batch of so many rows, or a sample: the others decide. The flag says which where they do not.
    Open(Role, bool),
}

impl Pair<'_> {
    /// `None`: the array does not fit.
    fn guess(&self) -> Option<Guess> {
        let rows = self.found.first().copied();
        let Some(wanted) = self.wanted else {
            return Some(Guess::Sure(if rows.is_none() { Role::Whole } else { Role::Batches(None) }));
        };
        let fits = |dims: &[Option<i64>], found: &[u64]| {
            let same = |(dim, found): (&Option<i64>, &u64)| dim.is_none_or(|dim| u64::try_from(dim) == Ok(*found));
            dims.len() == found.len() && dims.iter().zip(found).all(same)
        };
        let (Some(rows), Some(inner)) = (rows, self.found.get(1..)) else {
            return wanted.is_empty().then_some(Guess::Sure(Role::Whole));
        };
        if fits(wanted, inner) {
            return Some(Guess::Sure(Role::Single));
        }
        let (first, rest) = wanted.split_first()?;
        if !fits(rest, inner) {
            return None;
        }
        let fixed = first.and_then(|dim| u64::try_from(dim).ok());
        let batch = Role::Batches(fixed);
        Some(match fixed {
            Some(fixed) if fixed == rows => Guess::Open(batch, !self.is_sample()),
            None if self.is_sample() => Guess::Open(batch, false),
            _ => Guess::Sure(batch),
        })
    }

    fn is_sample(&self) -> bool {
        let known = |dim: &Option<i64>| dim.is_some();
        match self.wanted {
            Some([first, second, Some(1 | 3 | 4)]) if known(first) == known(second) => true,
            Some([None]) => true,
            _ => self.gets_front,
        }
    }
}

/// The role of every array. `labels` is the number of labels, where there are some.
///
/// # Errors
/// The position of the first array that does not fit its input.
pub(super) fn roles(pairs: &[Pair<'_>], labels: Option<u64>) -> Result<Vec<Role>, usize> {
    let guesses: Vec<Guess> =
        pairs.iter().enumerate().map(|(at, pair)| pair.guess().ok_or(at)).collect::<Result<_, _>>()?;
    let counted = |(pair, guess): (&Pair<'_>, &Guess)| match guess {
        Guess::Sure(Role::Batches(_) | Role::Single) => pair.found.first().copied(),
        _ => None,
    };
    let sure = pairs.iter().zip(&guesses).find_map(counted);
    let decide = |(pair, guess): (&Pair<'_>, &Guess)| match (*guess, sure.or(labels)) {
        (Guess::Sure(role), _) => role,
        // Beside a batch of any size, a fixed size that is the array's own is no batch.
        (Guess::Open(Role::Batches(Some(_)), _), _) if sure.is_some() && !fixed_alike(&guesses, *guess) => Role::Whole,
        (Guess::Open(batch, _), Some(samples)) if pair.found.first() == Some(&samples) => batch,
        (Guess::Open(..), Some(_)) | (Guess::Open(_, false), None) => Role::Whole,
        (Guess::Open(batch, true), None) => batch,
    };
    Ok(pairs.iter().zip(&guesses).map(decide).collect())
}

/// Whether some array surely is in batches of the fixed size that `open` would have.
fn fixed_alike(guesses: &[Guess], open: Guess) -> bool {
    guesses.iter().any(|guess| matches!((guess, open), (Guess::Sure(sure), Guess::Open(batch, _)) if *sure == batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&[Option<i64>], &[u64])], labels: Option<u64>) -> Vec<Role> {
        let pairs: Vec<Pair<'_>> =
            pairs.iter().map(|(wanted, found)| Pair { wanted: Some(wanted), found, gets_front: false }).collect();
        roles(&pairs, labels).unwrap()
    }

    const ANY: Option<i64> = None;

    #[test]
    fn one_dimension_more_is_the_samples() {
        assert_eq!(of(&[(&[ANY, ANY, Some(3)], &[6, 96, 64, 3])], None), [Role::Single]);
        assert_eq!(of(&[(&[Some(8), Some(8), Some(3)], &[6, 8, 8, 3])], None), [Role::Single]);
        assert_eq!(of(&[(&[], &[64])], None), [Role::Single]);
        assert_eq!(of(&[(&[Some(4), Some(2)], &[6, 4, 2])], None), [Role::Single]);
    }

    #[test]
    fn what_is_no_batch_is_fed_whole() {
        assert_eq!(of(&[(&[ANY, ANY, Some(3)], &[96, 64, 3])], None), [Role::Whole]);
        assert_eq!(of(&[(&[Some(8), Some(8), Some(3)], &[8, 8, 3])], None), [Role::Whole]);
        assert_eq!(of(&[(&[ANY], &[16_000])], None), [Role::Whole]);
        let x: (&[Option<i64>], &[u64]) = (&[ANY, Some(10)], &[64, 10]);
        let batch = Role::Batches(None);
        assert_eq!(of(&[x, (&[], &[]), (&[Some(3)], &[3])], None), [batch, Role::Whole, Role::Whole]);
        // Even where it has as many elements as there are samples.
        assert_eq!(of(&[(&[ANY, Some(10)], &[3, 10]), (&[Some(3)], &[3])], None), [batch, Role::Whole]);
    }

    #[test]
    fn batches_are_what_they_were() {
        let batch = Role::Batches(None);
        assert_eq!(of(&[(&[ANY, Some(8), Some(8), Some(1)], &[697, 8, 8, 1])], None), [batch]);
        assert_eq!(of(&[(&[ANY, ANY, ANY, Some(3)], &[5, 8, 8, 3])], None), [batch]);
        assert_eq!(of(&[(&[ANY, ANY], &[20, 128])], None), [batch]);
        // Signals with three channels, of a length that is known.
        assert_eq!(of(&[(&[ANY, Some(100), Some(3)], &[20, 100, 3])], None), [batch]);
        let four = Role::Batches(Some(4));
        assert_eq!(of(&[(&[Some(4), Some(8), Some(8), Some(3)], &[7, 8, 8, 3])], None), [four]);
        assert_eq!(of(&[(&[Some(4), Some(8), Some(8), Some(3)], &[4, 8, 8, 3])], None), [four]);
        assert_eq!(of(&[(&[Some(4), Some(8)], &[8, 8]), (&[Some(4)], &[8])], None), [four, four]);
        // Others tell what a shape alone leaves open.
        assert_eq!(of(&[(&[ANY], &[64]), (&[ANY, Some(2)], &[64, 2])], None), [batch, batch]);
        assert_eq!(of(&[(&[ANY, ANY, Some(3)], &[64, 20, 3])], Some(64)), [batch]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let pair = |wanted, found| Pair { wanted: Some(wanted), found, gets_front: false };
        for (wanted, found) in [
            (&[ANY, Some(8)][..], &[3, 9][..]),
            (&[ANY, Some(8)], &[8]),
            (&[Some(3)], &[2, 2, 3]),
            (&[ANY, Some(8)], &[]),
        ] {
            assert_eq!(roles(&[pair(&[], &[]), pair(wanted, found)], None), Err(1), "{wanted:?} {found:?}");
        }
    }

    #[test]
    fn an_unknown_rank_takes_a_single_number_whole() {
        let pair = |found| Pair { wanted: None, found, gets_front: false };
        assert_eq!(roles(&[pair(&[]), pair(&[5, 2])], None), Ok(vec![Role::Whole, Role::Batches(None)]));
    }
}
