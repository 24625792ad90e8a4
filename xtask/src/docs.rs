//! The generated parts of the documentation, each between two markers of its file.

mod finetune;
mod training;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use quant_math::Quantizer;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::oracles;
use crate::page;
use crate::run::{cargo, note, output, root, run, say};

#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    /// Fail when a generated part is not up to date
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Write the generated parts into their files; without either flag they are printed
    #[arg(long)]
    write: bool,
    /// Only the page of codes, which needs no framework; without `--write` it is checked
    #[arg(long)]
    codes: bool,
}

const MODEL: &str = "examples/models/digits.pb";
const TRAIN_DATA: &str = "examples/data/digits_train.npz";
const TEST_DATA: &str = "examples/data/digits_test.npz";
/// The array with the right classes in both.
const LABELS: &str = "label";
const WORK: &str = "target/docs";
const PAGE: &str = "README.md";
const COMMAND: &str = "cargo xtask docs --write";
/// The name in a generated part's markers, and what makes it.
type Part = (&'static str, fn() -> Result<String>);
/// The generated parts of [`PAGE`].
const PARTS: [Part; 3] =
    [("accuracy", accuracy_table), ("tensorflow training", finetune::table), ("torch training", training::table)];

/// One row of the table: what it says, and the models of its two columns.
struct Row {
    label: &'static str,
    weights: String,
    activations: &'static str,
    per_tensor: PathBuf,
    /// Where the quantizer has one.
    per_channel: Option<PathBuf>,
}

/// A definition of a table of trainings, which tests read too.
fn read_table<T: DeserializeOwned>(path: &str) -> Result<T> {
    let text = fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read {path}"))
}

/// Makes every generated part.
pub(crate) fn make(args: &DocsArgs) -> Result<()> {
    if args.codes || args.check || args.write {
        codes(args.write)?;
    }
    if args.codes {
        return Ok(());
    }
    fs::create_dir_all(root().join(WORK)).with_context(|| format!("cannot make {WORK}"))?;
    let parts = PARTS.map(|(name, make)| make().map(|part| (name, part)));
    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    if !args.check && !args.write {
        return parts.iter().try_for_each(|(_, part)| say(part));
    }
    if args.write {
        return page::write(PAGE, COMMAND, &parts);
    }
    let text = fs::read_to_string(root().join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    for (name, part) in &parts {
        if page::replaced(PAGE, COMMAND, &text, name, part)? != text {
            bail!("{PAGE} is not up to date: `{COMMAND}` makes\n{part}");
        }
    }
    note(&format!("{PAGE} is up to date"));
    Ok(())
}

/// The page of codes is made, and held against the tables and the sources, by a test.
fn codes(write: bool) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "quantization-toolkit", "--test", "codes"]);
    if write {
        command.env("QUANT_WRITE_DOCS", "1");
    }
    run(&mut command)
}

/// Quantizes the digits model in every way of the table and lets `evaluate` count what each gets right.
fn accuracy_table() -> Result<String> {
    let library = oracles::tensorflow_library()?;
    let rows = rows(&library)?;
    let mut samples = 0.0;
    let mut percent = |model: &Path| {
        let score = evaluate(&library, model)?;
        samples = score.samples;
        anyhow::Ok(format!("{:.2}", score.percent))
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
    lines.push(format!(
        "\n{samples} test images: one is {:.2} points. QAT: the `inference` form with ranges of `{TRAIN_DATA}`, without training.\n",
        100.0 / samples
    ));
    Ok(lines.join("\n"))
}

fn rows(library: &Path) -> Result<Vec<Row>> {
    let float = "float32";
    let baked = |quantizer: &str, per_channel: bool| {
        let out = Path::new(WORK).join(format!("{quantizer}_8_{}.pb", column(per_channel)));
        let config = json!([{ "op_types": ["default"], "quant_bits": 8, "per_channel": per_channel }]);
        compress("tf-rewriter", MODEL, &out, &["--quantizer", quantizer, "--emit", "baked"], Some(&config))?;
        anyhow::Ok(out)
    };
    let without_activations = |label, per_tensor, per_channel| Row {
        label,
        weights: "8 bits".into(),
        activations: float,
        per_tensor,
        per_channel,
    };
    let none =
        Row { label: "none", weights: float.into(), activations: float, per_tensor: MODEL.into(), per_channel: None };
    let naive = without_activations("Naive", baked("naive", false)?, Some(baked("naive", true)?));
    let mut rows = vec![none, naive];
    for bits in [8, 6, 4, 3] {
        let qat = |per_channel: bool| {
            let name = format!("qat_{bits}_{}", column(per_channel));
            let config = json!([
                { "quant_types": ["weight"], "quant_bits": bits, "op_types": ["default"], "per_channel": per_channel },
                { "quant_types": ["output"], "quant_bits": 8, "op_types": ["Placeholder", "Relu6"] },
                { "quant_types": ["output"], "quant_bits": 8, "op_names": ["logits"] },
            ]);
            calibrated(&name, &config, library)
        };
        rows.push(Row {
            label: "QAT",
            weights: format!("{bits} bits"),
            activations: "8 bits",
            per_tensor: qat(false)?,
            per_channel: Some(qat(true)?),
        });
    }
    rows.push(without_activations("DoReFa", baked("dorefa", false)?, None));
    Ok(rows)
}

/// A column's word in the names of its files.
fn column(per_channel: bool) -> &'static str {
    if per_channel { "channel" } else { "tensor" }
}

