//! `verify`: whether a quantized model is what its original and the settings come to.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use model_file::atomic::Unfinished;
use quant_math::difference::Difference;
use quant_math::plan::{Emit, QuantType};
use quant_math::report::SiteReport;
use serde::Serialize;
use tempfile::TempDir;

use super::{Adapter, PlanArgs};
use crate::args::GlobalArgs;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::model_tables::difference;
use crate::progress::Progress;
use crate::size::count;
use crate::summary::quantized;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs<M: Adapter> {
    #[command(flatten)]
    plan: PlanArgs<M>,

    /// The quantized model
    quantized: PathBuf,
}

/// What was found, as JSON.
#[derive(Debug, Serialize)]
struct Verified {
    /// Whether every byte is as it should be.
    identical: bool,
    /// The form.
    emit: Emit,
    /// Sites that are quantized.
    sites: usize,
    /// Elements of quantized weights.
    codes: u64,
    /// The first byte that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_difference: Option<Place>,
    /// From what the original comes to, to what was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Difference>,
}

/// A byte of a model.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Place {
    /// The file, where the model is a folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    offset: u64,
}

impl<M: Adapter> VerifyArgs<M> {
    /// Quantize the original anew and hold the result against the model that was given.
    ///
    /// # Errors
    /// A model that is another one (`V0101`), or damaged; what [`PlanArgs`] finds wrong; a temporary folder that cannot be written.
    pub fn run(&self, global: &GlobalArgs) -> Result<(), Failure> {
        let shown = self.quantized.display().to_string();
        if let Err(source) = std::fs::metadata(&self.quantized) {
            return Err(Failure::failed(
                Diagnostic::error("V0102", "cannot read the quantized model").at(&shown).caused_by(&source),
            ));
        }
        let planned = self.plan.plan(global, Some(&self.quantized), None)?;
        let compressed = M::apply(planned.model, &planned.plan)?;
        let make = || tempfile::Builder::new().prefix("verify-").tempdir();
        let (folder, _unfinished) = Unfinished::make(make, TempDir::path)?;
        // The name says which form of file is written.
        let expected = folder.path().join(self.quantized.file_name().unwrap_or_default());
        let progress = Progress::new(global, "deriving", M::bytes_to_write(&compressed));
        let report = self.plan.model.write_to(&compressed, &expected, &progress)?;
        drop(progress);
        let first_difference = first_difference(&expected, &self.quantized)?;
        let difference = match first_difference {
            Some(_) => Some(M::diff(&M::open_path(&expected)?, &M::open_path(&self.quantized)?)?),
            None => None,
        };
        let quantized = quantized(&report);
        let verified = Verified {
            identical: first_difference.is_none(),
            emit: report.emit,
            sites: quantized.len(),
            codes: codes(&quantized),
            first_difference,
            difference,
        };
        self.tell(global, &verified)?;
        match &verified.first_difference {
            None => Ok(()),
            Some(place) => Err(Failure::failed(
                Diagnostic::error("V0101", format!("not what the original and these settings come to: {}", told(place)))
                    .at(&shown)
                    .help("give the config, ranges and options that it was made with; another version of this program may write other bytes"),
            )),
        }
    }

    fn tell(&self, global: &GlobalArgs, verified: &Verified) -> Result<(), Failure> {
        let mut out = global.out();
        if global.json {
            out.json(verified)?;
        } else if let Some(found) = &verified.difference {
            write!(out, "{}", difference(found))?;
        } else {
            let (model, quantized) = (self.plan.model.path().display(), self.quantized.display());
            let (sites, codes) = (count(verified.sites, "site"), verified.codes);
            writeln!(
                out,
                "`{quantized}` is what `{model}` and these settings come to, byte for byte: {sites}, {codes} codes"
            )?;
        }
        Ok(out.finish()?)
    }
}

/// Elements of quantized weights.
fn codes(quantized: &[&SiteReport]) -> u64 {
    let weights = quantized.iter().map(|site| &site.site).filter(|site| site.kind == QuantType::Weight);
    weights.filter_map(|site| Some(site.shape.as_ref()?.iter().product::<u64>())).sum()
}

fn told(place: &Place) -> String {
    match &place.file {
        Some(file) => format!("`{}` differs at byte {:#x}", file.display(), place.offset),
        None => format!("it differs at byte {:#x}", place.offset),
    }
}

/// Where the second of two models is another one first. What else is in its folder does not belong to it.
fn first_difference(expected: &Path, found: &Path) -> Result<Option<Place>, Failure> {
    if !expected.is_dir() {
        return Ok(compare(expected, found)?.map(|offset| Place { file: None, offset }));
    }
    for path in files(expected)? {
        let file = path.strip_prefix(expected).unwrap_or(&path);
        let offset = match compare(&path, &found.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
            compared => compared?,
        };
        if let Some(offset) = offset {
            return Ok(Some(Place { file: Some(file.to_owned()), offset }));
        }
    }
    Ok(None)
}

/// The files below a folder, in the order of their names.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// The offset of the first byte that is another one, or that only one of two files has.
fn compare(first: &Path, second: &Path) -> io::Result<Option<u64>> {
    const CHUNK: usize = 1 << 20;
    let (first, second) = (File::open(first)?, File::open(second)?);
    let (mut a, mut b) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    let mut offset = 0;
    loop {
        a.clear();
        b.clear();
        (&first).take(CHUNK as u64).read_to_end(&mut a)?;
        (&second).take(CHUNK as u64).read_to_end(&mut b)?;
        if a != b {
            let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            return Ok(Some(offset + same as u64));
        }
        if a.is_empty() {
            return Ok(None);
        }
        offset += a.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_other_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            model_file::atomic::write(&path, bytes).unwrap();
            path
        };
        let long = vec![7; (1 << 20) + 3];
        let mut other = long.clone();
        other[1 << 20] = 8;
        let (other, short, long) = (file("other", &other), file("short", &long[..5]), file("long", &long));
        assert_eq!(compare(&long, &long).unwrap(), None);
        assert_eq!(compare(&long, &other).unwrap(), Some(1 << 20));
        assert_eq!(compare(&short, &long).unwrap(), Some(5));
        assert_eq!(compare(&long, &short).unwrap(), Some(5));
        assert_eq!(compare(&long, &folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_may_hold_more_but_not_less() {
        let folder = tempfile::tempdir().unwrap();
        let (expected, found) = (folder.path().join("expected"), folder.path().join("found"));
        for (model, extra) in [(&expected, None), (&found, Some("labels.txt"))] {
            std::fs::create_dir_all(model.join("variables")).unwrap();
            for name in ["saved_model.pb", "variables/variables.index"].into_iter().chain(extra) {
                model_file::atomic::write(&model.join(name), name.as_bytes()).unwrap();
            }
        }
        assert_eq!(first_difference(&expected, &found).unwrap(), None);
        let lost = |file: &str| Some(Place { file: Some(file.into()), offset: 0 });
        assert_eq!(first_difference(&found, &expected).unwrap(), lost("labels.txt"));
        model_file::atomic::write(&found.join("variables/variables.index"), b"variables/x").unwrap();
        let place = Place { file: Some("variables/variables.index".into()), offset: 10 };
        assert_eq!(first_difference(&expected, &found).unwrap(), Some(place));
    }
}
