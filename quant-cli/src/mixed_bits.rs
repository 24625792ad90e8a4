//! The bits that a search has found, for a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use quant_math::allocation::{ChosenBits, Goal, Kept, MixedBits, Trial, lowest_sqnr};
use quant_math::sensitivity::{OutputLoss, RankedBy};

use crate::narrow::{narrow, wrapped};
use crate::printable::printable_line;
use crate::sensitivity::{count_of, number, percent, taken_as};
use crate::size::{human_bytes, share};
use crate::table::{cell, terminal_width};

/// What was found, and the config that makes the same model where it was not written to a file: as wide as the terminal, and 80 columns in a pipe.
pub fn mixed_bits(found: &MixedBits, written: Option<&Path>) -> String {
    mixed_bits_in(found, written, terminal_width().unwrap_or(80))
}

/// [`mixed_bits`] in a given width.
pub fn mixed_bits_in(found: &MixedBits, written: Option<&Path>, width: u16) -> String {
    let mut text = format!("{}, {}\n", count_of(found.samples, "sample"), found.quantizer);
    for output in &found.outputs {
        push(&mut text, &cell(&taken_as(output)));
    }
    let alike: Vec<String> = found.not_tried.iter().map(u32::to_string).collect();
    if !alike.is_empty() {
        push(&mut text, &format!("not tried, since more bits take as much: {}", alike.join(", ")));
    }
    text.push('\n');
    push(
        &mut text,
        &narrow(&["bits", "weights", "bytes", "in float", "sum of losses"].map(str::to_owned), by_bits(found), width),
    );
    text.push('\n');
    let loss = match found.ranked_by {
        RankedBy::Kl => "KL",
        RankedBy::Noise => "noise",
    };
    let header = ["model", "file", "of float", loss, "SQNR dB", "top-1", "accuracy", "drop"].map(str::to_owned);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for trial in found.tried.iter().filter(|trial| trial.bits.is_some()) {
        let bits = trial.bits.unwrap_or_default();
        rows.push(row(format!("{bits} bits"), trial, found.bytes_before));
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.first().cloned()));
    rows.push(row("this mix".to_owned(), &found.verified, found.bytes_before));
    push(&mut text, &narrow(&header, rows, width));
    text.push('\n');
    let lines = [kept(found), why(found), worth(found)];
    for line in lines {
        push(&mut text, &wrapped(&printable_line(&line), usize::from(width)));
    }
    let config = match written {
        Some(path) => format!(" is `{}`", path.display()),
        None => format!(":\n{}", printable_line(&found.config.to_string())),
    };
    push(&mut text, &format!("\nthe config that makes the same model{config}"));
    text
}

/// For each number of bits how many weights have it.
fn by_bits(found: &MixedBits) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<std::cmp::Reverse<Option<u32>>, Vec<&ChosenBits>> = BTreeMap::new();
    for bits in found.bits.iter().copied().map(Some).chain([None]) {
        groups.insert(std::cmp::Reverse(bits), Vec::new());
    }
    for site in &found.sites {
        groups.entry(std::cmp::Reverse(site.bits)).or_default().push(site);
    }
    let row = |(bits, sites): (std::cmp::Reverse<Option<u32>>, Vec<&ChosenBits>)| {
        let sum = |of: fn(&ChosenBits) -> u64| human_bytes(sites.iter().map(|site| of(site)).sum());
        let bits = bits.0.map_or_else(|| "float".to_owned(), |bits| bits.to_string());
        let loss = number(sites.iter().map(|site| site.loss).sum());
        vec![bits, sites.len().to_string(), sum(|site| site.bytes), sum(|site| site.bytes_float), loss]
    };
    groups.into_iter().map(row).collect()
}

fn row(name: String, trial: &Trial, before: u64) -> Vec<String> {
    let each = |of: &dyn Fn(&OutputLoss) -> Option<String>| {
        trial.loss.outputs.iter().filter_map(of).collect::<Vec<_>>().join(", ")
    };
    vec![
        name,
        human_bytes(trial.bytes),
        share(before, trial.bytes).unwrap_or_default(),
        number(trial.loss.loss),
        each(&|output| Some(output.error.sqnr_db.map_or_else(|| "exact".to_owned(), |db| format!("{db:.1}")))),
        each(&|output| output.top_1.map(percent)),
        each(&|output| output.accuracy.map(percent)),
        trial.drop.map(percent).unwrap_or_default(),
    ]
}

/// What was asked for, and what the model that is written comes to.
fn kept(found: &MixedBits) -> String {
    let drop = |drop: f64| match found.drop_of {
        Some(Kept::Accuracy) => format!("{:.2} points of accuracy are lost", 100.0 * drop),
        _ => format!("{} of the samples have another first class", percent(drop)),
    };
    let trial = &found.verified;
    let measured = trial.drop.map(drop);
    match found.goal {
        Goal::MaxDrop(most) => {
            format!("verified: {}, at most {} are allowed", measured.unwrap_or_default(), percent(most))
        }
        Goal::MinSqnr(least) => {
            let db = lowest_sqnr(&trial.loss).map_or_else(|| "exact outputs".to_owned(), |db| format!("{db:.1} dB"));
            format!("verified: {db}, at least {least} dB are asked for")
        }
        Goal::MaxSize(most) => {
            let measured = measured.map(|measured| format!("; {measured}")).unwrap_or_default();
            format!("verified: {}, at most {} are allowed{measured}", human_bytes(trial.bytes), human_bytes(most))
        }
    }
}

fn why(found: &MixedBits) -> String {
    let mixes = found.tried.iter().filter(|trial| trial.bits.is_none()).count();
    let mixes = format!("{mixes} mix{}", if mixes == 1 { "" } else { "es" });
    format!("stopped with {mixes} measured as a whole: {}", found.stopped)
}

/// What the search is worth.
fn worth(found: &MixedBits) -> String {
    let Trial { sum, loss, .. } = &found.verified;
    let bound = if *sum <= found.bound {
        "no mix of so many bytes has a smaller sum".to_owned()
    } else {
        format!("no mix of so many bytes has a smaller sum than {}", number(found.bound))
    };
    format!("its weights lose {} in sum, each alone, and {} together; {bound}", number(*sum), number(loss.loss))
}

fn push(text: &mut String, line: &str) {
    // Writing to a String does not fail.
    let _: std::fmt::Result = writeln!(text, "{line}");
}