/// Measures the ranges of the digits model and quantizes it with them; the result's path.
fn calibrated(name: &str, config: &Value, library: &Path) -> Result<PathBuf> {
    let out = Path::new(WORK).join(format!("{name}.pb"));
    let library = library.to_str().context("the path of TensorFlow's library is not UTF-8")?;
    let options = ["--quantizer", "qat", "--emit", "inference", "--calibrate", TRAIN_DATA, "--tensorflow-dir", library];
    compress("tf-rewriter", MODEL, &out, &options, Some(config))?;
    Ok(out)
}

/// What a model makes of the test images.
struct Score {
    samples: f64,
    /// Of the samples, those it gets right.
    percent: f64,
}

/// What `tf-rewriter evaluate` says of a model.
fn evaluate(library: &Path, model: &Path) -> Result<Score> {
    let mut command = tf_rewriter("evaluate", model, library);
    let text = output(command.args(["--data", TEST_DATA, "--labels", LABELS, "--json"]))?;
    let found: Value = serde_json::from_str(&text).context("`evaluate` printed no JSON")?;
    let number = |pointer: &str| {
        let number = found.pointer(pointer).and_then(Value::as_f64);
        number.with_context(|| format!("`evaluate` of {} printed no number at {pointer}", model.display()))
    };
    Ok(Score { samples: number("/samples")?, percent: 100.0 * number("/outputs/0/accuracy/model")? })
}

/// The mean and, in brackets, the smallest and the largest.
fn mean_and_range(percents: &[f64]) -> String {
    let (mut sum, mut low, mut high, mut count) = (0.0, f64::INFINITY, f64::NEG_INFINITY, 0.0);
    for &percent in percents {
        (sum, low, high, count) = (sum + percent, percent.min(low), percent.max(high), count + 1.0);
    }
    format!("{:.2} ({low:.2} to {high:.2})", sum / count)
}

/// A quantizer as the tables write it.
fn title(quantizer: Quantizer) -> &'static str {
    quantizer.row().title
}

/// A command of one of the two binaries, in the workspace's folder.
fn binary(name: &str, subcommand: &str) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", name, "--bin", name, "--", subcommand]);
    // The kernels whose sums are the same on every CPU.
    command.env("TF_ENABLE_ONEDNN_OPTS", "0");
    command
}

/// A command of `tf-rewriter` that runs `model`.
fn tf_rewriter(subcommand: &str, model: &Path, library: &Path) -> Command {
    let mut command = binary("tf-rewriter", subcommand);
    command.arg(model).arg("--tensorflow-dir").arg(library);
    command
}

/// Runs `compress` of one of the two binaries; all paths are from the workspace's folder.
fn compress(name: &str, model: &str, out: &Path, options: &[&str], config: Option<&Value>) -> Result<()> {
    let mut command = binary(name, "compress");
    command.args([model, "--quiet", "-o"]).arg(out).args(options);
    if let Some(config) = config {
        command.arg("--config").arg(config_file(out, config)?);
    }
    run(&mut command)
}

/// Writes the config of the model `out` beside it.
fn config_file(out: &Path, config: &Value) -> Result<PathBuf> {
    let path = out.with_extension("json");
    #[expect(clippy::disallowed_methods, reason = "a scratch file that nobody else reads")]
    fs::write(root().join(&path), config.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
