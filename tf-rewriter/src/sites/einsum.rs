//! The channels of an `Einsum`'s weight, by its equation: the label that the weight shares with the output alone.

use crate::Error;
use crate::graph::Graph;
use crate::index::NodeId;

/// What an equation says of the weight's axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChannelLabel {
    /// This axis.
    Axis(usize),
    /// None alone, and why.
    Unclear(String),
}

/// The channel axis of the weight, of rank `rank`, that an `Einsum` reads at `input`.
///
/// # Errors
/// Damaged attributes.
pub(crate) fn channel_label(graph: &Graph, op: NodeId, input: usize, rank: usize) -> Result<ChannelLabel, Error> {
    let node = graph.index().node(op);
    let equation = node.map(|node| node.attr_bytes(graph.bytes(), "equation")).transpose()?.flatten();
    Ok(read(equation.map_or("", |span| span.text(graph.bytes())), input, rank))
}

fn read(equation: &str, input: usize, rank: usize) -> ChannelLabel {
    let unclear = |why: String| ChannelLabel::Unclear(format!("{why} its equation `{equation}`"));
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let sides = text.split_once("->").and_then(|(inputs, output)| Some((inputs.split_once(',')?, output)));
    let Some(((first, second), output)) = sides.filter(|((_, second), _)| !second.contains(',')) else {
        return unclear("there are no two inputs and an output in".to_owned());
    };
    let (own, other) = if input == 0 { (first, second) } else { (second, first) };
    let (front, back) = own.split_once("...").unwrap_or((own, ""));
    let labels = || front.chars().chain(back.chars());
    let is_channel = |label: &char| output.contains(*label) && !other.contains(*label);
    let found: Vec<char> = labels().filter(is_channel).collect();
    match found.as_slice() {
        [label] => {
            let at = labels().position(|other| other == *label).unwrap_or(0);
            // What the dots stand for lies between.
            let dots = if own.contains("...") { rank.saturating_sub(labels().count()) } else { 0 };
            ChannelLabel::Axis(if at < front.len() { at } else { at + dots })
        }
        [] => unclear("no label is in the weight and the output alone in".to_owned()),
        several => {
            let several = several.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" and ");
            unclear(format!("{several} are in the weight and the output alone in"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_label_that_only_weight_and_output_have_is_the_channels() {
        for (equation, input, rank, axis) in [
            ("ab,bc->ac", 1, 2, 1),
            ("ab,cb->ac", 1, 2, 0),
            ("oi, bi -> bo", 0, 2, 0),
            ("...i,io->...o", 1, 2, 1),
            // A weight for each of the heads, which the input has too.
            ("bhi,hio->bho", 1, 3, 2),
            ("bi,o...i->bo", 1, 4, 0),
            ("bi,i...o->bo", 1, 4, 3),
        ] {
            assert_eq!(read(equation, input, rank), ChannelLabel::Axis(axis), "{equation}");
        }
    }

    #[test]
    fn several_or_none_are_told() {
        for (equation, why) in [
            ("abc,cde->abde", "`d` and `e` are in the weight and the output alone in its equation"),
            ("ab,ab->ab", "no label is in the weight and the output alone in its equation"),
            ("ab,bcc->ac", "`c` and `c` are in"),
            ("ab,bc", "no two inputs and an output"),
            ("ab,bc,cd->ad", "no two inputs and an output"),
            ("", "no two inputs and an output"),
        ] {
            let ChannelLabel::Unclear(text) = read(equation, 1, 3) else { panic!("{equation}") };
            assert!(text.contains(why), "{equation}: {text}");
        }
    }
}
