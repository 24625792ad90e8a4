//! The report as one HTML file that needs nothing else: no script, no font, no network.

use quant_math::fold::Folded;
use quant_math::plan::{Decision, Reason};
use quant_math::report::{LOW_SQNR_DB, Report, SiteReport};

use crate::printable::printable_line;
use crate::size::{count, human_bytes, share};
use crate::summary::{bits, by_code, quantized, scale, shape, sqnr};

const STYLE: &str = include_str!("report.css");

/// A page with the sizes, every quantized site with a bar for its SQNR, every skipped site with its reason, and the warnings.
pub fn report_html(report: &Report) -> String {
    let quantized = quantized(report);
    let title = format!("{}, {}", report.quantizer, report.emit);
    let mut page = Page(String::new());
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.element("title", &format!("Quantization report: {title}"));
    page.raw(&format!("<style>\n{STYLE}</style>\n</head>\n<body>\n"));
    page.element("h1", &format!("Quantization report: {title}"));
    page.element("p", &format!("{} of {} quantized", quantized.len(), count(report.sites.len(), "site")));
    page.sizes(report, &quantized);
    page.reasons("Prepared", &report.prepared);
    page.folds(&report.folds);
    page.reasons("Warnings", &report.warnings);
    page.sites(&quantized);
    page.skipped(report);
    page.raw("</body>\n</html>\n");
    page.0
}

/// The page so far. Everything from outside goes through [`Page::text`].
struct Page(String);

impl Page {
    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    fn text(&mut self, text: &str) {
        for c in printable_line(text).chars() {
            match c {
                '&' => self.raw("&amp;"),
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '"' => self.raw("&quot;"),
                '\'' => self.raw("&#39;"),
                c => self.0.push(c),
            }
        }
    }

    fn element(&mut self, tag: &str, text: &str) {
        self.raw(&format!("<{tag}>"));
        self.text(text);
        self.raw(&format!("</{tag}>\n"));
    }

    fn head(&mut self, columns: &[&str]) {
        self.raw("<table>\n<thead><tr>");
        for column in columns {
            self.raw("<th scope=\"col\">");
            self.text(column);
            self.raw("</th>");
        }
        self.raw("</tr></thead>\n<tbody>\n");
    }

    fn cell(&mut self, class: &str, text: &str) {
        self.raw(&format!("<td class=\"{class}\">"));
        self.text(text);
        self.raw("</td>");
    }

    fn sizes(&mut self, report: &Report, quantized: &[&SiteReport]) {
        let sum =
            |bytes: fn(&SiteReport) -> u64| quantized.iter().fold(0_u64, |sum, site| sum.saturating_add(bytes(site)));
        self.element("h2", "Size");
        self.head(&["", "before", "after", "share"]);
        for (what, before, after) in [
            ("quantized tensors", sum(|site| site.bytes_before), sum(|site| site.bytes_after)),
            ("file", report.bytes_before, report.bytes_after),
        ] {
            self.raw("<tr>");
            self.cell("word", what);
            self.cell("number", &human_bytes(before));
            self.cell("number", &human_bytes(after));
            self.cell("number", &share(before, after).unwrap_or_default());
            self.raw("</tr>\n");
        }
        self.raw("</tbody>\n</table>\n");
    }

    /// A list of reasons under a heading.
    fn reasons(&mut self, heading: &str, reasons: &[Reason]) {
        if reasons.is_empty() {
            return;
        }
        self.element("h2", heading);
        self.raw("<ul>\n");
        for reason in reasons {
            self.element("li", &format!("{}: {}", reason.code, reason.text));
        }
        self.raw("</ul>\n");
    }

    fn folds(&mut self, folds: &[Folded]) {
        if folds.is_empty() {
            return;
        }
        self.element("h2", "Batch norms");
        self.raw("<ul>\n");
        for fold in folds {
            let norm = &fold.norm;
            let text = match (fold.reason(), &fold.layer) {
                (Some(reason), _) => format!("{norm} stays, {}: {}", reason.code, reason.text),
                (None, Some(layer)) => format!("{norm} is in {layer}"),
                (None, None) => norm.clone(),
            };
            self.element("li", &text);
        }
        self.raw("</ul>\n");
    }

