//! What was done or would be done, as tables.

use std::collections::BTreeMap;

use quant_math::fold::Folded;
use quant_math::plan::{Decision, Plan, Reason, Settings, Site};
use quant_math::report::{Gain, Report, SiteReport};

use crate::printable::printable_line;
use crate::size::{count, human_bytes, share};
use crate::table::{self, Layout, cell};

/// More quantized sites than this, and only the worst are shown.
const LONG: usize = 20;
/// How many of the worst.
const WORST: usize = 10;

/// What stands below the column: it is easily taken for the loss.
const OF_WEIGHTS: &str = "SQNR is the weight's own, not what the model loses: `evaluate --against` measures that\n";

const SITES: Layout<'_> = Layout {
    header: &["op", "name", "kind", "shape", "bits", "scale", "SQNR dB", "before", "after"],
    wrap: &[1],
    right: &[6, 7, 8],
};
const SKIPPED: Layout<'_> = Layout { header: &["skipped", "reason", "for example"], wrap: &[2], right: &[0] };
const PLAN: Layout<'_> =
    Layout { header: &["op", "name", "kind", "shape", "bits", "decision"], wrap: &[1, 5], right: &[] };

/// What `compress` did, for a person: the quantized sites, the skipped ones by reason, sizes. As wide as the terminal.
pub fn summary(report: &Report) -> String {
    summary_in(report, table::terminal_width())
}

/// [`summary`] in a given width; `None` is as wide as it needs to be.
pub fn summary_in(report: &Report, width: Option<u16>) -> String {
    let quantized = quantized(report);
    let sites = count(report.sites.len(), "site");
    let mut parts = Vec::new();
    parts.extend(prepared(&report.prepared, &report.folds));
    // Where nothing was to be quantized, the preparation is all that was done.
    if parts.is_empty() || !report.sites.is_empty() {
        parts.push(format!("{}, {}: {} of {sites} quantized\n", report.quantizer, report.emit, quantized.len()));
    }
    if quantized.len() > LONG {
        let (worst, rest) = worst(&quantized);
        let table = site_table(&worst, width);
        parts.push(format!(
            "the {} weights of the lowest SQNR; {rest} more sites are quantized (`--json` has them all)\n{table}",
            worst.len()
        ));
    } else if !quantized.is_empty() {
        parts.push(site_table(&quantized, width));
    }
    parts.extend(reconstructed(&quantized));
    let skipped = report.sites.iter().filter_map(|site| match &site.site.decision {
        Decision::Skip(reason) => Some(reason),
        Decision::Quantize(_) => None,
    });
    parts.extend(skip_table(skipped, width));
    if report.nodes_left_out > 0 {
        parts.push(format!("{} left out that no named output needs\n", count(report.nodes_left_out, "node")));
    }
    parts.push(totals(report, &quantized));
    parts.join("\n")
}

/// What weights that were rounded by reconstruction gain: of their layers' outputs, and not of each element.
fn reconstructed(sites: &[&SiteReport]) -> Option<String> {
    let gains: Vec<Gain> = sites.iter().filter_map(|site| site.reconstructed).collect();
    // No noise is better than any.
    let middle = |of: &dyn Fn(&Gain) -> Option<f64>| {
        let mut all: Vec<f64> = gains.iter().map(|gain| of(gain).unwrap_or(f64::INFINITY)).collect();
        all.sort_by(f64::total_cmp);
        Some((*all.first()?, *all.get(all.len() / 2)?))
    };
    let ((least, median), (nearest_least, nearest)) =
        (middle(&|gain| gain.output_db)?, middle(&|gain| gain.nearest_db)?);
    Some(format!(
        "reconstructed: {}; on the data of the moments their layers' outputs have {least:.1} dB at the least and {median:.1} dB in the middle, \
         rounded to nearest {nearest_least:.1} and {nearest:.1} dB\n",
        count(gains.len(), "weight")
    ))
}

/// Every site of a plan with its decision, for a person. As wide as the terminal.
pub fn plan_table(plan: &Plan) -> String {
    plan_table_in(plan, table::terminal_width())
}

/// [`plan_table`] in a given width; `None` is as wide as it needs to be.
pub fn plan_table_in(plan: &Plan, width: Option<u16>) -> String {
    let quantized = plan.quantized().count();
    let sites = count(plan.sites.len(), "site");
    let before = prepared(&plan.prepared, &plan.folds).map(|text| format!("{text}\n")).unwrap_or_default();
    let text = format!("{before}{}, {}: {quantized} of {sites} would be quantized\n", plan.quantizer, plan.emit);
    if plan.sites.is_empty() {
        return text;
    }
    let mut sites = table::new(&PLAN);
    for site in &plan.sites {
        let (bits, decision) = match &site.decision {
            Decision::Quantize(settings) => (bits(settings), format!("quantize (config_list[{}])", settings.entry)),
            Decision::Skip(reason) => ("-".to_owned(), cell(&format!("skip, {}: {}", reason.code, reason.text))),
        };
        sites.add_row([cell(&site.op_type), cell(&site.op), site.kind.to_string(), shape(site), bits, decision]);
    }
    format!("{text}\n{}\n", table::text(sites, width, &PLAN))
}

