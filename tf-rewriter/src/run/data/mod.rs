//! Data: NumPy arrays by input name, batch first, read a batch at a time.
//!
//! ```text
//! file or folder ──▶ shards ──▶ arrays (.npy, streamed) ──▶ batches: one tensor per input
//! ```

mod array;
mod find;
mod npy;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use self::array::Array;
use super::RunError;
use super::value::Value;

pub(crate) use find::find;

/// Names of arrays that a message shows.
const SHOWN: usize = 20;

/// Samples of a model's inputs, from the first to the last.
#[derive(Debug)]
pub struct Data {
    path: PathBuf,
    shards: Vec<Shard>,
    /// The arrays that are wanted, with their element type and the shape of a sample.
    wanted: Vec<Wanted>,
    samples: u64,
    next_shard: usize,
    open: Vec<Array>,
}

/// Files that hold the same samples: one `.npz`, or one `.npy` per array.
#[derive(Debug, Clone)]
struct Shard {
    files: Vec<(PathBuf, Option<String>)>,
    samples: u64,
}

/// An array that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    descr: String,
    sample_shape: Vec<u64>,
}

/// Some samples, by array.
#[derive(Debug)]
pub struct Batch {
    /// The number of samples.
    pub samples: u64,
    /// A tensor per array, by name. Those of [`Data`] stand in the order in which they were asked for, and their outermost dimension is
    /// `samples`.
    pub arrays: Vec<(String, Value)>,
}

impl Batch {
    /// The tensor of that name.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.arrays.iter().find(|(array, _)| array == name).map(|(_, value)| value)
    }

    /// All tensors; of two with one name, the first.
    pub(super) fn by_name(&self) -> BTreeMap<&str, &Value> {
        self.arrays.iter().rev().map(|(array, value)| (array.as_str(), value)).collect()
    }
}

impl Data {
    /// Open a `.npz`, a `.npy`, or a folder of them, for the arrays `names`. A `.npy` alone serves a single name; in a folder, `.npy`
    /// files are arrays by name where they are called like the names, else parts of a single array, in the order of their names.
    ///
    /// # Errors
    /// Files that cannot be read; arrays that are missing, differ between files, or have different numbers of samples.
    pub fn open<S: AsRef<str>>(path: &Path, names: &[S]) -> Result<Self, RunError> {
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        let mut shards = shards(path, &names)?;
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut positions: BTreeMap<String, usize> = BTreeMap::new();
        for shard in &mut shards {
            let arrays = shard.open(&names)?;
            let first = arrays.first().map_or(0, Array::left);
            for array in &arrays {
                let found = check(array, shard.path())?;
                if array.left() != first {
                    let message = format!(
                        "`{}` has {} samples, but `{}` has {first}",
                        array.name,
                        array.left(),
                        arrays.first().map(|a| a.name.as_str()).unwrap_or_default()
                    );
                    return Err(data(
                        shard.path(),
                        message,
                        "the outermost dimension counts the samples; what is the same in every run has the dimensions of its input, or is given \
                         as `--feed NAME=VALUE`",
                    ));
                }
                match positions.get(&found.name).and_then(|position| wanted.get(*position)) {
                    None => {
                        positions.insert(found.name.clone(), wanted.len());
                        wanted.push(found);
                    }
                    Some(known) if *known == found => {}
                    Some(known) => {
                        let message = format!(
                            "`{}` has samples of {} {:?}, in the file before {} {:?}",
                            found.name, found.descr, found.sample_shape, known.descr, known.sample_shape
                        );
                        return Err(data(
                            shard.path(),
                            message,
                            "the parts of a data set have one element type and shape",
                        ));
                    }
                }
            }
            shard.samples = first;
        }
        let samples = shards.iter().fold(0u64, |sum, shard| sum.saturating_add(shard.samples));
        if samples == 0 {
            return Err(data(
                path,
                "there are no samples",
                "arrays by input name, the sample outermost, at least one sample",
            ));
        }
        Ok(Self { path: path.to_owned(), shards, wanted, samples, next_shard: 0, open: Vec::new() })
    }

