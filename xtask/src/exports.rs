//! Part of `cargo xtask real`: Keras exports in every form of a SavedModel, in every loader of TensorFlow, and as integer models of TFLite.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::models;
use crate::run::{note, output, python};

const FOLDER: &str = "target/real/exports";

/// What the script measured of a form.
#[derive(Debug, Deserialize)]
struct Row {
    model: String,
    form: String,
    model_bytes: u64,
    bytes: u64,
    graph_bytes: u64,
    /// By loader: whether it computes what the GraphDef of the form does.
    equal: BTreeMap<String, bool>,
    tflite: Option<Tflite>,
}

#[derive(Debug, Deserialize)]
struct Tflite {
    bytes: u64,
    ops: BTreeMap<String, usize>,
}

/// The table, measured now.
pub(crate) fn measured(tensorflow: &Path, program: &Path) -> Result<String> {
    models::bring(tensorflow, &[models::MOBILENET, models::RESNET])?;
    note("measuring with exports.py");
    let mut command = python(tensorflow);
    command.arg("tests/real/exports.py").arg(program).args([models::FOLDER, FOLDER]);
    let text = output(&mut command)?;
    let rows = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not a row: {line}")));
    Ok(table(&rows.collect::<Result<Vec<Row>>>()?))
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| export | form | MB | SavedModel, MB | GraphDef, MB | loaders that give the GraphDef's bits |".to_owned(),
        format!("|{}", " --- |".repeat(6)),
    ];
    #[expect(clippy::cast_precision_loss, reason = "sizes of files, rounded for reading")]
    let megabytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1e6);
    for row in rows {
        let others: Vec<&str> = row.equal.iter().filter(|(_, equal)| !**equal).map(|(name, _)| name.as_str()).collect();
        let loaders = match others.as_slice() {
            [] => format!("all {}", row.equal.len()),
            others => format!("not {}", others.join(", ")),
        };
        let sizes = [row.model_bytes, row.bytes, row.graph_bytes].map(megabytes);
        lines.push(format!("| `{}` | `{}` | {} | {loaders} |", row.model, row.form, sizes.join(" | ")));
    }
    if let Some(row) = rows.first() {
        let names: Vec<&str> = row.equal.keys().map(String::as_str).collect();
        lines.push(format!("\nLoaders: {}.", names.join(", ")));
    }
    for row in rows {
        if let Some(tflite) = &row.tflite {
            let ops: Vec<String> = tflite.ops.iter().map(|(op, count)| format!("{count} {op}")).collect();
            let (size, ops) = (megabytes(tflite.bytes), ops.join(", "));
            lines.push(format!("\nTFLite's converter makes of `{}` as `{}` {size} MB: {ops}.", row.model, row.form));
        }
    }
    lines.join("\n") + "\n"
}
