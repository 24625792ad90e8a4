//! `baked`: the model as it is, with quantized values where its weights lie.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use model_file::atomic::AtomicFile;
use quant_math::Emit;
use quant_math::metrics::Metrics;
use quant_math::plan::NoSuchForm;
use quant_math::report::Report;

use super::{copy, model_files};
use crate::error::Error;
use crate::graphdef::bundle::{Bundle, NewValues, TensorPart, patch};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::Span;
use crate::graphdef::saved_model::{Home, Homes, Key, Origin};
use crate::rewrite::apply::{Baked, Compressed};

/// New elements of a constant.
#[derive(Clone, Copy)]
enum New<'a> {
    /// Quantized.
    Baked(&'a Baked),
    /// What a batch normalization has in its place, which the layer before it has taken.
    Neutral(&'a [u8]),
    /// The weight of such a layer, which stays float: the number of its elements.
    Folded(u64),
}

impl New<'_> {
    fn write(
        self,
        graph: &Graph,
        out: &mut (dyn Write + Send),
        (note, progress): (&Note<'_>, &(dyn Fn(u64) + Sync)),
    ) -> Result<(), Error> {
        match self {
            Self::Baked(baked) => note(baked.write(graph, out, progress)?),
            Self::Neutral(bytes) => out.write_all(bytes).map_err(Error::writing)?,
            Self::Folded(number) => {
                if let Some(elements) = graph.elsewhere().get(number) {
                    elements.stretches(model_file::WRITE, |bytes| {
                        progress(bytes.len() as u64);
                        out.write_all(bytes).map_err(Error::writing)
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// All constants with new elements; `None`: one that does not change itself.
fn changed(compressed: &Compressed) -> Result<BTreeMap<&str, Option<New<'_>>>, Error> {
    let neutral = compressed.graph().neutral();
    if let Some(norm) = neutral.impossible.first() {
        let why = format!(
            "cannot fold `{norm}` where it lies in the model: it has other parameters than γ, β, μ and σ², or others read them"
        );
        let help = "leave it with `--fold off`, or write a GraphDef (.pb)".to_owned();
        return Err(NoSuchForm { emit: Emit::Baked, why, help }.into());
    }
    let folded = neutral.weights.iter().map(|(name, number)| (name.as_str(), Some(New::Folded(*number))));
    let others = neutral.constants.iter().map(|(name, bytes)| (name.as_str(), Some(New::Neutral(bytes))));
    let baked = compressed.baked().iter();
    let baked = baked.map(|baked| (baked.constant.as_str(), baked.is_alone.then_some(New::Baked(baked))));
    Ok(folded.chain(others).chain(baked).collect())
}

/// Copy the model into `folder`, with new values.
pub(super) fn write(
    compressed: &Compressed,
    (origin, homes): (&Origin, &Homes),
    folder: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Error> {
    let mut in_checkpoint: Vec<(Vec<&Key>, New<'_>)> = Vec::new();
    let mut in_file: BTreeMap<Span, New<'_>> = BTreeMap::new();
    for (constant, new) in changed(compressed)? {
        match (new, homes.get(constant)) {
            (Some(new), Some(Home::Checkpoint { key, second, .. })) => {
                in_checkpoint.push((std::iter::once(key).chain(second).collect(), new));
            }
            (Some(new), Some(Home::File(span))) => drop(in_file.insert(*span, new)),
            _ => return Err(not_alone(constant)),
        }
    }
    let from = origin.model.path();
    let checkpoint = from.join("variables");
    let written: Mutex<BTreeMap<usize, Metrics>> = Mutex::default();
    let note = |errors| written.lock().unwrap_or_else(PoisonError::into_inner).extend(errors);
    for path in model_files(origin)? {
        if path.starts_with(&checkpoint) && !in_checkpoint.is_empty() {
            continue;
        }
        copy(&path, from, folder)?;
        progress(fs::metadata(&path).map_or(0, |found| found.len()));
    }
    if !in_file.is_empty() {
        patch_file(compressed, origin, folder, &in_file, &note)?;
    }
    if !in_checkpoint.is_empty() {
        patch_checkpoint(compressed, origin, folder, in_checkpoint, (&note, progress))?;
    }
    // What has no new values was copied, and nobody has looked at it.
    compressed.graph().elsewhere().verify()?;
    Ok(compressed.report(&written.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// Notes how far new values are from the float ones, by their slots.
type Note<'a> = dyn Fn(BTreeMap<usize, Metrics>) + 'a;

/// Variables: new values in the checkpoint, under every key.
fn patch_checkpoint(
    compressed: &Compressed,
    origin: &Origin,
    folder: &Path,
    new: Vec<(Vec<&Key>, New<'_>)>,
    (note, progress): (&Note<'_>, &(dyn Fn(u64) + Sync)),
) -> Result<(), Error> {
    let bundle = Bundle::open(&origin.checkpoint)?;
    let place = folder.join("variables");
    fs::create_dir_all(&place).map_err(|source| Error::Io { action: "make a folder", source }.in_file(&place))?;
    let part = |key: &Key| TensorPart { name: key.name.clone(), part: key.slice.clone() };
    let new = new.into_iter().map(|(keys, new)| NewValues {
        parts: keys.into_iter().map(part).collect(),
        write: Box::new(move |out| new.write(compressed.graph(), out, (note, progress))),
    });
    patch(&bundle, &place.join("variables"), new.collect())
}

/// Constants that stand in the file of the graph: new bytes of the same length.
fn patch_file(
    compressed: &Compressed,
    origin: &Origin,
    folder: &Path,
    spans: &BTreeMap<Span, New<'_>>,
    note: &Note<'_>,
) -> Result<(), Error> {
    if origin.model.binary().is_some() {
        return Err(Error::from(NoSuchForm {
            emit: Emit::Baked,
            why: "changes a constant in a model that is written as text".to_owned(),
            help: "write a GraphDef (.pb), or choose `--emit packed`".to_owned(),
        }));
    }
    let path = folder.join("saved_model.pb");
    let bytes = origin.model.bytes();
    let mut file = AtomicFile::create(&path)?;
    let mut done = 0;
    for (span, new) in spans {
        file.write_all(bytes.get(done..span.start()).unwrap_or_default()).map_err(Error::writing)?;
        new.write(compressed.graph(), &mut file, (note, &|_| {}))?;
        done = span.end();
    }
    file.write_all(bytes.get(done..).unwrap_or_default()).map_err(Error::writing)?;
    file.persist()?;
    Ok(())
}

fn not_alone(constant: &str) -> Error {
    let why = format!("cannot change `{constant}` where it lies in the model: others read it too, or it is computed");
    let help =
        "choose all ops that read it, with the same settings; or write a GraphDef (.pb), which can hold it twice";
    NoSuchForm { emit: Emit::Baked, why, help: help.to_owned() }.into()
}
