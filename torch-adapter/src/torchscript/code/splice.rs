//! Changes to a text, collected and then made at once.

use super::Span;

/// Insertions and replacements in a text. Everything that no change names stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Splice {
    edits: Vec<Edit>,
}

#[derive(Debug, Clone)]
struct Edit {
    span: Span,
    text: String,
    /// Among edits at one place: closing parts of wraps, innermost first; then plain insertions; then opening parts,
    /// outermost first.
    rank: (u8, usize, usize),
}

impl Splice {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Put `text` before the byte `at`.
    pub fn insert(&mut self, at: usize, text: impl Into<String>) {
        let rank = (1, self.edits.len(), 0);
        self.edits.push(Edit { span: at..at, text: text.into(), rank });
    }

    /// Put `text` in the place of `span`.
    pub fn replace(&mut self, span: Span, text: impl Into<String>) {
        self.edits.push(Edit { span, text: text.into(), rank: (3, 0, 0) });
    }

    /// Put `before` and `after` around `span`. Of two wraps of one span the later one is the outer one.
    pub fn wrap(&mut self, span: &Span, before: impl Into<String>, after: impl Into<String>) {
        let len = span.len();
        let order = self.edits.len();
        // Lengths first: a longer span that ends here is an outer one. Equal lengths: the later is the outer one.
        let closing = (0, len, order);
        let opening = (2, usize::MAX - len, usize::MAX - order);
        self.edits.push(Edit { span: span.end..span.end, text: after.into(), rank: closing });
        self.edits.push(Edit { span: span.start..span.start, text: before.into(), rank: opening });
    }

    /// The text with all changes made; `None` where two of them overlap or one leaves the text.
    pub fn apply(self, source: &str) -> Option<String> {
        self.apply_to(source, &(0..source.len()))
    }

    /// The part `window` of the text with all changes made; `None` where two of them overlap or one leaves the window.
    pub fn apply_to(mut self, source: &str, window: &Span) -> Option<String> {
        self.edits.sort_by_key(|edit| (edit.span.start, edit.rank));
        let added: usize = self.edits.iter().map(|edit| edit.text.len()).sum();
        let mut out = String::with_capacity(window.len() + added);
        let mut done = window.start;
        for edit in &self.edits {
            out.push_str(source.get(done..edit.span.start)?);
            out.push_str(&edit.text);
            done = edit.span.end;
        }
        out.push_str(source.get(done..window.end)?);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changes_change_nothing() {
        assert_eq!(Splice::new().apply("a\r\nb").unwrap(), "a\r\nb");
    }

    #[test]
    fn wraps_nest_by_length_and_then_by_order() {
        let mut splice = Splice::new();
        splice.wrap(&(4..5), "in(", ")");
        splice.wrap(&(0..6), "out(", ")");
        splice.wrap(&(0..6), "outer(", ")");
        splice.insert(0, "# ");
        splice.replace(2..3, "B");
        assert_eq!(splice.apply("a b c d").unwrap(), "# outer(out(a B in(c) ))d");
    }

    #[test]
    fn neighbours_do_not_mix() {
        let mut splice = Splice::new();
        splice.wrap(&(0..1), "f(", ")");
        splice.wrap(&(1..2), "g(", ")");
        assert_eq!(splice.apply("ab").unwrap(), "f(a)g(b)");
    }

    #[test]
    fn overlaps_are_refused() {
        let mut splice = Splice::new();
        splice.replace(0..3, "x");
        splice.replace(2..4, "y");
        assert_eq!(splice.apply("abcdef"), None);
        let mut splice = Splice::new();
        splice.replace(5..9, "y");
        assert_eq!(splice.apply("abcdef"), None);
    }
}