    fn sites(&mut self, quantized: &[&SiteReport]) {
        if quantized.is_empty() {
            return;
        }
        self.element("h2", "Quantized");
        self.raw("<p>SQNR: signal-to-quantization-noise ratio; 6.02 dB are one bit. The bars share one scale. Below 20 dB, where\n");
        self.raw("the noise has more than a hundredth of the signal's power, they change their colour.</p>\n");
        let best = quantized.iter().filter_map(|site| decibels(site)).fold(0.0, f64::max);
        self.head(&["op", "name", "kind", "shape", "bits", "scale", "SQNR dB", "", "largest error", "before", "after"]);
        for site in quantized {
            self.raw("<tr>");
            self.cell("word", &site.site.op_type);
            self.cell("name", &site.site.op);
            self.cell("word", &site.site.kind.to_string());
            self.cell("word", &shape(&site.site));
            self.cell("word", &site.site.settings().map_or_else(String::new, bits));
            self.cell("number", &scale(site));
            self.cell("number", &sqnr(site));
            self.bar(site, best);
            self.cell(
                "number",
                &site.metrics.as_ref().map_or_else(|| "-".to_owned(), |m| format!("{:.3e}", m.max_error)),
            );
            self.cell("number", &human_bytes(site.bytes_before));
            self.cell("number", &human_bytes(site.bytes_after));
            self.raw("</tr>\n");
        }
        self.raw("</tbody>\n</table>\n");
    }

    /// The SQNR as a share of the best one; an exact site fills the bar, a site without metrics has none.
    fn bar(&mut self, site: &SiteReport, best: f64) {
        const WIDTH: f64 = 120.0;
        let db = match &site.metrics {
            None => return self.cell("bar", ""),
            Some(metrics) => metrics.sqnr_db,
        };
        let share = db.map_or(1.0, |db| if best > 0.0 { (db / best).clamp(0.0, 1.0) } else { 0.0 });
        let class = if db.is_some_and(|db| db < LOW_SQNR_DB) { "low" } else { "good" };
        let bar = format!(
            "<td class=\"bar\"><svg width=\"{WIDTH}\" height=\"10\" role=\"img\" aria-label=\"SQNR\">\
             <rect class=\"track\" width=\"{WIDTH}\" height=\"10\"/><rect class=\"{class}\" width=\"{:.1}\" height=\"10\"/></svg></td>",
            share * WIDTH
        );
        self.raw(&bar);
    }

    fn skipped(&mut self, report: &Report) {
        let skipped: Vec<_> = report
            .sites
            .iter()
            .filter_map(|site| match &site.site.decision {
                Decision::Skip(reason) => Some((&site.site, reason)),
                Decision::Quantize(_) => None,
            })
            .collect();
        if skipped.is_empty() {
            return;
        }
        self.element("h2", "Skipped");
        for (code, number, _) in by_code(skipped.iter().map(|(_, reason)| *reason)) {
            self.raw("<details>\n<summary>");
            self.text(&format!("{code}: {}", count(number, "site")));
            self.raw("</summary>\n");
            self.head(&["op", "name", "kind", "reason"]);
            for (site, reason) in skipped.iter().filter(|(_, reason)| reason.code == code) {
                self.raw("<tr>");
                self.cell("word", &site.op_type);
                self.cell("name", &site.op);
                self.cell("word", &site.kind.to_string());
                self.cell("name", &reason.text);
                self.raw("</tr>\n");
            }
            self.raw("</tbody>\n</table>\n</details>\n");
        }
    }
}

fn decibels(site: &SiteReport) -> Option<f64> {
    site.metrics.as_ref().and_then(|metrics| metrics.sqnr_db)
}
