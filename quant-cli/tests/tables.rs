//! The tables and the page of a report.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use quant_cli::{evaluation, plan_table_in, report_html, sensitivity_html, sensitivity_in, summary_in};
use quant_math::codes;
use quant_math::config::{ConfigList, Entry};
use quant_math::divergence::Scores;
use quant_math::evaluation::{Accuracy, Agreement, Entrance, Evaluation, Layer, OutputReport};
use quant_math::metrics::Metrics;
use quant_math::plan::{Decision, Emit, Gradient, PLAN_VERSION, Plan, QuantType, Quantizer, Reason, Site};
use quant_math::report::{Report, SiteReport};
use quant_math::sensitivity::{
    AtBits, Loss, Output, OutputLoss, RankedBy, SENSITIVITY_VERSION, Sensitivity, SiteSensitivity, Whole,
};

fn entry() -> Entry {
    ConfigList::default_for(Quantizer::Naive).entries.remove(0)
}

fn site(op: &str, decision: Decision) -> Site {
    Site {
        op: op.to_owned(),
        op_type: "Conv2D".to_owned(),
        kind: QuantType::Weight,
        tensor: format!("{op}/w"),
        dtype: None,
        shape: Some(vec![3, 3, 16, 32]),
        decision,
        range: None,
        steps: None,
    }
}

fn quantize(channel_axis: Option<usize>) -> Decision {
    let mut settings = entry().settings(Quantizer::Naive, QuantType::Weight, 0).unwrap();
    settings.channel_axis = channel_axis;
    Decision::Quantize(settings)
}

fn skip(code: &str, text: &str) -> Decision {
    Decision::Skip(Reason { code: code.to_owned(), text: text.to_owned() })
}

fn quantized(op: &str, sqnr_db: Option<f64>, channel_axis: Option<usize>) -> SiteReport {
    let high = if channel_axis.is_some() { 0.007_812_5 } else { 0.003_937_008 };
    SiteReport {
        site: site(op, quantize(channel_axis)),
        scale: Some((0.003_937_008, high)),
        metrics: Some(Metrics { sqnr_db, max_error: 0.001_968_5, cosine: 1.0, mse: 1e-6 }),
        reconstructed: None,
        channel_spread: None,
        bytes_before: 18_432,
        bytes_after: 4_612,
    }
}

fn skipped(op: &str, code: &str, text: &str) -> SiteReport {
    SiteReport {
        site: site(op, skip(code, text)),
        scale: None,
        metrics: None,
        reconstructed: None,
        channel_spread: None,
        bytes_before: 400,
        bytes_after: 400,
    }
}

fn report(sites: Vec<SiteReport>) -> Report {
    Report {
        quantizer: Quantizer::Naive,
        emit: Emit::Packed,
        sites,
        bytes_before: 40_000,
        bytes_after: 11_000,
        nodes_left_out: 0,
        prepared: Vec::new(),
        folds: Vec::new(),
        warnings: vec![Reason::new(codes::UNMATCHED, "config_list[1].op_types: `x` matches no op in this model")],
    }
}

#[test]
fn a_summary_has_sites_skips_and_totals() {
    let report = report(vec![
        quantized("conv1/Conv2D", Some(41.234), None),
        skipped("head/MatMul", "not-selected", "no entry of the config matches `head/MatMul`"),
        quantized("conv2/Conv2D", None, Some(3)),
        skipped("head2/MatMul", "not-selected", "no entry of the config matches `head2/MatMul`"),
        skipped("x", "excluded", "config_list[1] excludes `x`"),
    ]);
    assert_eq!(
        summary_in(&report, None),
        "\
naive, packed: 2 of 5 sites quantized

op      name          kind    shape      bits        scale                 SQNR dB    before    after
Conv2D  conv1/Conv2D  weight  3x3x16x32  8           3.937e-3                41.23  18.0 KiB  4.5 KiB
Conv2D  conv2/Conv2D  weight  3x3x16x32  8 (axis 3)  3.937e-3 to 7.812e-3    exact  18.0 KiB  4.5 KiB
SQNR is the weight's own, not what the model loses: `evaluate --against` measures that

skipped  reason        for example
      2  not-selected  no entry of the config matches `head/MatMul`
      1  excluded      config_list[1] excludes `x`

tensors  36.0 KiB -> 9.0 KiB (25.0 %)
file     39.1 KiB -> 10.7 KiB (27.5 %)
"
    );
}

