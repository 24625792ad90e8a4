//! The generated parts of the documentation, each between two markers of its file.

mod training;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::oracles;
use crate::run::{cargo, note, output, root, run, say};

#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    /// Fail when a generated part is not up to date
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Write the generated parts into their files; without either flag they are printed
    #[arg(long)]
    write: bool,
}

const MODEL: &str = "examples/models/digits.pb";
const RANGES: &str = "examples/ranges/digits.json";
const TEST_DATA: &str = "examples/data/digits_test.npz";
const WORK: &str = "target/docs";
const PAGE: &str = "README.md";
/// The name in a generated part's markers, and what makes it.
type Part = (&'static str, fn() -> Result<String>);
/// The generated parts of [`PAGE`].
const PARTS: [Part; 2] = [("accuracy", accuracy_table), ("torch training", training::table)];

/// One row of the table: what it says, and the models of its two columns.
struct Row {
    label: &'static str,
    weights: String,
    activations: &'static str,
    per_tensor: PathBuf,
    per_channel: Option<PathBuf>,
}

/// Makes every generated part.
pub(crate) fn make(args: &DocsArgs) -> Result<()> {
    fs::create_dir_all(root().join(WORK)).with_context(|| format!("cannot make {WORK}"))?;
    let parts = PARTS.map(|(name, make)| make().map(|part| (name, part)));
    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    if !args.check && !args.write {
        return parts.iter().try_for_each(|(_, part)| say(part));
    }
    let path = root().join(PAGE);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let mut new = old.clone();
    for (name, part) in &parts {
        let page = replace(&new, name, part)?;
        if args.check && page != new {
            bail!("{PAGE} is not up to date: `cargo xtask docs --write` makes\n{part}");
        }
        new = page;
    }
    if new == old {
        note(&format!("{PAGE} is up to date"));
    } else {
        #[expect(clippy::disallowed_methods, reason = "nobody maps a page of text, and git has the old one")]
        fs::write(&path, new).with_context(|| format!("cannot write {PAGE}"))?;
        note(&format!("{PAGE} was written"));
    }
    Ok(())
}

/// `page` with `part` between the markers of `name`.
fn replace(page: &str, name: &str, part: &str) -> Result<String> {
    let begin = format!("<!-- {name}: made by `cargo xtask docs --write` -->");
    let end = format!("<!-- {name}: end -->");
    let found = page.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let Some((before, after)) = found else {
        bail!("{PAGE} has no `{begin}` that a `{end}` follows");
    };
    Ok(format!("{before}{begin}\n{part}{end}{after}"))
}

/// Quantizes the digits model in every way of the table and lets `evaluate` count what each gets right.
fn accuracy_table() -> Result<String> {
    let library = oracles::tensorflow_library()?;
    let rows = rows()?;
    let mut samples = 0.0;
    let mut percent = |model: &Path| {
        let found = evaluate(&library, model)?;
        samples = found.get("samples").and_then(Value::as_f64).context("no number of samples")?;
        let right = found.pointer("/outputs/0/accuracy/model").and_then(Value::as_f64);
        let right = right.with_context(|| format!("no accuracy of {}", model.display()))?;
        anyhow::Ok(format!("{:.2}", 100.0 * right))
    };
    let mut lines = vec![
        "| quantizer | weights | activations | per tensor, % | per channel, % |".to_owned(),
        "| --- | --- | --- | --- | --- |".to_owned(),
    ];
    for row in &rows {
        let per_channel = row.per_channel.as_deref().map_or_else(|| Ok("–".to_owned()), &mut percent)?;
        let per_tensor = percent(&row.per_tensor)?;
        let Row { label, weights, activations, .. } = row;
        lines.push(format!("| {label} | {weights} | {activations} | {per_tensor} | {per_channel} |"));
    }
    lines.push(format!("\n{samples} test images: one is {:.2} points. QAT: the `inference` form with measured ranges, without training.\n", 100.0 / samples));
    Ok(lines.join("\n"))
}

fn rows() -> Result<Vec<Row>> {
    let float = "float32";
    let mut rows = vec![
        Row { label: "none", weights: float.into(), activations: float, per_tensor: MODEL.into(), per_channel: None },
        Row {
            label: "Naive",
            weights: "8 bits".into(),
            activations: float,
            per_tensor: quantize("naive_8", "naive", "baked", None)?,
            per_channel: None,
        },
    ];
    for bits in [8, 6, 4, 3] {
        let qat = |per_channel: bool| {
            let name = format!("qat_{bits}_{}", if per_channel { "channel" } else { "tensor" });
            let config = json!([
                { "quant_types": ["weight"], "quant_bits": bits, "op_types": ["default"], "per_channel": per_channel },
                { "quant_types": ["output"], "quant_bits": 8, "op_types": ["Placeholder", "Relu6"] },
                { "quant_types": ["output"], "quant_bits": 8, "op_names": ["logits"] },
            ]);
            quantize(&name, "qat", "inference", Some(&config))
        };
        rows.push(Row {
            label: "QAT",
            weights: format!("{bits} bits"),
            activations: "8 bits",
            per_tensor: qat(false)?,
            per_channel: Some(qat(true)?),
        });
    }
    rows.push(Row {
        label: "DoReFa",
        weights: "8 bits".into(),
        activations: float,
        per_tensor: quantize("dorefa_8", "dorefa", "baked", None)?,
        per_channel: None,
    });
    Ok(rows)
}

/// Quantizes the digits model with `tf-rewriter`; the output's path from the workspace's folder.
fn quantize(name: &str, quantizer: &str, emit: &str, config: Option<&Value>) -> Result<PathBuf> {
    let out = Path::new(WORK).join(format!("{name}.pb"));
    let mut options = vec!["--quantizer", quantizer, "--emit", emit];
    if config.is_some() {
        options.extend(["--ranges", RANGES]);
    }
    compress("tf-rewriter", MODEL, &out, &options, config)?;
    Ok(out)
}

/// What `tf-rewriter evaluate` says of a model on the test images.
fn evaluate(library: &Path, model: &Path) -> Result<Value> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "tf-rewriter", "--bin", "tf-rewriter", "--", "evaluate"]).arg(model);
    command.args(["--data", TEST_DATA, "--labels", "label", "--json", "--tensorflow-dir"]).arg(library);
    // The kernels whose sums are the same on every CPU.
    let text = output(command.env("TF_ENABLE_ONEDNN_OPTS", "0"))?;
    serde_json::from_str(&text).context("`evaluate` printed no JSON")
}

/// Runs `compress` of one of the two binaries; all paths are from the workspace's folder.
fn compress(binary: &str, model: &str, out: &Path, options: &[&str], config: Option<&Value>) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", binary, "--bin", binary, "--", "compress", model, "-o"]).arg(out);
    command.arg("--quiet").args(options);
    if let Some(config) = config {
        let path = out.with_extension("json");
        #[expect(clippy::disallowed_methods, reason = "a scratch file that nobody else reads")]
        fs::write(root().join(&path), config.to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        command.arg("--config").arg(path);
    }
    run(&mut command)
}