/// What was done to the model before, a line for each step, and one for each reason why batch norms are not folded.
fn prepared(steps: &[Reason], folds: &[Folded]) -> Option<String> {
    let steps = steps.iter().map(|step| format!("prepared: {}\n", printable_line(&step.text)));
    let stay = by_code(folds.iter().filter_map(Folded::reason)).into_iter().map(|(code, number, text)| {
        format!("not folded: {} ({}), for example: {}\n", count(number, "batch norm"), cell(code), printable_line(text))
    });
    let lines: Vec<String> = steps.chain(stay).collect();
    (!lines.is_empty()).then(|| lines.concat())
}

/// The quantized sites, in the report's order.
pub(crate) fn quantized(report: &Report) -> Vec<&SiteReport> {
    report.sites.iter().filter(|site| site.site.settings().is_some()).collect()
}

/// The sites with the lowest SQNR, the lowest first, and how many others there are.
fn worst<'a>(quantized: &[&'a SiteReport]) -> (Vec<&'a SiteReport>, usize) {
    let mut ranked = quantized.to_vec();
    ranked.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
    ranked.truncate(WORST);
    let rest = quantized.len() - ranked.len();
    (ranked, rest)
}

/// The SQNR; an exact site is better than every number, and a site without metrics comes last.
fn rank(site: &SiteReport) -> f64 {
    match &site.metrics {
        Some(metrics) => metrics.sqnr_db.unwrap_or(f64::MAX),
        None => f64::INFINITY,
    }
}

fn site_table(sites: &[&SiteReport], width: Option<u16>) -> String {
    let mut table = table::new(&SITES);
    for site in sites {
        table.add_row([
            cell(&site.site.op_type),
            cell(&site.site.op),
            site.site.kind.to_string(),
            shape(&site.site),
            site.site.settings().map_or_else(String::new, bits),
            scale(site),
            sqnr(site),
            human_bytes(site.bytes_before),
            human_bytes(site.bytes_after),
        ]);
    }
    let measured = sites.iter().any(|site| site.metrics.is_some());
    format!("{}\n{}", table::text(table, width, &SITES), if measured { OF_WEIGHTS } else { "" })
}

/// The reasons by code: how many, the code, and the first text.
pub(crate) fn by_code<'a>(reasons: impl Iterator<Item = &'a Reason>) -> Vec<(&'a str, usize, &'a str)> {
    let mut groups: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for reason in reasons {
        groups.entry(&reason.code).or_insert((0, &reason.text)).0 += 1;
    }
    let mut groups: Vec<_> = groups.into_iter().map(|(code, (count, text))| (code, count, text)).collect();
    groups.sort_by_key(|(code, count, _)| (std::cmp::Reverse(*count), *code));
    groups
}

fn skip_table<'a>(reasons: impl Iterator<Item = &'a Reason>, width: Option<u16>) -> Option<String> {
    let groups = by_code(reasons);
    if groups.is_empty() {
        return None;
    }
    let mut table = table::new(&SKIPPED);
    for (code, count, text) in groups {
        table.add_row([count.to_string(), cell(code), cell(text)]);
    }
    Some(format!("{}\n", table::text(table, width, &SKIPPED)))
}

fn totals(report: &Report, quantized: &[&SiteReport]) -> String {
    let sum = |bytes: fn(&SiteReport) -> u64| quantized.iter().fold(0_u64, |sum, site| sum.saturating_add(bytes(site)));
    let line = |what: &str, before, after| {
        let share = share(before, after).map_or_else(String::new, |share| format!(" ({share})"));
        format!("{what:<8} {} -> {}{share}\n", human_bytes(before), human_bytes(after))
    };
    let tensors = line("tensors", sum(|site| site.bytes_before), sum(|site| site.bytes_after));
    tensors + &line("file", report.bytes_before, report.bytes_after)
}

/// `3x3x16x32`, as far as it is known.
pub(crate) fn shape(site: &Site) -> String {
    match site.shape.as_deref() {
        None => "?".to_owned(),
        Some([]) => "scalar".to_owned(),
        Some(shape) => cell(&shape.iter().map(u64::to_string).collect::<Vec<_>>().join("x")),
    }
}

pub(crate) fn bits(settings: &Settings) -> String {
    match settings.channel_axis {
        Some(axis) => format!("{} (axis {axis})", settings.bits),
        None => settings.bits.to_string(),
    }
}

/// The scale, or the smallest and largest over the channels.
pub(crate) fn scale(site: &SiteReport) -> String {
    match site.scale {
        None => "-".to_owned(),
        Some((low, high)) if low.to_bits() == high.to_bits() => format!("{low:.3e}"),
        Some((low, high)) => format!("{low:.3e} to {high:.3e}"),
    }
}

pub(crate) fn sqnr(site: &SiteReport) -> String {
    match &site.metrics {
        None => "-".to_owned(),
        Some(metrics) => metrics.sqnr_db.map_or_else(|| "exact".to_owned(), |db| format!("{db:.2}")),
    }
}