#[test]
fn a_summary_without_quantized_sites_has_no_empty_table() {
    let mut site = skipped("a", "not-selected", "no entry matches");
    site.site.shape = None;
    let mut report = report(vec![site]);
    report.bytes_before = 0;
    assert_eq!(
        summary_in(&report, None),
        "\
naive, packed: 0 of 1 site quantized

skipped  reason        for example
      1  not-selected  no entry matches

tensors  0 B -> 0 B
file     0 B -> 10.7 KiB
"
    );
}

#[test]
fn a_long_summary_shows_the_ten_worst() {
    let sites = |count: u32| {
        (0..count).map(|i| quantized(&format!("conv{i}"), Some(f64::from((i * 7) % count)), None)).collect()
    };
    let names = |text: &str| -> Vec<String> {
        let rows = text.lines().filter(|line| line.starts_with("Conv2D"));
        rows.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(names(&summary_in(&report(sites(20)), None)).len(), 20);
    let mut long = report(sites(30));
    // Neither an exact site nor one without metrics is among the worst.
    long.sites[0].metrics.as_mut().unwrap().sqnr_db = None;
    long.sites[13].metrics = None;
    let text = summary_in(&long, None);
    assert!(
        text.contains("\nthe 10 weights of the lowest SQNR; 20 more sites are quantized (`--json` has them all)\n"),
        "{text}"
    );
    // 7 · i mod 30 = 2, 3, … in turn; 0 and 1 are those without a number.
    let expected: Vec<_> =
        (2..12).map(|rank| format!("conv{}", (0..30).find(|i| (i * 7) % 30 == rank).unwrap())).collect();
    assert_eq!(names(&text), expected);
    assert!(text.contains("tensors  540.0 KiB -> 135.1 KiB"), "all thirty count: {text}");
}

#[test]
fn a_narrow_terminal_wraps_names_and_nothing_else() {
    let long_name = "model/block_12/expanded/depthwise/separable/Conv2D";
    let text = summary_in(&report(vec![quantized(long_name, Some(30.0), None)]), Some(90));
    assert!(text.lines().all(|line| line.len() <= 90), "{text}");
    assert!(text.contains("3x3x16x32  8     3.937e-3    30.00  18.0 KiB  4.5 KiB"), "{text}");
    let pieces: Vec<_> = text.lines().skip(3).take_while(|line| !line.starts_with("SQNR")).collect();
    let name: String = pieces.iter().map(|line| line.get(8..).unwrap().split_whitespace().next().unwrap()).collect();
    assert_eq!(name, long_name);
}

#[test]
fn a_plan_lists_every_site_with_its_decision() {
    let mut activation = site("relu", quantize(None));
    activation.kind = QuantType::Output;
    activation.shape = Some(vec![]);
    let plan = Plan {
        version: PLAN_VERSION,
        quantizer: Quantizer::Naive,
        emit: Emit::Baked,
        gradient: Gradient::default(),
        sites: vec![
            site("a", quantize(Some(3))),
            site("b\u{1b}[0m\n", skip("excluded", "config_list[1] excludes `b`")),
            activation,
        ],
        prepared: Vec::new(),
        folds: Vec::new(),
        warnings: vec![],
    };
    assert_eq!(
        plan_table_in(&plan, None),
        "\
naive, baked: 2 of 3 sites would be quantized

op      name          kind    shape      bits        decision
Conv2D  a             weight  3x3x16x32  8 (axis 3)  quantize (config_list[0])
Conv2D  b\\u{1b}[0m\\n  weight  3x3x16x32  -           skip, excluded: config_list[1] excludes `b`
Conv2D  relu          output  scalar     8           quantize (config_list[0])
"
    );
}

#[test]
fn the_page_holds_everything_and_needs_nothing() {
    let hostile = "a<script>alert(\"1\")</script>&'\u{1b}";
    let page = report_html(&report(vec![
        quantized(hostile, Some(30.0), None),
        quantized("low", Some(15.0), Some(3)),
        quantized("exact", None, None),
        skipped("left", "excluded", "config_list[1] excludes <left>"),
    ]));
    assert!(page.starts_with("<!DOCTYPE html>"));
    // Names are text, whatever stands in them.
    assert!(page.contains("a&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;\\u{1b}"), "{page}");
    assert!(page.contains("config_list[1] excludes &lt;left&gt;"));
    assert!(
        !page.contains("<script") && !page.contains("http://") && !page.contains("https://") && !page.contains(" src=")
    );
    // Bars: 30 dB is the best and fills the bar as an exact site does, 15 dB is half of it and below 20 dB.
    for bar in ["class=\"good\" width=\"120.0\"", "class=\"low\" width=\"60.0\""] {
        assert!(page.contains(bar), "{bar}");
    }
    assert_eq!(page.matches("class=\"good\" width=\"120.0\"").count(), 2);
    for text in ["3 of 4 sites quantized", "C0107: ", "excluded: 1 site", "54.0 KiB", "27.5 %", "8 (axis 3)"] {
        assert!(page.contains(text), "{text}");
    }
    for tag in ["table", "tbody", "tr", "td", "svg", "details", "summary", "ul", "li", "body", "html"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        assert!(opened > 0, "{tag}");
    }
}

/// One name of 64 KiB among many makes no row wider than a few hundred letters; JSON has it whole.
#[test]
fn a_table_grows_with_its_rows_whatever_one_name_is() {
    let long = "n".repeat(1 << 16);
    let plan = |rows: usize| {
        let mut sites = vec![site(&long, skip("excluded", &format!("config_list[0] excludes `{long}`")))];
        sites.extend((1..rows).map(|i| site(&format!("conv{i}"), quantize(None))));
        Plan {
            version: PLAN_VERSION,
            quantizer: Quantizer::Naive,
            emit: Emit::Baked,
            gradient: Gradient::Op,
            sites,
            prepared: Vec::new(),
            folds: Vec::new(),
            warnings: Vec::new(),
        }
    };
    let lengths = [100, 200, 400].map(|rows| plan_table_in(&plan(rows), None).len());
    let [first, second, third] = lengths;
    assert!(second <= first * 5 / 2 && third <= second * 5 / 2 && third < 400 * 600, "{lengths:?}");
    let text = plan_table_in(&plan(2), None);
    assert!(text.contains("nnn…nnn"), "{text}");
    assert!(serde_json::to_string(&plan(2)).unwrap().contains(&long));

    let mut sites = vec![quantized(&long, Some(1.0), None)];
    sites.extend((1..20).map(|i| quantized(&format!("conv{i}"), Some(40.0), None)));
    let text = summary_in(&report(sites), None);
    assert!(text.lines().all(|line| line.chars().count() < 600), "{} letters", text.len());
}

#[test]
fn an_evaluation_tells_what_is_known() {
    let metrics = |sqnr_db| Metrics { sqnr_db, max_error: 0.25, cosine: 0.999_5, mse: 0.01 };
    let output = OutputReport {
        name: "logits".to_owned(),
        error: Some(metrics(Some(31.4))),
        agreement: Some(Agreement { top_1: 0.75, k: 5, top_k: 1.0 }),
        accuracy: Some(Accuracy { model: 0.5, reference: None }),
    };
    let layer =
        |name: &str, sqnr_db| Layer { name: name.to_owned(), op_type: "Conv2d".to_owned(), error: metrics(sqnr_db) };
    let mut found = Evaluation { samples: 4, outputs: vec![output], layers: Vec::new(), entrances: Vec::new() };
    let text = evaluation(&found);
    assert_eq!(
        text,
        "4 samples\n\noutput  SQNR dB  max error    cosine    top-1           top-k  accuracy\n\
         logits    31.40   2.500e-1  0.999500  75.00 %  100.00 % (k 5)   50.00 %\n"
    );
    found.layers = vec![layer("conv1", None), layer("conv2", Some(20.0))];
    found.entrances = vec![Entrance { name: "conv2".to_owned(), sqnr_db_before: None, sqnr_db: Some(20.0) }];
    let text = evaluation(&found);
    assert!(text.contains("\nConv2d  conv1     exact "), "{text}");
    assert!(text.ends_with("\n\nthe error enters at conv2 (SQNR exact -> 20.00 dB)\n"), "{text}");
}

/// Two sites at two numbers of bits.
fn costs(names: [&str; 2], labels: bool) -> Sensitivity {
    let loss = |kl: f64, top_1: f64| {
        let error = Metrics { sqnr_db: Some(21.5), max_error: 0.5, cosine: 0.99, mse: 0.25 };
        let accuracy = labels.then_some(0.9);
        Loss::new(RankedBy::Kl, vec![OutputLoss { kl: Some(kl), error, top_1: Some(top_1), accuracy }])
    };
    let at =
        |bits, kl, top_1| AtBits { bits, rank: 0, alone: loss(kl, top_1), all_but: None, weight_sqnr_db: Some(30.5) };
    let site = |(op, kl): (&str, f64)| SiteSensitivity {
        op: op.to_owned(),
        op_type: "Conv2D".to_owned(),
        kind: QuantType::Weight,
        tensor: format!("{op}/w"),
        shape: Some(vec![3, 3]),
        at: vec![at(8, kl / 100.0, 1.0), at(4, kl, 0.75)],
    };
    let output = Output {
        name: "logits:0".to_owned(),
        scores: Some(Scores::Logits),
        known_by: "[rows, classes]".to_owned(),
        accuracy: labels.then_some(0.95),
    };
    let found = Sensitivity {
        version: SENSITIVITY_VERSION,
        framework: "tensorflow 2".to_owned(),
        quantizer: Quantizer::Naive,
        samples: 1,
        bits: vec![8, 4],
        ranked_by: RankedBy::Kl,
        outputs: vec![output],
        whole: vec![Whole { bits: 8, loss: loss(0.0, 1.0) }, Whole { bits: 4, loss: loss(0.5, 0.5) }],
        sites: names.into_iter().zip([0.002, 0.3]).map(site).collect(),
        advice: None,
        warnings: Vec::new(),
    };
    found.ranked()
}

#[test]
fn what_sites_cost_is_ranked_and_says_what_to_do() {
    assert_eq!(
        sensitivity_in(&costs(["conv1", "conv2"], true), 80),
        "\
1 sample, naive
logits:0: logits ([rows, classes]); float accuracy 95.00 %

KL divergence from the float model's outputs in nats, one site at a time
site         8 bits  4 bits  top-1, 4  accuracy, 4
all of them       0  5.0e-1   50.00 %      90.00 %
conv2        3.0e-3  3.0e-1   75.00 %      90.00 %
conv1        2.0e-5  2.0e-3   75.00 %      90.00 %

at 4 bits `conv2` has 99 % of the loss of all 2 sites: give it 8 bits, with this
behind the other entries of the config:
{\"op_names\":[\"conv2\"],\"quant_types\":[\"weight\"],\"quant_bits\":8}
"
    );
    let long = ["model/block_12/expanded/depthwise/separable/convolution/Conv2D", "a\nb"];
    let text = sensitivity_in(&costs(long, false), 60);
    let rows: Vec<&str> = text.lines().skip(4).take(4).collect();
    assert!(rows.iter().all(|row| row.chars().count() <= 60), "{text}");
    assert!(
        rows.iter().any(|row| row.starts_with("model/blo") && row.contains("…") && row.contains("n/Conv2D ")),
        "{text}"
    );
    assert!(rows.iter().any(|row| row.starts_with("a\\nb ")) && !text.contains("accuracy"), "{text}");
    // What all names begin with says nothing.
    let long = ["a/very/long/name/of/a/whole/model/block_1/Conv2D", "a/very/long/name/of/a/whole/model/block_2/Conv2D"];
    let text = sensitivity_in(&costs(long, false), 60);
    assert!(text.contains("\n…/block_1/Conv2D ") && text.contains("\n…/block_2/Conv2D "), "{text}");
}

#[test]
fn the_page_of_what_sites_cost_has_every_number_and_nothing_from_outside() {
    let page = sensitivity_html(&costs(["<b>conv1</b>", "conv2"], true));
    assert!(page.contains("<h2>8 bits</h2>") && page.contains("<h2>4 bits</h2>"), "{page}");
    assert!(page.contains("&lt;b&gt;conv1&lt;/b&gt;") && !page.contains("<b>"), "{page}");
    for number in ["3.0e-1", "21.50", "75.00 %", "90.00 %", "30.50", "99.34 %"] {
        assert!(page.contains(number), "{number}: {page}");
    }
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
}