    /// The names of the arrays that are there, without opening a data set.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn names(path: &Path) -> Result<Vec<String>, RunError> {
        let mut names = Vec::new();
        for file in files(path)? {
            match extension(&file) {
                Some("npz") => {
                    names.extend(array::names_of_npz(&file).map_err(|error| unreadable(&file, &error))?);
                }
                _ => names.extend(stem(&file)),
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of samples, of all files together.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// NumPy type (`f4`) and dimensions of a sample of the array at `position` of the names.
    #[cfg(test)]
    fn sample(&self, position: usize) -> Option<(&str, &[u64])> {
        self.wanted.get(position).map(|wanted| (wanted.descr.as_str(), wanted.sample_shape.as_slice()))
    }

    /// The next `most` samples, fewer at the end; `None` when all were read. A batch reaches over the end of a file.
    ///
    /// # Errors
    /// A damaged file; no library of TensorFlow, whose tensors a batch is made of.
    pub fn next(&mut self, most: u64) -> Result<Option<Batch>, RunError> {
        super::library::load()?;
        let mut buffers = vec![Vec::new(); self.wanted.len()];
        let mut samples = 0;
        while samples < most {
            let left = self.open.first().map_or(0, Array::left);
            if left == 0 {
                if !self.open_next()? {
                    break;
                }
                continue;
            }
            let now = left.min(most - samples);
            let shard = self.current_path();
            for (array, buffer) in self.open.iter_mut().zip(&mut buffers) {
                array.read(now, buffer).map_err(|error| unreadable(&shard, &error))?;
            }
            samples += now;
        }
        if samples == 0 {
            return Ok(None);
        }
        let mut arrays = Vec::with_capacity(buffers.len());
        for (wanted, buffer) in self.wanted.iter().zip(&buffers) {
            let shape: Vec<u64> = std::iter::once(samples).chain(wanted.sample_shape.iter().copied()).collect();
            let value = Value::from_bytes(&wanted.descr, &shape, buffer);
            let value = value.ok_or_else(|| unknown_type(&self.path, &wanted.name, &wanted.descr))?;
            arrays.push((wanted.name.clone(), value));
        }
        Ok(Some(Batch { samples, arrays }))
    }

    /// Pass over `samples` samples from where it stands.
    ///
    /// # Errors
    /// A damaged file.
    pub fn skip(&mut self, samples: u64) -> Result<(), RunError> {
        let mut to_go = samples.min(self.samples);
        while to_go > 0 {
            let left = self.open.first().map_or(0, Array::left);
            if left == 0 {
                // Whole files are not read.
                let whole =
                    self.shards.get(self.next_shard).map(|shard| shard.samples).filter(|samples| *samples <= to_go);
                if let Some(samples) = whole {
                    to_go -= samples;
                    self.next_shard += 1;
                    self.open.clear();
                } else if !self.open_next()? {
                    return Ok(());
                }
                continue;
            }
            let now = left.min(to_go);
            let shard = self.current_path();
            for array in &mut self.open {
                array.skip(now).map_err(|error| unreadable(&shard, &error))?;
            }
            to_go -= now;
        }
        Ok(())
    }

    /// Begin again with the first sample.
    pub fn rewind(&mut self) {
        self.next_shard = 0;
        self.open.clear();
    }

    fn open_next(&mut self) -> Result<bool, RunError> {
        let Some(shard) = self.shards.get(self.next_shard) else { return Ok(false) };
        let names: Vec<String> = self.wanted.iter().map(|wanted| wanted.name.clone()).collect();
        self.open = shard.open(&names)?;
        self.next_shard += 1;
        Ok(true)
    }

    fn current_path(&self) -> PathBuf {
        let shard = self.next_shard.checked_sub(1).and_then(|position| self.shards.get(position));
        shard.map_or_else(|| self.path.clone(), |shard| shard.path().to_owned())
    }
}

impl Shard {
    /// The names of the arrays that are there, as far as they can be read, for messages.
    fn names(&self) -> String {
        let of_file = |(path, name): &(PathBuf, Option<String>)| match name {
            Some(name) => vec![name.clone()],
            None => array::names_of_npz(path).unwrap_or_default(),
        };
        let names: BTreeSet<String> = self.files.iter().flat_map(of_file).collect();
        let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if names.len() > SHOWN { format!("{shown}, and {} more", names.len() - SHOWN) } else { shown }
    }

    fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), |(path, _)| path)
    }

    /// The arrays `names`, in that order.
    fn open(&self, names: &[String]) -> Result<Vec<Array>, RunError> {
        let mut found = BTreeMap::new();
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        for (path, name) in &self.files {
            let arrays = match name {
                Some(name) => array::open_npy(path, name).map(|array| vec![array]),
                None => array::open_npz(path, &wanted),
            };
            for array in arrays.map_err(|error| unreadable(path, &error))? {
                found.insert(array.name.clone(), array);
            }
        }
        let arrays = names.iter().map(|name| {
            found.remove(name).ok_or_else(|| {
                let there = self.names();
                let message = format!("there is no array `{name}`; there are {there}");
                data(self.path(), message, "name the arrays after the model's inputs, which `inspect MODEL` lists, and the labels as `--labels` says: `numpy.savez(file, **{'name': array})`")
            })
        });
        arrays.collect()
    }
}

