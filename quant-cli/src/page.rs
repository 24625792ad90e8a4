//! An HTML page that needs nothing else: no script, no font, no network.

use quant_math::plan::Reason;

use crate::printable::printable_line;

const STYLE: &str = include_str!("report.css");

/// The page so far. Everything from outside goes through [`Page::text`].
pub(crate) struct Page(String);

impl Page {
    /// A page with a title, up to what stands below it.
    pub(crate) fn new(title: &str) -> Self {
        let mut page = Self(String::new());
        page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        page.raw(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
        );
        page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        page.element("title", title);
        page.raw(&format!("<style>\n{STYLE}</style>\n</head>\n<body>\n"));
        page.element("h1", title);
        page
    }

    /// The whole page.
    pub(crate) fn finish(mut self) -> String {
        self.raw("</body>\n</html>\n");
        self.0
    }

    pub(crate) fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    pub(crate) fn text(&mut self, text: &str) {
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

    pub(crate) fn element(&mut self, tag: &str, text: &str) {
        self.raw(&format!("<{tag}>"));
        self.text(text);
        self.raw(&format!("</{tag}>\n"));
    }

    pub(crate) fn head(&mut self, columns: &[&str]) {
        self.raw("<table>\n<thead><tr>");
        for column in columns {
            self.raw("<th scope=\"col\">");
            self.text(column);
            self.raw("</th>");
        }
        self.raw("</tr></thead>\n<tbody>\n");
    }

    pub(crate) fn cell(&mut self, class: &str, text: &str) {
        self.raw(&format!("<td class=\"{class}\">"));
        self.text(text);
        self.raw("</td>");
    }

    /// A bar that shows `share` of its length, from 0 to 1; `label` is what it shows.
    pub(crate) fn bar(&mut self, label: &str, is_low: bool, share: f64) {
        const WIDTH: f64 = 120.0;
        let class = if is_low { "low" } else { "good" };
        self.raw(&format!(
            "<td class=\"bar\"><svg width=\"{WIDTH}\" height=\"10\" role=\"img\" aria-label=\"{label}\">\
             <rect class=\"track\" width=\"{WIDTH}\" height=\"10\"/><rect class=\"{class}\" width=\"{:.1}\" height=\"10\"/></svg></td>",
            share.clamp(0.0, 1.0) * WIDTH
        ));
    }

    /// A list of reasons under a heading.
    pub(crate) fn reasons(&mut self, heading: &str, reasons: &[Reason]) {
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
}
