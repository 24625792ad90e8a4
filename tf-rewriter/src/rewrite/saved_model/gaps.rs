//! A message whose long stretches are left out: what is short is in memory, and the elements of large tensors stay the segments that they are.

use std::collections::BTreeMap;
use std::ops::Range;

use quant_math::metrics::Metrics;

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::wire::varint;
use crate::rewrite::splice::{self, Segment, total};

/// From so many bytes on, elements are left out.
const LONG: usize = 4096;

/// A message with gaps.
pub(super) struct Gapped {
    bytes: Vec<u8>,
    gaps: Vec<Gap>,
    /// The errors of weights that are short, by their slots.
    pub(super) errors: BTreeMap<usize, Metrics>,
}

/// A stretch that was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// Where it belongs in the bytes that are there.
    at: usize,
    length: usize,
    /// The number of its segment.
    pub(super) segment: usize,
}

/// A stretch of a part.
pub(super) enum Piece<'a> {
    Bytes(&'a [u8]),
    Gap(Gap),
}

/// A stretch of the message: bytes that are there, and the gaps among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: Range<usize>,
    gaps: Range<usize>,
}

/// A field of a message.
pub(super) struct GappedField {
    pub(super) number: u32,
    /// With its tag and length.
    pub(super) whole: Part,
    /// What it holds, where it has a length.
    pub(super) payload: Option<Part>,
    /// Its number, where it is one.
    pub(super) value: u64,
}