/// The files at `path`, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, RunError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |source| RunError::Io { action: "read the folder", path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if matches!(extension(&file), Some("npz" | "npy")) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(data(
            path,
            "the folder holds no .npz and no .npy",
            "a folder of what `numpy.savez` or `numpy.save` write",
        ));
    }
    Ok(files)
}

fn shards(path: &Path, names: &[String]) -> Result<Vec<Shard>, RunError> {
    let files = files(path)?;
    let (packs, singles): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|file| extension(file) != Some("npy"));
    let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let by_name = |file: &PathBuf| {
        stem(file).filter(|stem| wanted.contains(stem.as_str())).map(|name| (file.clone(), Some(name)))
    };
    let called: Vec<_> = singles.iter().filter_map(by_name).collect();
    let mut shards: Vec<Shard> =
        packs.into_iter().map(|file| Shard { files: vec![(file, None)], samples: 0 }).collect();
    match (singles.as_slice(), names) {
        ([], _) => {}
        (_, _) if path.is_dir() && called.len() == names.len() => shards.push(Shard { files: called, samples: 0 }),
        (singles, [name]) => {
            shards.extend(
                singles.iter().map(|file| Shard { files: vec![(file.clone(), Some(name.clone()))], samples: 0 }),
            );
        }
        ([first, ..], _) => {
            let wanted = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let message = format!("a .npy file holds one array, and {wanted} are wanted");
            return Err(data(
                first,
                message,
                "put the arrays into one .npz by name, or into a folder of .npy files called like them",
            ));
        }
    }
    Ok(shards)
}

fn check(array: &Array, path: &Path) -> Result<Wanted, RunError> {
    let head = &array.head;
    if head.samples().is_none() {
        let message =
            format!("`{}` is a single number, expected an array with the sample as outermost dimension", array.name);
        return Err(data(path, message, "give it a first dimension of one element per sample"));
    }
    if !Value::reads(&head.descr) {
        return Err(unknown_type(path, &array.name, &head.descr));
    }
    // Of samples without a byte a file can claim any number.
    if head.sample_bytes() == Some(0) {
        let message = format!(
            "`{}` has samples of shape {:?}, which have no elements",
            array.name,
            head.shape.get(1..).unwrap_or_default()
        );
        return Err(data(path, message, "give arrays without a dimension of 0"));
    }
    Ok(Wanted {
        name: array.name.clone(),
        descr: head.descr.clone(),
        sample_shape: head.shape.get(1..).unwrap_or_default().to_vec(),
    })
}

fn unknown_type(path: &Path, name: &str, descr: &str) -> RunError {
    data(
        path,
        format!("`{name}` has elements of type `{descr}`, which is not read"),
        "use float16 to float64, int8 to int64, uint8 to uint64 or bool",
    )
}

fn unreadable(path: &Path, error: &io::Error) -> RunError {
    data(path, error.to_string(), "expected what `numpy.savez`, `numpy.savez_compressed` or `numpy.save` write")
}

pub(crate) fn data(path: &Path, message: impl Into<String>, help: &str) -> RunError {
    RunError::Data { path: path.to_owned(), message: message.into(), help: help.to_owned() }
}

fn extension(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests;
