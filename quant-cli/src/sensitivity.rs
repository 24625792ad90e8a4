//! What each site costs, as a table and as a page.

use std::fmt::Write as _;

use quant_math::divergence::Scores;
use quant_math::plan::QuantType;
use quant_math::sensitivity::{AtBits, Loss, Output, OutputLoss, RankedBy, Sensitivity, SiteSensitivity};

use crate::page::Page;
use crate::printable::printable_line;
use crate::size::count;
use crate::table::{self, Layout, SHOWN, cell, terminal_width};

/// The table for a person, as wide as the terminal, and 80 columns in a pipe.
pub fn sensitivity(found: &Sensitivity) -> String {
    sensitivity_in(found, terminal_width().unwrap_or(80))
}

/// [`sensitivity`] in a given width. Long names are cut in the middle; `--json` has all of them.
pub fn sensitivity_in(found: &Sensitivity, width: u16) -> String {
    let mut text = format!("{}, {}\n", count_of(found.samples, "sample"), found.quantizer);
    for output in &found.outputs {
        push(&mut text, format_args!("{}", cell(&taken_as(output))));
    }
    push(&mut text, format_args!("\n{}", what(found.ranked_by)));
    let fewest = found.bits.last().copied().unwrap_or_default();
    let mut header = vec!["site".to_owned()];
    header.extend(found.bits.iter().map(|bits| format!("{bits} bits")));
    header.push(format!("top-1, {fewest}"));
    header.push(format!("accuracy, {fewest}"));
    let row = |name: String, losses: &[&Loss]| -> Vec<String> {
        let last = losses.last();
        let shares = [|loss: &OutputLoss| loss.top_1, |loss: &OutputLoss| loss.accuracy];
        let shares = shares.map(|of| last.and_then(|loss| shares_of(loss, of)).unwrap_or_default());
        std::iter::once(name).chain(losses.iter().map(|loss| number(loss.loss))).chain(shares).collect()
    };
    let whole: Vec<&Loss> = found.whole.iter().map(|whole| &whole.loss).collect();
    let mut rows = vec![row("all of them".to_owned(), &whole)];
    let alone = |site: &SiteSensitivity| {
        let losses: Vec<&Loss> = site.at.iter().map(|at| &at.alone).collect();
        row(name(site), &losses)
    };
    rows.extend(found.sites.iter().take(SHOWN).map(alone));
    let rest = table::rest(found.sites.len());
    push(&mut text, format_args!("{}", narrow(&header, rows, width)));
    text.push_str(&rest);
    if let Some(advice) = &found.advice {
        push(&mut text, format_args!("\n{}", wrapped(&printable_line(&advice.text), usize::from(width))));
        if let Some(entry) = &advice.entry {
            push(&mut text, format_args!("{}", printable_line(&entry.to_string())));
        }
    }
    text
}

/// What the numbers are.
fn what(ranked_by: RankedBy) -> &'static str {
    match ranked_by {
        RankedBy::Kl => "KL divergence from the float model's outputs in nats, one site at a time",
        RankedBy::Noise => "noise power over the outputs' power, one site at a time",
    }
}

/// What an output's numbers are, and how that is known.
fn taken_as(output: &Output) -> String {
    let is = match output.scores {
        Some(Scores::Logits) => "logits",
        Some(Scores::Probabilities) => "probabilities of classes",
        Some(Scores::Independent) => "independent probabilities",
        None => "no scores of classes",
    };
    let accuracy = output.accuracy.map(|share| format!("; float accuracy {}", percent(share))).unwrap_or_default();
    format!("{}: {is} ({}){accuracy}", output.name, output.known_by)
}

/// A site, with its kind where that is not its weight.
fn name(site: &SiteSensitivity) -> String {
    match site.kind {
        QuantType::Weight => site.op.clone(),
        kind => format!("{} ({kind})", site.op),
    }
}

