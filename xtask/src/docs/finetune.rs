//! The table of trained TensorFlow graphs: `tf-rewriter` quantizes, trains and counts; nothing else has a hand in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use quant_math::Quantizer;
use serde::Deserialize;
use serde_json::Value;

use super::{
    LABELS, MODEL, Score, TRAIN_DATA, WORK, calibrated, config_file, evaluate, mean_and_range, read_table, tf_rewriter,
    title,
};
use crate::oracles;
use crate::run::run;

/// The rows, the seeds and one budget for all; the tests of `finetune` read it too.
const TABLE: &str = "tests/tensorflow/train_table.json";

#[derive(Debug, Deserialize)]
struct Table {
    epochs: u32,
    /// By quantizer.
    learning_rate: BTreeMap<Quantizer, f64>,
    seeds: Vec<u64>,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    quantizer: Quantizer,
    weights: String,
    activations: String,
    runs: Vec<Run>,
    config_list: Value,
}

/// A cell of a row: what is done to the float model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Run {
    /// Quantized with measured ranges.
    Untrained,
    /// Trained with the right classes.
    Labels,
    /// Trained to match the float model.
    Distill,
}

/// Quantizes and trains the digits model in every way of the table, and lets `evaluate` count what each gets right.
pub(super) fn table() -> Result<String> {
    let table: Table = read_table(TABLE)?;
    let library = oracles::tensorflow_library()?;
    let Score { samples, percent: float } = evaluate(&library, Path::new(MODEL))?;
    let mut lines = vec![
        table.budget(),
        "| quantizer | weights | activations | not trained, % | with labels, % | distilled, % |".to_owned(),
        "| --- | --- | --- | --- | --- | --- |".to_owned(),
        format!("| none | float32 | float32 | {float:.2} | – | – |"),
    ];
    for row in &table.rows {
        let cells = [Run::Untrained, Run::Labels, Run::Distill]
            .map(|run| if row.runs.contains(&run) { table.cell(row, run, &library) } else { Ok("–".to_owned()) });
        let cells = cells.into_iter().collect::<Result<Vec<_>>>()?.join(" | ");
        lines.push(format!("| {} | {} | {} | {cells} |", title(row.quantizer), row.weights, row.activations));
    }
    lines.push(format!(
        "\n{samples} test images: one is {:.2} points. Trained: mean and range of the seeds.\n",
        100.0 / samples
    ));
    Ok(lines.join("\n"))
}

impl Table {
    /// The line above the table: data and budget.
    fn budget(&self) -> String {
        let Self { epochs, learning_rate, seeds, .. } = self;
        let rates = learning_rate.iter().map(|(quantizer, rate)| format!("{rate} ({})", title(*quantizer)));
        let rates = rates.collect::<Vec<_>>().join(", ");
        let seeds = seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!(
            "The images of `{TRAIN_DATA}`, {epochs} epochs of Adam, learning rate {rates}, seeds {seeds}; the same for every row.\n"
        )
    }

    fn cell(&self, row: &Row, run: Run, library: &Path) -> Result<String> {
        let objective: &[&str] = match run {
            Run::Untrained => {
                let out = calibrated(&row.name, &row.config_list, library)?;
                return Ok(format!("{:.2}", evaluate(library, &out)?.percent));
            }
            Run::Labels => &["--labels", LABELS],
            Run::Distill => &["--distill", "--loss", "cross-entropy"],
        };
        let percents = self.seeds.iter().map(|&seed| {
            let model = self.trained(row, seed, objective, library)?;
            Ok(evaluate(library, &model)?.percent)
        });
        Ok(mean_and_range(&percents.collect::<Result<Vec<f64>>>()?))
    }

    /// The path of the model that one training makes.
    fn trained(&self, row: &Row, seed: u64, objective: &[&str], library: &Path) -> Result<PathBuf> {
        let Row { name, quantizer, config_list, .. } = row;
        let rate = self.learning_rate.get(quantizer).with_context(|| format!("no learning rate of {quantizer}"))?;
        let out = Path::new(WORK).join(format!("{name}.trained.pb"));
        let mut command = tf_rewriter("finetune", Path::new(MODEL), library);
        command.args(["--data", TRAIN_DATA, "--quiet", "--quantizer", quantizer.row().name, "--config"]);
        command.arg(config_file(&out, config_list)?).arg("-o").arg(&out).args(objective);
        command.args(["--epochs", &self.epochs.to_string(), "--lr", &rate.to_string(), "--seed", &seed.to_string()]);
        // With one thread, TensorFlow adds in one order.
        run(command.args(["--jobs", "1"]))?;
        Ok(out)
    }
}
