//! Text that keeps to a width: tables whose first column is names, which are cut, and lines that break between words.

use crate::printable::printable_line;
use crate::table::{self, Layout};

/// A table whose first column takes what the others leave of the width. A column without any text is left out.
pub(crate) fn narrow(header: &[String], mut rows: Vec<Vec<String>>, width: u16) -> String {
    /// Names keep so much, however narrow the terminal is.
    const SHORTEST: usize = 16;
    /// Between two columns.
    const GAP: usize = 2;
    let has_text = |column: usize| rows.iter().any(|row| row.get(column).is_some_and(|text| !text.is_empty()));
    let kept: Vec<usize> = (0..header.len()).filter(|column| has_text(*column)).collect();
    let length = |text: &String| text.chars().count();
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(header.get(column));
        GAP + cells.map(length).max().unwrap_or_default()
    };
    let others: usize = kept.iter().skip(1).map(|column| widest(*column)).sum();
    let room = usize::from(width).saturating_sub(others).max(SHORTEST);
    let header: Vec<&str> = kept.iter().filter_map(|column| header.get(*column).map(String::as_str)).collect();
    let right: Vec<usize> = (1..header.len()).collect();
    let mut table = table::new(&Layout { header: &header, wrap: &[], right: &right });
    let names: Vec<String> = rows.iter().filter_map(|row| row.first()).map(|name| printable_line(name)).collect();
    let shared = if names.iter().any(|name| length(name) > room) { shared_scope(&names) } else { 0 };
    for (row, full) in rows.iter_mut().zip(&names) {
        if let Some(name) = row.first_mut() {
            let own = full.get(shared..).filter(|own| shared > 0 && own.len() < full.len());
            *name = cut(&own.map_or_else(|| full.clone(), |own| format!("…/{own}")), room);
        }
        table.add_row(kept.iter().filter_map(|column| row.get(*column)));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The length of the scope that all names but the first, which is none, begin with.
fn shared_scope(names: &[String]) -> usize {
    let mut names = names.iter().skip(1);
    let Some(first) = names.next() else { return 0 };
    let alike = |other: &String| first.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let shared = names.map(alike).min().unwrap_or(0);
    first.get(..shared).and_then(|shared| shared.rfind('/')).map_or(0, |slash| slash + 1)
}

/// Lines of at most so many characters, as far as words allow.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let (mut lines, mut length) = (String::new(), 0);
    for word in text.split(' ') {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length > width {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines.push_str(word);
        length += word_length;
    }
    lines
}

/// A name of at most so many characters, cut in the middle.
fn cut(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let end = most / 2;
    let begin = most.saturating_sub(end + 1);
    name.chars().take(begin).chain(['…']).chain(name.chars().skip(length - end)).collect()
}
