//! Tables without lines, as wide as the terminal, or as wide as they need to be in a pipe.

use std::io::IsTerminal;

use crate::printable::printable_line;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

/// The width of the terminal that standard output is, if it is one.
pub fn terminal_width() -> Option<u16> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(stdout).map(|(terminal_size::Width(columns), _)| columns)
}

/// A table in the making: which columns may be wrapped, and which are numbers.
pub(crate) struct Layout<'a> {
    /// The names of the columns.
    pub(crate) header: &'a [&'a str],
    /// Columns that share what the others leave of the terminal's width; the others are never wrapped.
    pub(crate) wrap: &'a [usize],
    /// Columns that stand right.
    pub(crate) right: &'a [usize],
}

/// The text of a cell: on one line, harmless to a terminal, and cut in the middle where it is far longer than names are.
///
/// A cell makes its whole column as wide as it is, so that one name of 64 KiB would fill every row with blanks. `--json` has all of it.
pub(crate) fn cell(text: &str) -> String {
    /// Names in real models stay below, and so do the reasons of skips.
    const LONGEST: usize = 240;
    let line = printable_line(text);
    let length = line.chars().count();
    if length <= LONGEST {
        return line;
    }
    let mut short: String = line.chars().take(LONGEST / 2).collect();
    short.push('…');
    short.extend(line.chars().skip(length + 1 - LONGEST / 2));
    short
}

/// An empty table.
pub(crate) fn new(layout: &Layout<'_>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(layout.header);
    table.set_content_arrangement(ContentArrangement::Disabled);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if layout.right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A table of `rows` as wide as the terminal. Columns `wrap` may be wrapped, columns `right` stand right; a column without any text
/// is left out.
pub fn rows_text(
    header: &[&str],
    wrap: &[usize],
    right: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
    let kept: Vec<usize> = (0..header.len())
        .filter(|column| rows.iter().any(|row| row.get(*column).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let moved = |columns: &[usize]| -> Vec<usize> {
        columns.iter().filter_map(|column| kept.iter().position(|k| k == column)).collect()
    };
    let header: Vec<&str> = kept.iter().filter_map(|column| header.get(*column).copied()).collect();
    let (wrap, right) = (moved(wrap), moved(right));
    let layout = Layout { header: &header, wrap: &wrap, right: &right };
    let mut table = new(&layout);
    for row in rows {
        table.add_row(kept.iter().filter_map(|column| row.get(*column)));
    }
    text(table, terminal_width(), &layout)
}

/// More rows of a list than this are a count; `--json` has all of them.
pub(crate) const SHOWN: usize = 40;

/// The first rows of a list as [`rows_text`], and how many more there are.
pub fn list_text(
    header: &[&str],
    wrap: &[usize],
    right: &[usize],
    rows: impl ExactSizeIterator<Item = Vec<String>>,
) -> String {
    let rest = rest(rows.len());
    format!("{}\n{rest}", rows_text(header, wrap, right, rows.take(SHOWN)))
}

/// What is said below the first rows of a list of so many.
pub(crate) fn rest(rows: usize) -> String {
    if rows > SHOWN { format!("… and {} more (`--json` has them all)\n", rows - SHOWN) } else { String::new() }
}

/// The table's text, wrapped if it is wider than `width`; `None` is as wide as it needs to be.
pub(crate) fn text(mut table: Table, width: Option<u16>, layout: &Layout<'_>) -> String {
    /// Narrower, and names are cut into syllables; the terminal's own line break is better than that.
    const NARROWEST: u16 = 16;
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let Some(width) = width.filter(|width| lines.iter().any(|line| line.chars().count() > usize::from(*width))) else {
        return lines.join("\n");
    };
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_constraint(if layout.wrap.contains(&index) {
            ColumnConstraint::LowerBoundary(Width::Fixed(NARROWEST))
        } else {
            ColumnConstraint::ContentWidth
        });
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_keeps_both_ends_of_what_is_far_too_long() {
        assert_eq!(cell("a\nb"), "a\\nb");
        let usual = "x".repeat(240);
        assert_eq!(cell(&usual), usual);
        let long = cell(&format!("begin{}end", "ä".repeat(70_000)));
        assert!(long.starts_with("begin") && long.ends_with("end") && long.contains('…'), "{long}");
        assert_eq!(long.chars().count(), 240);
    }
}
