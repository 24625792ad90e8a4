//! That twice the input is twice the work: what a piece of work asks of memory at n, 2n and 4n of an input's worst shape. Work that
//! grows faster than its input shows there too, where it asks for memory on the way.

use super::peak::cost_of;

/// An input of a size: a model's bytes, or another.
pub(crate) type Shape<'s, M = Vec<u8>> = (&'s str, &'s dyn Fn(usize) -> M);
/// What is done with it.
pub(crate) type Verb<'v, M = Vec<u8>> = (&'v str, &'v dyn Fn(&M));

/// Each verb on each shape. Fails for what grows faster than its input.
pub(crate) fn check<M>(shapes: &[Shape<'_, M>], verbs: &[Verb<'_, M>], size: usize) {
    // Tables that are made once per process are no part of it.
    for (_, shape) in shapes {
        let model = shape(2);
        for (_, verb) in verbs {
            verb(&model);
        }
    }
    let mut wrong = Vec::new();
    for (name, shape) in shapes {
        let models = [shape(size), shape(2 * size), shape(4 * size)];
        for (verb_name, verb) in verbs {
            let costs = models.each_ref().map(|model| cost_of(|| verb(model)));
            let (peaks, totals) = (costs.map(|((), peak, _)| peak), costs.map(|((), _, total)| total));
            for (what, [one, two, four]) in [("at a time", peaks), ("in all", totals)] {
                // Room for a logarithm, for vectors that have just doubled, and for what does not depend on the model.
                let room = 64 << 10;
                if two > one * 11 / 4 + room || four > one * 11 / 2 + room {
                    wrong.push(format!(
                        "{verb_name} of {size} {name}, twice and four times as many: {one}, {two}, {four} bytes {what}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
