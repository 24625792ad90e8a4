//! Tables without lines, as wide as the terminal, or as wide as they need to be in a pipe.

use std::io::IsTerminal;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The width of the terminal that standard output is, if it is one.
pub fn terminal_width() -> Option<u16> {
    if std::io::stdout().is_terminal() { Table::new().width() } else { None }
}

/// An empty table with a header.
pub(crate) fn new(width: Option<u16>, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).force_no_tty().set_header(header);
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

/// Numbers stand right.
pub(crate) fn align_right(table: &mut Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The table's text without blanks at the ends of lines.
pub(crate) fn text(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
