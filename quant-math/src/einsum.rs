//! The channels of a weight that an einsum reads, by its equation: the label that the weight shares with the output alone.

/// The channel axis of `operand`, counted from 0 and of rank `rank`, in an equation as TensorFlow's `Einsum` and `torch.einsum` read it:
/// without `->`, the labels that stand once are the output; `...` stands for any number of axes.
///
/// # Errors
/// No label alone is the channels', or the equation does not fit: why, as words before which a colon can stand.
pub fn channel_axis(equation: &str, operand: usize, rank: usize) -> Result<usize, String> {
    read(equation, operand, rank).map_err(|why| format!("{why} its equation `{equation}`"))
}

fn read(equation: &str, operand: usize, rank: usize) -> Result<usize, String> {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = text.split_once("->").map_or((text.as_str(), None), |(inputs, out)| (inputs, Some(out)));
    let Some(own) = inputs.split(',').nth(operand) else {
        return Err(format!("there is no operand {operand}, counted from 0, in"));
    };
    let labels = own.replacen("...", "", 1);
    if !labels.bytes().all(|label| label.is_ascii_alphabetic()) {
        return Err("there is something else than labels in".to_owned());
    }
    // What the dots stand for.
    let dots = rank.checked_sub(labels.len()).filter(|dots| *dots == 0 || labels.len() < own.len());
    let Some(dots) = dots else { return Err(format!("the labels do not fit a weight of rank {rank} in")) };
    let is_channel = |label: char| {
        let once = inputs.chars().filter(|other| *other == label).count() == 1;
        output.map_or(once, |output| {
            let others = inputs.split(',').enumerate().filter(|(at, _)| *at != operand);
            output.contains(label) && !others.into_iter().any(|(_, other)| other.contains(label))
        })
    };
    let found: Vec<(usize, char)> = labels.chars().enumerate().filter(|(_, label)| is_channel(*label)).collect();
    match found.as_slice() {
        [(at, _)] => Ok(if own.find("...").is_some_and(|front| *at >= front) { at + dots } else { *at }),
        [] => Err("no label is in the weight and the output alone in".to_owned()),
        several => {
            let several: Vec<String> = several.iter().map(|(_, label)| format!("`{label}`")).collect();
            Err(format!("{} are in the weight and the output alone in", several.join(" and ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_label_that_only_weight_and_output_have_is_the_channels() {
        for (equation, operand, rank, axis) in [
            ("ab,bc->ac", 1, 2, 1),
            ("ab,cb->ac", 1, 2, 0),
            ("oi, bi -> bo", 0, 2, 0),
            ("b i, i o -> b o", 1, 2, 1),
            // A weight for each of the heads, which the input has too.
            ("bhi,hio->bho", 1, 3, 2),
            ("bij,bjk->bik", 1, 3, 2),
            // A third operand.
            ("bi,io,b->bo", 1, 2, 1),
        ] {
            assert_eq!(channel_axis(equation, operand, rank), Ok(axis), "{equation}");
        }
    }

    #[test]
    fn dots_stand_for_the_axes_that_have_no_label() {
        for (equation, operand, rank, axis) in [
            ("...i,io->...o", 1, 2, 1),
            ("...j,kj->...k", 1, 2, 0),
            ("bi,o...i->bo", 1, 4, 0),
            ("bi,i...o->bo", 1, 4, 3),
            ("bi,...io->...bo", 1, 4, 3),
            // For none.
            ("bi,i...o->bo", 1, 2, 1),
        ] {
            assert_eq!(channel_axis(equation, operand, rank), Ok(axis), "{equation}");
        }
    }

    #[test]
    fn without_an_output_the_labels_that_stand_once_are_it() {
        assert_eq!(channel_axis("ij,jk", 1, 2), Ok(1));
        assert_eq!(channel_axis("ij,kj", 1, 2), Ok(0));
        let several = channel_axis("ij,jkl", 1, 3).unwrap_err();
        assert_eq!(several, "`k` and `l` are in the weight and the output alone in its equation `ij,jkl`");
    }

    #[test]
    fn what_is_not_clear_is_told() {
        for (equation, operand, rank, why) in [
            ("abc,cde->abde", 1, 3, "`d` and `e` are in the weight and the output alone in"),
            ("ij,jkl->ikl", 1, 3, "`k` and `l` are in the weight and the output alone in"),
            ("ab,ab->ab", 1, 2, "no label is in the weight and the output alone in"),
            // The diagonal.
            ("ab,bcc->ac", 1, 3, "`c` and `c` are in the weight and the output alone in"),
            ("ij,j->i", 2, 2, "there is no operand 2, counted from 0, in"),
            ("", 1, 2, "there is no operand 1, counted from 0, in"),
            ("ab,bc->ac", 1, 3, "the labels do not fit a weight of rank 3 in"),
            ("ab,b...cd->acd", 1, 2, "the labels do not fit a weight of rank 2 in"),
            ("ab,b.c->ac", 1, 3, "there is something else than labels in"),
            ("ab,b......c->ac", 1, 3, "there is something else than labels in"),
            ("ab,bß->aß", 1, 2, "there is something else than labels in"),
        ] {
            let expected = format!("{why} its equation `{equation}`");
            assert_eq!(channel_axis(equation, operand, rank), Err(expected), "{equation}");
        }
    }
}
