//! "Did you mean …?"

use crate::steps;

/// The candidate nearest to `word`, if one is near enough to be what was meant: a third of its letters may differ,
/// but no more than four.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer words are nobody's slip of the pen.
    const LONGEST: usize = 256;
    if word.len() > LONGEST {
        return None;
    }
    let mut most = allowed(word);
    let word: Vec<char> = folded(word);
    let mut best = None;
    for candidate in candidates {
        steps::count(1);
        // A letter has at most four bytes.
        if candidate.len() > 4 * (word.len() + most) {
            continue;
        }
        if let Some(found) = distance(&word, &folded(candidate), most) {
            best = Some(candidate);
            match found.checked_sub(1) {
                Some(less) => most = less,
                None => break,
            }
        }
    }
    best
}

fn folded(word: &str) -> Vec<char> {
    word.chars().map(|c| c.to_ascii_lowercase()).collect()
}

fn allowed(word: &str) -> usize {
    (word.len() / 3).clamp(1, MOST)
}

/// The most letters that may differ.
const MOST: usize = 4;

/// Letters to put in, to take out, to change, or neighbours to swap until `a` is `b` (optimal string alignment), if it takes at most
/// `most`, which is at most [`MOST`].
///
/// Only the diagonals that can be reached with `most` are looked at: the work grows with the length, not with its square.
fn distance(a: &[char], b: &[char], most: usize) -> Option<usize> {
    /// The main diagonal and [`MOST`] on each side, and one more so that every cell has neighbours.
    const WIDTH: usize = 2 * MOST + 3;
    const MAIN: usize = MOST + 1;
    const FAR: usize = usize::MAX / 2;
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    // Cell `d` of row `i` is for the first `i` letters of `a` and the first `i + d - MAIN` of `b`.
    let (mut before, mut row) = ([FAR; WIDTH], [FAR; WIDTH]);
    for (column, cell) in row.iter_mut().skip(MAIN).take(most + 1).enumerate() {
        *cell = column;
    }
    for (i, x) in (1..).zip(a) {
        steps::count(WIDTH);
        let above = std::mem::replace(&mut row, [FAR; WIDTH]);
        let mut left = FAR;
        for d in MAIN - most..=MAIN + most {
            let Some(j) = (i + d).checked_sub(MAIN).filter(|j| *j <= b.len()) else { continue };
            let at = |row: &[usize; WIDTH], d: usize| row.get(d).copied().unwrap_or(FAR);
            let mut cell = (left + 1).min(at(&above, d + 1) + 1);
            match j.checked_sub(1).and_then(|j| b.get(j)) {
                None => cell = i,
                Some(y) => {
                    cell = cell.min(at(&above, d) + usize::from(x != y));
                    let last = |word: &[char], end: usize| end.checked_sub(2).and_then(|at| word.get(at).copied());
                    let swapped = last(a, i) == Some(*y) && last(b, j) == Some(*x);
                    if swapped {
                        cell = cell.min(at(&before, d) + 1);
                    }
                }
            }
            left = cell;
            if let Some(place) = row.get_mut(d) {
                *place = cell;
            }
        }
        if row.iter().chain(&above).all(|cell| *cell > most) {
            return None;
        }
        before = above;
    }
    row.get((b.len() + MAIN).checked_sub(a.len())?).copied().filter(|found| *found <= most)
}

/// `a`, `b` or `c`, for a message.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_found_and_another_word_is_not() {
        let keys = ["op_types", "op_names", "quant_bits", "q_bits", "exclude"];
        assert_eq!(nearest("op_type", keys), Some("op_types"));
        assert_eq!(nearest("OP_TYPES", keys), Some("op_types"));
        assert_eq!(nearest("quant_bit", keys), Some("quant_bits"));
        assert_eq!(nearest("exlcude", keys), Some("exclude"));
        assert_eq!(nearest("sparsity", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(10_000), keys), None);
        assert_eq!(nearest("kärnel", ["kernel", "kärnal"]), Some("kernel"), "the first of the nearest");
    }

    proptest::proptest! {
        #[test]
        fn the_distance_is_the_whole_tables_as_far_as_it_matters(a in "[ab]{0,12}", b in "[abc]{0,12}", most in 1..=MOST) {
            let whole = strsim::osa_distance(&a, &b);
            let letters = |word: &str| word.chars().collect::<Vec<_>>();
            proptest::prop_assert_eq!(distance(&letters(&a), &letters(&b), most), (whole <= most).then_some(whole));
        }
    }

    #[test]
    fn the_work_grows_with_the_length() {
        let counts = [64, 128, 256].map(|length| {
            let (a, b) = ("ab".repeat(length / 2), "ba".repeat(length / 2));
            steps::counted(|| assert!(nearest(&a, [b.as_str()]).is_some()))
        });
        let [first, second, third] = counts;
        assert!(first >= 64 && second <= first * 5 / 2 && third <= second * 5 / 2, "{counts:?}");
    }

    #[test]
    fn words_are_joined_for_a_message() {
        assert_eq!(one_of(&["a"]), "`a`");
        assert_eq!(one_of(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
