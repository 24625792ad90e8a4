//! What a training leaves behind after each epoch, so that it can go on after an interruption.
//!
//! A zip archive: `state.json`, and one entry with the bytes of each variable.

use std::io::{Cursor, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::super::RunError;
use super::super::value::Value;
use super::Epoch;
use super::options::FinetuneOptions;
use super::variables::Snapshot;

const HEAD: &str = "state.json";

/// What must be the same for a training to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) model: String,
    /// CRC-32C of the plan.
    pub(super) plan: String,
    pub(super) options: FinetuneOptions,
    pub(super) samples: u64,
}

/// A training between two epochs.
#[derive(Debug)]
pub(super) struct State {
    pub(super) identity: Identity,
    pub(super) epochs: Vec<Epoch>,
    pub(super) steps: u64,
    /// Every variable, the optimizer's too.
    pub(super) now: Snapshot,
    /// The best epoch so far, and its variables.
    pub(super) best: Option<(Epoch, Snapshot)>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    identity: Identity,
    epochs: Vec<Epoch>,
    steps: u64,
    best: Option<Epoch>,
    tensors: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    of_best: bool,
    descr: String,
    shape: Vec<u64>,
}

const VERSION: u32 = 1;

impl State {
    /// The archive.
    ///
    /// # Errors
    /// A variable of a type that has no bytes here.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, RunError> {
        let failed = |error: &dyn std::fmt::Display| RunError::Request {
            message: format!("cannot pack the state of the training: {error}"),
            help: "train without interruption".to_owned(),
        };
        let best = self.best.iter().flat_map(|(_, values)| values);
        let all: Vec<(bool, &String, &Value)> = self
            .now
            .iter()
            .map(|(name, value)| (false, name, value))
            .chain(best.map(|(name, value)| (true, name, value)))
            .collect();
        let tensors = all.iter().map(|(of_best, name, value)| Entry {
            name: (*name).clone(),
            of_best: *of_best,
            descr: Value::descr(value.dtype()).unwrap_or_default().to_owned(),
            shape: value.shape().to_vec(),
        });
        let head = Head {
            version: VERSION,
            identity: self.identity.clone(),
            epochs: self.epochs.clone(),
            steps: self.steps,
            best: self.best.as_ref().map(|(epoch, _)| *epoch),
            tensors: tensors.collect(),
        };
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file(HEAD, options).map_err(|error| failed(&error))?;
        archive
            .write_all(&serde_json::to_vec(&head).map_err(|error| failed(&error))?)
            .map_err(|error| failed(&error))?;
        for (position, (_, _, value)) in all.iter().enumerate() {
            archive.start_file(position.to_string(), options).map_err(|error| failed(&error))?;
            archive.write_all(&value.bytes()).map_err(|error| failed(&error))?;
        }
        Ok(archive.finish().map_err(|error| failed(&error))?.into_inner())
    }

    /// Read the archive at `path`.
    ///
    /// # Errors
    /// A file that is none, or damaged.
    pub(super) fn open(path: &Path) -> Result<Self, RunError> {
        let wrong = |message: String| RunError::Resume { message, path: path.to_owned() };
        let bytes =
            std::fs::read(path).map_err(|source| RunError::Io { action: "read", path: path.to_owned(), source })?;
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| wrong(error.to_string()))?;
        let mut entry = |name: &str| {
            let mut bytes = Vec::new();
            let mut file = archive.by_name(name).map_err(|error| wrong(format!("`{name}`: {error}")))?;
            file.read_to_end(&mut bytes).map_err(|error| wrong(format!("`{name}`: {error}")))?;
            Ok::<_, RunError>(bytes)
        };
        let head: Head = serde_json::from_slice(&entry(HEAD)?).map_err(|error| wrong(format!("`{HEAD}`: {error}")))?;
        if head.version != VERSION {
            return Err(wrong(format!("it has version {}, expected {VERSION}", head.version)));
        }
        let (mut now, mut of_best) = (Snapshot::new(), Snapshot::new());
        for (position, tensor) in head.tensors.iter().enumerate() {
            let bytes = entry(&position.to_string())?;
            let elements = tensor.shape.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim));
            let value = elements
                .filter(|n| *n <= bytes.len() as u64)
                .and_then(|_| Value::from_bytes(&tensor.descr, &tensor.shape, &bytes));
            let value = value.ok_or_else(|| {
                wrong(format!("the bytes of `{}` are not of {} {:?}", tensor.name, tensor.descr, tensor.shape))
            })?;
            let to = if tensor.of_best { &mut of_best } else { &mut now };
            to.insert(tensor.name.clone(), value);
        }
        let best = head.best.map(|epoch| (epoch, of_best));
        Ok(Self { identity: head.identity, epochs: head.epochs, steps: head.steps, now, best })
    }
}
