//! "Did you mean …?"

/// The candidate nearest to `word`, if one is near enough to be what was meant: a third of its letters may differ,
/// but no more than four.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer words are nobody's slip of the pen, and the distance costs the product of both lengths.
    const LONGEST: usize = 256;
    if word.len() > LONGEST {
        return None;
    }
    let folded = word.to_ascii_lowercase();
    let near = |candidate: &&str| candidate.len().abs_diff(word.len()) <= allowed(word);
    candidates
        .into_iter()
        .filter(near)
        .map(|candidate| (strsim::osa_distance(&folded, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed(word))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn allowed(word: &str) -> usize {
    (word.len() / 3).clamp(1, 4)
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
    }

    #[test]
    fn words_are_joined_for_a_message() {
        assert_eq!(one_of(&["a"]), "`a`");
        assert_eq!(one_of(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
