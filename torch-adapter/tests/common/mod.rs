//! What the tests of archives share.

#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

pub(crate) mod forge;
pub(crate) mod net;

use std::path::{Path, PathBuf};

use torch_adapter::archive::Archive;
use torch_adapter::{Error, Limits, Model};

/// The folder of small archives that `tests/models/make_torch.py` wrote.
pub(crate) fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/torch")
}

/// Name and bytes of every small archive, sorted.
pub(crate) fn archives() -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(models()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "pt"));
    paths.sort();
    assert!(paths.len() > 40, "the small archives are missing: {} found", paths.len());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

/// The bytes of one small archive.
pub(crate) fn model(name: &str) -> Vec<u8> {
    std::fs::read(models().join(name)).unwrap()
}

pub(crate) fn open(bytes: Vec<u8>) -> Archive {
    Archive::from_bytes(bytes, &Limits::default()).unwrap()
}

/// Read all layers of an archive, follow its code, and check every record.
pub(crate) fn load(bytes: Vec<u8>) -> Result<(), Error> {
    Model::from_bytes(bytes)?.archive().check_all()
}
