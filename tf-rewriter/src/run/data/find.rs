//! Arrays looked up by name before it is known which of their dimensions are samples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::array::{self, Array};
use super::{RunError, extension, files, stem, unknown_type, unreadable};
use crate::run::value::Value;

/// An array that is there.
#[derive(Debug)]
pub(crate) struct Found {
    file: PathBuf,
    name: String,
    /// Its NumPy type without the byte order (`f4`).
    pub(crate) descr: String,
    /// Its dimensions, outermost first.
    pub(crate) shape: Vec<u64>,
}

/// The arrays `names`, as far as the files at `path` have them; of several files with an array of one name, the first.
///
/// # Errors
/// Files that cannot be read.
pub(crate) fn find(path: &Path, names: &[String]) -> Result<BTreeMap<String, Found>, RunError> {
    let mut found = BTreeMap::new();
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    for file in files(path)? {
        if found.len() == names.len() {
            break;
        }
        for array in arrays(&file, &names)? {
            let (name, descr, shape) = (array.name, array.head.descr, array.head.shape);
            found.entry(name.clone()).or_insert(Found { file: file.clone(), name, descr, shape });
        }
    }
    Ok(found)
}

/// The arrays of a file that are called like one of `names`. A `.npy` file with another name holds the array where one alone is wanted.
fn arrays(file: &Path, names: &BTreeSet<&str>) -> Result<Vec<Array>, RunError> {
    let read = if extension(file) == Some("npy") {
        let called = stem(file).filter(|stem| names.contains(stem.as_str()));
        let only = names.first().filter(|_| names.len() == 1).map(|name| (*name).to_owned());
        called.or(only).map(|name| array::open_npy(file, &name)).transpose().map(|array| array.into_iter().collect())
    } else {
        array::open_npz(file, names)
    };
    read.map_err(|error| unreadable(file, &error))
}

impl Found {
    /// All of the array.
    ///
    /// # Errors
    /// A damaged file.
    pub(crate) fn read(&self) -> Result<Value, RunError> {
        crate::run::library::load()?;
        let mut bytes = Vec::new();
        for mut array in arrays(&self.file, &BTreeSet::from([self.name.as_str()]))? {
            let left = array.left();
            array.read(left, &mut bytes).map_err(|error| unreadable(&self.file, &error))?;
        }
        Value::from_bytes(&self.descr, &self.shape, &bytes)
            .ok_or_else(|| unknown_type(&self.file, &self.name, &self.descr))
    }

    /// Whether its elements are numbers that are read.
    ///
    /// # Errors
    /// They are not.
    pub(crate) fn check(&self) -> Result<(), RunError> {
        if Value::reads(&self.descr) { Ok(()) } else { Err(unknown_type(&self.file, &self.name, &self.descr)) }
    }
}
