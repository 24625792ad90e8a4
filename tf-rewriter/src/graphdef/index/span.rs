//! Where things lie in the graph, and the walk over a message's fields there.

use crate::error::{At, Error};
use crate::graphdef::wire::{Field, Fields, Value};

/// Bytes `start..end` of the graph; 32 bits are enough for what protobuf allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// A span from offsets that were checked to be below 2 GiB when the graph was opened.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let narrow = |x: usize| u32::try_from(x).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    pub(crate) fn len(self) -> usize {
        self.end().saturating_sub(self.start())
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start()..self.end()).unwrap_or_default()
    }

    /// The text of a `string` field; bytes that are not UTF-8 read as an empty string (the index refuses them for names).
    pub(crate) fn text(self, bytes: &[u8]) -> &str {
        std::str::from_utf8(self.of(bytes)).unwrap_or_default()
    }
}

impl From<std::ops::Range<usize>> for Span {
    fn from(range: std::ops::Range<usize>) -> Self {
        Self::new(range.start, range.end)
    }
}

/// The fields of the message that lies at `message`.
pub(crate) fn fields<'a>(bytes: &'a [u8], message: Span, what: &'static str) -> Fields<'a> {
    Fields::new(message.of(bytes), message.start(), what)
}

/// The span of a length-delimited field's payload; `what` names it in the error.
pub(crate) fn payload(field: &Field<'_>, what: &'static str) -> Result<Span, Error> {
    match &field.value {
        Value::Bytes(bytes, start) => Ok(Span::new(*start, *start + bytes.len())),
        other => Err(Error::Wire {
            what: what.into(),
            found: other.kind().into(),
            expected: "a length-delimited field".into(),
            at: At::offset(field.span.start),
        }),
    }
}
