//! `cargo xtask speed`: time and memory of whole commands on SavedModels, beside what does the same work.
//!
//! Not part of the continuous integration: it installs OpenVINO, and its numbers are about the machine.

use std::path::{Path, PathBuf};
use std::{fs, iter};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Deserialize;

use crate::run::{cargo, note, output, python, root, run_aside, say};
use crate::{models, oracles, page};

#[derive(Debug, Args)]
pub(crate) struct SpeedArgs {
    /// Write the tables into their page instead of printing them
    #[arg(long)]
    write: bool,
    /// The folder of the program, built already [default: it is built here]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

const OPENVINO: &str = "openvino==2026.4.1";
const FOLDER: &str = "target/speed";
const PAGE: &str = "docs/performance.md";

/// Which works the script compares; each is a table.
const WORKS: [&str; 3] = ["freeze", "baked", "large"];

/// What the script measured of one command: the least of its runs.
#[derive(Debug, Deserialize)]
struct Row {
    work: String,
    name: String,
    runs: usize,
    seconds: f64,
    cpu: f64,
    /// Bytes, with those of mapped files.
    peak: u64,
    /// Bytes that are no mapped file's, where that was watched.
    own: Option<u64>,
    /// Of what was written.
    bytes: u64,
}

pub(crate) fn make(args: &SpeedArgs) -> Result<()> {
    let tensorflow = oracles::tensorflow()?;
    let openvino = openvino(&tensorflow)?;
    models::bring(&tensorflow, &[models::RESNET, models::BIG])?;
    let programs = if let Some(folder) = &args.programs {
        root().join(folder)
    } else {
        note("building tf-rewriter");
        run_aside(cargo().args(["build", "--release", "-p", "tf-rewriter"]))?;
        root().join("target/release")
    };
    note("measuring with speed.py");
    let mut command = python(&tensorflow);
    command.arg("tests/real/speed.py").arg(programs.join("tf-rewriter")).args([&tensorflow, &openvino]);
    let text = output(command.args([models::FOLDER, FOLDER]).args(WORKS))?;
    let rows = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not a row: {line}")));
    let rows: Vec<Row> = rows.collect::<Result<_>>()?;
    let tables = WORKS.map(|work| (work, table(&rows, work)));
    if args.write {
        return page::write(PAGE, "cargo xtask speed --write", &tables);
    }
    tables.iter().try_for_each(|(_, table)| say(table))
}

/// The interpreter that has OpenVINO.
fn openvino(base: &Path) -> Result<PathBuf> {
    let folder = root().join(FOLDER).join("openvino");
    let (interpreter, stamp) = (folder.join("bin/python"), folder.join("packages.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|text| text == OPENVINO) {
        return Ok(interpreter);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    note(&format!("installing {OPENVINO} into {FOLDER}"));
    run_aside(python(base).args(["-m", "venv"]).arg(&folder))?;
    let options = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", OPENVINO];
    run_aside(python(&interpreter).args(options))?;
    #[expect(clippy::disallowed_methods, reason = "a plain new file; its absence or a half of it means: install anew")]
    fs::write(&stamp, OPENVINO).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(interpreter)
}

#[expect(clippy::cast_precision_loss, reason = "printed with few digits")]
fn table(rows: &[Row], work: &str) -> String {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.work == work).collect();
    let watched = rows.iter().any(|row| row.own.is_some());
    let mut head = vec!["command", "seconds", "processor, s", "peak, MB", "written, MB", "runs"];
    if watched {
        head.insert(4, "without mapped files, MB");
    }
    let megabytes = |bytes: u64| format!("{:.0}", bytes as f64 / 1e6);
    let ours = rows.first().copied();
    let ratio = |of: &dyn Fn(&Row) -> f64, row: &Row| match ours {
        Some(ours) if ours.name != row.name => format!(" ({:.2})", of(ours) / of(row)),
        _ => String::new(),
    };
    let lines = rows.iter().map(|row| {
        let mut cells = vec![
            row.name.clone(),
            format!("{:.2}{}", row.seconds, ratio(&|row| row.seconds, row)),
            format!("{:.2}{}", row.cpu, ratio(&|row| row.cpu, row)),
            format!("{}{}", megabytes(row.peak), ratio(&|row| row.peak as f64, row)),
            if row.bytes == 0 { "–".to_owned() } else { megabytes(row.bytes) },
            row.runs.to_string(),
        ];
        if watched {
            cells.insert(4, row.own.map_or_else(|| "–".to_owned(), megabytes));
        }
        format!("| {} |", cells.join(" | "))
    });
    let rule = format!("|{}", " --- |".repeat(head.len()));
    let head = format!("| {} |", head.join(" | "));
    iter::once(head).chain([rule]).chain(lines).map(|line| line + "\n").collect()
}
