//! What each site costs, as a table and as a page.

use std::fmt::Write as _;

use quant_math::divergence::Scores;
use quant_math::plan::QuantType;
use quant_math::sensitivity::{AtBits, Loss, Output, OutputLoss, RankedBy, Sensitivity, SiteSensitivity};

use crate::narrow::{narrow, wrapped};
use crate::page::Page;
use crate::printable::printable_line;
use crate::size::count;
use crate::table::{self, SHOWN, cell, terminal_width};

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
pub(crate) fn taken_as(output: &Output) -> String {
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

pub(crate) fn number(loss: f64) -> String {
    if loss <= 0.0 { "0".to_owned() } else { format!("{loss:.1e}") }
}

pub(crate) fn percent(share: f64) -> String {
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

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _: std::fmt::Result = writeln!(text, "{line}");
}

pub(crate) fn count_of(number: u64, what: &str) -> String {
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
