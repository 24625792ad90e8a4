//! `baked`: the model as it is, with quantized values where its weights lie.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
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
use crate::graphdef::index::Span;
use crate::graphdef::saved_model::{Home, Homes, Key, Origin};
use crate::rewrite::apply::{Baked, Compressed};

/// Copy the model into `folder`, with new values.
pub(super) fn write(
    compressed: &Compressed,
    (origin, homes): (&Origin, &Homes),
    folder: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Error> {
    let mut in_checkpoint: Vec<(Vec<&Key>, &Baked)> = Vec::new();
    let mut in_file: BTreeMap<Span, &Baked> = BTreeMap::new();
    for baked in compressed.baked() {
        let home = homes.get(&baked.constant).filter(|_| baked.is_alone);
        match home {
            Some(Home::Checkpoint { key, second, .. }) => {
                in_checkpoint.push((std::iter::once(key).chain(second).collect(), baked));
            }
            Some(Home::File(span)) => drop(in_file.insert(*span, baked)),
            None => return Err(not_alone(&baked.constant)),
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
    new: Vec<(Vec<&Key>, &Baked)>,
    (note, progress): (&Note<'_>, &(dyn Fn(u64) + Sync)),
) -> Result<(), Error> {
    let bundle = Bundle::open(&origin.checkpoint)?;
    let place = folder.join("variables");
    fs::create_dir_all(&place).map_err(|source| Error::Io { action: "make a folder", source }.in_file(&place))?;
    let part = |key: &Key| TensorPart { name: key.name.clone(), part: key.slice.clone() };
    let new = new.into_iter().map(|(keys, baked)| NewValues {
        parts: keys.into_iter().map(part).collect(),
        write: Box::new(move |out| {
            note(baked.write(compressed.graph(), out, progress)?);
            Ok(())
        }),
    });
    patch(&bundle, &place.join("variables"), new.collect())
}

/// Constants that stand in the file of the graph: new bytes of the same length.
fn patch_file(
    compressed: &Compressed,
    origin: &Origin,
    folder: &Path,
    spans: &BTreeMap<Span, &Baked>,
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
    for (span, baked) in spans {
        file.write_all(bytes.get(done..span.start()).unwrap_or_default()).map_err(Error::writing)?;
        note(baked.write(compressed.graph(), &mut file, &|_| {})?);
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
