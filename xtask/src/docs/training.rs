//! The table of trained TorchScript archives: `torch-adapter` quantizes, stock PyTorch trains and counts.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use quant_math::{Emit, Quantizer};
use serde::Deserialize;
use serde_json::Value;

use super::{WORK, compress, mean_and_range, read_table, title};
use crate::oracles;
use crate::run::{output, python};

const TABLE: &str = "tests/torch/train_table.json";
const SCRIPT: &str = "tests/torch/train_table.py";

#[derive(Debug, Deserialize)]
struct Table {
    archive: String,
    epochs: u32,
    learning_rate: f64,
    seeds: Vec<u64>,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    quantizer: Quantizer,
    weights: String,
    activations: String,
    config_list: Value,
}

#[derive(Debug, Deserialize)]
struct Scores {
    samples: f64,
    rows: BTreeMap<String, Score>,
}

#[derive(Debug, Deserialize)]
struct Score {
    /// `None` of a quantizer that has nothing before it is trained.
    baked: Option<f64>,
    trained: Vec<f64>,
}

/// Quantizes the digits archive in every way of the table, trains each, and counts what PyTorch gets right.
pub(super) fn table() -> Result<String> {
    let table: Table = read_table(TABLE)?;
    for row in &table.rows {
        let quantizer = row.quantizer.row();
        for emit in [Emit::Training, Emit::Baked].into_iter().filter(|emit| quantizer.has(*emit)) {
            let out = Path::new(WORK).join(format!("{}.{emit}.pt", row.name));
            let emit = emit.to_string();
            let options = ["--quantizer", quantizer.name, "--emit", &emit];
            compress("torch-adapter", &table.archive, &out, &options, Some(&row.config_list))?;
        }
    }
    let mut training = python(oracles::torch()?);
    training.args([SCRIPT, WORK]);
    let scores: Scores = serde_json::from_str(&output(&mut training)?).context("the training printed no table")?;
    let score = |name: &str| scores.rows.get(name).with_context(|| format!("no score for {name}"));

    let mut lines = vec![
        "| quantizer | weights | activations | before training, % | trained, % |".to_owned(),
        "| --- | --- | --- | --- | --- |".to_owned(),
        line("none", "float32", "float32", score("float")?),
    ];
    for row in &table.rows {
        lines.push(line(title(row.quantizer), &row.weights, &row.activations, score(&row.name)?));
    }
    let Table { epochs, learning_rate, seeds, .. } = &table;
    lines.push(format!(
        "\n{} test images: one is {:.2} points. Before training: the `baked` form, activations in float. Trained: the `training` form after \
         {epochs} epochs of Adam, learning rate {learning_rate}, the same for every row; mean and range of seeds {}.\n",
        scores.samples,
        100.0 / scores.samples,
        seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    ));
    Ok(lines.join("\n"))
}

fn line(label: &str, weights: &str, activations: &str, Score { baked, trained }: &Score) -> String {
    let baked = baked.map_or_else(|| "–".to_owned(), |baked| format!("{baked:.2}"));
    format!("| {label} | {weights} | {activations} | {baked} | {} |", mean_and_range(trained))
}
