//! The report as one HTML file that needs nothing else: no script, no font, no network.

use quant_math::fold::Folded;
use quant_math::plan::Decision;
use quant_math::report::{LOW_SQNR_DB, Report, SiteReport};

use crate::page::Page;
use crate::size::{count, human_bytes, share};
use crate::summary::{bits, by_code, quantized, scale, shape, sqnr};

/// A page with the sizes, every quantized site with a bar for its SQNR, every skipped site with its reason, and the warnings.
pub fn report_html(report: &Report) -> String {
    let quantized = quantized(report);
    let mut page = Page::new(&format!("Quantization report: {}, {}", report.quantizer, report.emit));
    page.element("p", &format!("{} of {} quantized", quantized.len(), count(report.sites.len(), "site")));
    page.sizes(report, &quantized);
    page.reasons("Prepared", &report.prepared);
    page.folds(&report.folds);
    page.reasons("Warnings", &report.warnings);
    page.sites(&quantized);
    page.skipped(report);
    page.finish()
}

impl Page {
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
        self.raw("<p>SQNR: signal-to-quantization-noise ratio of the weight; 6.02 dB are one bit. It says how well the codes follow the\n");
        self.raw("weight, not what the model loses: <code>evaluate --against</code> measures that. The bars share one scale. Below 20 dB, where the\n");
        self.raw("noise has more than a hundredth of the signal's power, they change their colour.</p>\n");
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
            self.sqnr_bar(site, best);
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
    fn sqnr_bar(&mut self, site: &SiteReport, best: f64) {
        let db = match &site.metrics {
            None => return self.cell("bar", ""),
            Some(metrics) => metrics.sqnr_db,
        };
        let share = db.map_or(1.0, |db| if best > 0.0 { db / best } else { 0.0 });
        self.bar("SQNR", db.is_some_and(|db| db < LOW_SQNR_DB), share);
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