impl Gapped {
    /// The output that `segments` stand for, without long elements; without those of quantized weights however short they are, where `all` of
    /// them are to be left out.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(super) fn of(segments: &[Segment], graph: &Graph, all: bool) -> Result<Self, Error> {
        let (mut bytes, mut gaps, mut errors) = (Vec::new(), Vec::new(), BTreeMap::new());
        let is_long = |segment: &Segment| match segment {
            Segment::Elsewhere(_, length) => *length >= LONG,
            Segment::Weights(weights) => weights.len() >= if all { 1 } else { LONG },
            Segment::Copy(_) | Segment::Bytes(_) => false,
        };
        let short: usize = segments.iter().filter(|segment| !is_long(segment)).map(Segment::len).sum();
        graph.budget().take(short as u64, "the graph without its weights")?;
        bytes.reserve_exact(short);
        for (number, segment) in segments.iter().enumerate() {
            if is_long(segment) {
                gaps.push(Gap { at: bytes.len(), length: segment.len(), segment: number });
            } else {
                errors.extend(splice::write(std::slice::from_ref(segment), graph, &mut bytes, &|_| {})?);
            }
        }
        debug_assert_eq!(bytes.len() + gaps.iter().map(|gap| gap.length).sum::<usize>(), total(segments));
        Ok(Self { bytes, gaps, errors })
    }

    /// All of it.
    pub(super) fn all(&self) -> Part {
        Part { bytes: 0..self.bytes.len(), gaps: 0..self.gaps.len() }
    }

    /// The bytes of a part that are there.
    pub(super) fn text(&self, part: &Part) -> &[u8] {
        self.bytes.get(part.bytes.clone()).unwrap_or_default()
    }

    /// The one gap that is all of a part.
    pub(super) fn gap(&self, part: &Part) -> Option<Gap> {
        let [gap] = self.gaps.get(part.gaps.clone())? else { return None };
        part.bytes.is_empty().then_some(*gap)
    }

    /// Give `take` all of a part, in order.
    pub(super) fn pieces(
        &self,
        part: &Part,
        take: &mut dyn FnMut(Piece<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut done = part.bytes.start;
        for gap in self.gaps.get(part.gaps.clone()).unwrap_or_default() {
            take(Piece::Bytes(self.bytes.get(done..gap.at).unwrap_or_default()))?;
            take(Piece::Gap(*gap))?;
            done = gap.at;
        }
        take(Piece::Bytes(self.bytes.get(done..part.bytes.end).unwrap_or_default()))
    }

    /// The fields of the message that a part is.
    ///
    /// # Errors
    /// [`Error::Verify`]: these are bytes that we have just made.
    pub(super) fn fields(&self, message: &Part) -> Result<Vec<GappedField>, Error> {
        let mut found = Vec::new();
        let mut at = message.clone();
        while !at.bytes.is_empty() {
            let field = self.field(&at).ok_or_else(|| Error::Verify {
                message: format!("the graph that was made is damaged at offset {:#x} of what is short", at.bytes.start),
            })?;
            at = Part { bytes: field.whole.bytes.end..at.bytes.end, gaps: field.whole.gaps.end..at.gaps.end };
            found.push(field);
        }
        Ok(found)
    }

    /// The first field of a part.
    fn field(&self, at: &Part) -> Option<GappedField> {
        let rest = self.bytes.get(at.bytes.clone())?;
        let (tag, head) = varint(rest)?;
        let (number, start) = (u32::try_from(tag >> 3).ok()?, at.bytes.start + head);
        let (value, more) = varint(rest.get(head..)?).unwrap_or_default();
        let plain = |end: usize| GappedField {
            number,
            whole: Part { bytes: at.bytes.start..end, gaps: at.gaps.start..at.gaps.start },
            payload: None,
            value,
        };
        let field = match tag & 7 {
            0 => plain(start + more),
            1 => plain(start + 8),
            5 => plain(start + 4),
            2 => {
                let payload = self.take(start + more, at.gaps.start, usize::try_from(value).ok()?)?;
                let whole = Part { bytes: at.bytes.start..payload.bytes.end, gaps: payload.gaps.clone() };
                GappedField { number, whole, payload: Some(payload), value }
            }
            _ => return None,
        };
        (field.whole.bytes.end <= at.bytes.end && field.whole.bytes.end > at.bytes.start).then_some(field)
    }

    /// The part of this length, gaps counted, that begins here.
    fn take(&self, start: usize, first: usize, length: usize) -> Option<Part> {
        let (mut at, mut gap, mut left) = (start, first, length);
        while let Some(next) = self.gaps.get(gap).filter(|next| next.at - at < left) {
            left = left.checked_sub(next.at - at + next.length)?;
            (at, gap) = (next.at, gap + 1);
        }
        Some(Part { bytes: start..at.checked_add(left)?, gaps: first..gap })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphdef::wire::put_bytes;

    /// A gap at the end of a message belongs to it and not to what follows.
    #[test]
    fn gaps_count_for_what_they_lie_in() {
        // { 1: { 4: <5000 bytes> }, 1: { 2: "b" } }
        let long = vec![7; 5000];
        let mut inner = Vec::new();
        put_bytes(&mut inner, 4, &long);
        let mut whole = Vec::new();
        put_bytes(&mut whole, 1, &inner);
        let split = whole.len() - long.len();
        put_bytes(&mut whole, 1, &[0x12, 1, b'b']);
        let message = Gapped {
            bytes: [&whole[..split], &whole[split + long.len()..]].concat(),
            gaps: vec![Gap { at: split, length: long.len(), segment: 3 }],
            errors: BTreeMap::new(),
        };
        let fields = message.fields(&message.all()).unwrap();
        let [first, second] = fields.as_slice() else { panic!("{} fields", fields.len()) };
        let mut shown = Vec::new();
        let mut show = |piece: Piece<'_>| {
            shown.push(match piece {
                Piece::Bytes(bytes) => bytes.len(),
                Piece::Gap(gap) => gap.length,
            });
            Ok(())
        };
        message.pieces(&message.all(), &mut show).unwrap();
        assert_eq!(shown, [split, 5000, 5]);
        let inner = message.fields(first.payload.as_ref().unwrap()).unwrap();
        let gap = message.gap(inner[0].payload.as_ref().unwrap()).unwrap();
        assert_eq!((inner[0].number, gap.segment, gap.length), (4, 3, 5000));
        assert_eq!(message.text(second.payload.as_ref().unwrap()), [0x12, 1, b'b']);
        let damaged = Gapped { bytes: vec![0x0a, 9, 1], gaps: Vec::new(), errors: BTreeMap::new() };
        assert_eq!(damaged.fields(&damaged.all()).map(|_| ()).unwrap_err().code(), "E0601");
    }
}