fn number(loss: f64) -> String {
    if loss <= 0.0 { "0".to_owned() } else { format!("{loss:.1e}") }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn decibel(loss: &OutputLoss) -> String {
    loss.error.sqnr_db.map_or_else(|| "exact".to_owned(), |db| format!("{db:.2}"))
}

/// A share for each output that has one.
fn shares_of(loss: &Loss, of: fn(&OutputLoss) -> Option<f64>) -> Option<String> {
    let shares: Vec<String> = loss.outputs.iter().filter_map(of).map(percent).collect();
    (!shares.is_empty()).then(|| shares.join(", "))
}

/// A table whose first column takes what the others leave of the width. A column without any text is left out.
fn narrow(header: &[String], mut rows: Vec<Vec<String>>, width: u16) -> String {
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
fn wrapped(text: &str, width: usize) -> String {
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

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _: std::fmt::Result = writeln!(text, "{line}");
}

fn count_of(number: u64, what: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), what)
}

/// The page: what is measured, and for each number of bits every site with all its numbers.
pub fn sensitivity_html(found: &Sensitivity) -> String {
    let mut page = Page::new(&format!("Sensitivity: {}", found.quantizer));
    page.element(
        "p",
        &format!("{}, {}. {}.", count_of(found.samples, "sample"), found.framework, what(found.ranked_by)),
    );
    page.raw("<ul>\n");
    for output in &found.outputs {
        page.element("li", &taken_as(output));
    }
    page.raw("</ul>\n");
    if let Some(advice) = &found.advice {
        page.element("p", &advice.text);
        if let Some(entry) = &advice.entry {
            page.element("pre", &entry.to_string());
        }
    }
    page.reasons("Warnings", &found.warnings);
    page.raw("<p>SQNR is that of the outputs. What stands in the last column is the weight's own: it says how well the codes follow the\n");
    page.raw("weight, not what the model loses.</p>\n");
    for (at, bits) in found.bits.iter().enumerate().rev() {
        page.element("h2", &format!("{bits} bits"));
        let mut sites: Vec<(&SiteSensitivity, &AtBits)> =
            found.sites.iter().filter_map(|site| Some((site, site.at.get(at)?))).collect();
        sites.sort_by_key(|(_, at)| at.rank);
        let total: f64 = sites.iter().map(|(_, at)| at.alone.loss).sum();
        page.head(&[
            "",
            "op",
            "name",
            "kind",
            "loss",
            "share",
            "",
            "KL",
            "SQNR dB",
            "top-1",
            "accuracy",
            "all but it",
            "weight SQNR dB",
        ]);
        if let Some(whole) = found.whole.get(at) {
            row(&mut page, ["", "", "all of them", ""], (&whole.loss, None), "", "");
        }
        for (site, at) in sites {
            let all_but = at.all_but.as_ref().map(|loss| number(loss.loss)).unwrap_or_default();
            let own = at.weight_sqnr_db.map(|db| format!("{db:.2}")).unwrap_or_default();
            let names = [at.rank.to_string(), site.op_type.clone(), site.op.clone(), site.kind.to_string()];
            let share = if total > 0.0 { at.alone.loss / total } else { 0.0 };
            row(&mut page, names.each_ref().map(String::as_str), (&at.alone, Some(share)), &all_but, &own);
        }
        page.raw("</tbody>\n</table>\n");
    }
    page.finish()
}

fn row(page: &mut Page, names: [&str; 4], (loss, share): (&Loss, Option<f64>), all_but: &str, own: &str) {
    page.raw("<tr>");
    for (class, name) in ["number", "word", "name", "word"].into_iter().zip(names) {
        page.cell(class, name);
    }
    page.cell("number", &number(loss.loss));
    page.cell("number", &share.map(percent).unwrap_or_default());
    match share {
        // Half of the loss of all is worth a look.
        Some(share) => page.bar("share of the loss", share > 0.5, share),
        None => page.cell("bar", ""),
    }
    let each =
        |of: &dyn Fn(&OutputLoss) -> Option<String>| loss.outputs.iter().filter_map(of).collect::<Vec<_>>().join(", ");
    page.cell("number", &each(&|output| output.kl.map(number)));
    page.cell("number", &each(&|output| Some(decibel(output))));
    page.cell("number", &each(&|output| output.top_1.map(percent)));
    page.cell("number", &each(&|output| output.accuracy.map(percent)));
    page.cell("number", all_but);
    page.cell("number", own);
    page.raw("</tr>\n");
}
