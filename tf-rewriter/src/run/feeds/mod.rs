//! From data to what a run is fed: arrays by input name, cut into samples or not, in the inputs' own types.

mod front;
mod role;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::RunError;
use super::data::{self, Batch, Data};
use super::session::{Input, Model};
use super::value::{Value, dims};
use role::{Pair, Role, roles};

/// The data of a model, a batch at a time.
#[derive(Debug)]
pub struct Feeds {
    path: PathBuf,
    inputs: Vec<(Input, Source)>,
    /// What is cut into samples, and the labels.
    cut: Option<Data>,
    labels: Option<String>,
    samples: u64,
    /// Samples that were given out.
    position: u64,
    exact: Option<u64>,
}

/// Where the value of an input comes from.
#[derive(Debug)]
enum Source {
    /// An array, cut as it says.
    Cut(Role),
    /// The same in every run.
    Whole(Value),
}

impl Feeds {
    /// Open the arrays of a model's inputs and, where they are named, the labels: a `.npz`, a `.npy`, or a folder of them.
    ///
    /// # Errors
    /// Files that cannot be read; an input without an array; arrays that do not fit; labels that are called like an input.
    pub fn open(model: &Model, path: &Path, labels: Option<&str>) -> Result<Self, RunError> {
        let there = Data::names(path).unwrap_or_default();
        let names: Vec<String> = model.inputs().iter().map(|input| array_of(input, &there)).collect();
        if let Some(labels) = labels.filter(|labels| names.iter().any(|name| name == labels)) {
            return Err(RunError::Request {
                message: format!("the labels `{labels}` are an input of the model"),
                help: "name the array with the right classes with `--labels`".to_owned(),
            });
        }
        let wanted: Vec<String> = names.iter().cloned().chain(labels.map(str::to_owned)).collect();
        let mut found = data::find(path, &wanted)?;
        let mut arrays = Vec::new();
        for (input, name) in model.inputs().iter().zip(&names) {
            let Some(array) = found.remove(name) else { return Err(missing(path, input, model)) };
            if Value::descr(input.dtype).is_none() {
                return Err(RunError::Request {
                    message: format!("the input `{}` takes {}, which no array of NumPy holds", input.name, input.dtype),
                    help: "freeze the model behind its decoding of strings".to_owned(),
                });
            }
            array.check()?;
            arrays.push((input, array));
        }
        let pairs: Vec<Pair<'_>> = arrays
            .iter()
            .map(|(input, array)| Pair {
                wanted: input.shape.as_deref(),
                found: &array.shape,
                gets_front: front::gets_front(&input.operation),
            })
            .collect();
        let count = labels.and_then(|labels| found.get(labels)?.shape.first().copied());
        let roles = match roles(&pairs, count) {
            Ok(roles) => roles,
            Err(at) => return Err(arrays.get(at).map_or_else(|| nothing(path), |(i, a)| misfit(path, i, &a.shape))),
        };
        let mut inputs = Vec::new();
        for ((input, array), role) in arrays.into_iter().zip(roles) {
            let source = match role {
                Role::Whole => {
                    let value = converted(path, input, array.read()?, |_| String::new())?;
                    finite(path, input, &value, |_| String::new())?;
                    Source::Whole(value)
                }
                role => Source::Cut(role),
            };
            inputs.push((input.clone(), source));
        }
        let exact = exact(&inputs)?;
        let cut: Vec<String> = inputs
            .iter()
            .zip(&names)
            .filter(|((_, source), _)| matches!(source, Source::Cut(_)))
            .map(|(_, name)| name.clone())
            .chain(labels.map(str::to_owned))
            .collect();
        let all_whole = inputs.iter().all(|(_, source)| matches!(source, Source::Whole(_)));
        let cut = if cut.is_empty() { None } else { Some(Data::open(path, &cut)?) };
        let samples = cut.as_ref().map_or(1, Data::samples);
        if let Some(labels) = labels.filter(|_| all_whole && samples != 1) {
            let message = format!("`{labels}` has {samples} labels, and every input is fed whole, in a single run");
            return Err(data::data(
                path,
                message,
                "give the inputs a further dimension in front: one element per sample",
            ));
        }
        if let Some(exact) = exact.filter(|exact| samples < *exact) {
            let message = format!("there are {samples} samples, and the model takes {exact} at once");
            return Err(data::data(
                path,
                message,
                "give as many samples as fill a batch, or freeze the model with one of any size",
            ));
        }
        let labels = labels.map(str::to_owned);
        Ok(Self { path: path.to_owned(), inputs, cut, labels, samples, position: 0, exact })
    }

    /// Where the data is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of samples; 1 where everything is fed whole.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// How many samples a run takes, where it is not for the caller to say: an input has a fixed number of rows, or takes one sample
    /// without a dimension for more.
    pub fn exact(&self) -> Option<u64> {
        self.exact
    }

    /// The next `most` samples, or as many as [`Feeds::exact`] says; `None` when all were read. What does not fill a batch of fixed size
    /// is left out.
    ///
    /// # Errors
    /// A damaged file; numbers that the input's type has no value for; NaN and infinity, which would spoil every statistic behind them.
    pub fn next(&mut self, most: u64) -> Result<Option<Batch>, RunError> {
        let first = self.position;
        let Some(read) = self.read(self.exact.unwrap_or(most))? else { return Ok(None) };
        if self.exact.is_some_and(|exact| read.samples != exact) {
            return Ok(None);
        }
        let samples = read.samples;
        self.position += samples;
        let mut cut = read.arrays.into_iter();
        let mut arrays = Vec::with_capacity(self.inputs.len());
        for (input, source) in &self.inputs {
            let value = match source {
                Source::Whole(value) => value.clone(),
                Source::Cut(role) => {
                    let Some((_, value)) = cut.next() else { continue };
                    let one = value.shape().iter().skip(1).product::<u64>().max(1);
                    let place = |at: usize| format!(" in sample {}", first + at as u64 / one);
                    let value = converted(&self.path, input, value, place)?;
                    finite(&self.path, input, &value, place)?;
                    match (role, value.shape().get(1..)) {
                        (Role::Single, Some(inner)) => value.reshaped(inner).unwrap_or(value),
                        _ => value,
                    }
                }
            };
            arrays.push((input.name.clone(), value));
        }
        // The labels come last.
        arrays.extend(cut);
        Ok(Some(Batch { samples, arrays }))
    }

    fn read(&mut self, most: u64) -> Result<Option<Batch>, RunError> {
        match &mut self.cut {
            Some(data) => data.next(most),
            None => Ok((self.position == 0).then(|| Batch { samples: 1, arrays: Vec::new() })),
        }
    }

    /// Pass over `samples` samples from where it stands.
    ///
    /// # Errors
    /// A damaged file.
    pub fn skip(&mut self, samples: u64) -> Result<(), RunError> {
        self.position += samples;
        self.cut.as_mut().map_or(Ok(()), |data| data.skip(samples))
    }

    /// The labels' name.
    pub fn labels(&self) -> Option<&str> {
        self.labels.as_deref()
    }

    /// The inputs that are the same in every run.
    pub(super) fn whole(&self) -> BTreeSet<&str> {
        self.called(|source| matches!(source, Source::Whole(_)))
    }

    /// The inputs of which a run takes one sample without its dimension.
    pub(super) fn single(&self) -> BTreeSet<&str> {
        self.called(|source| matches!(source, Source::Cut(Role::Single)))
    }

    fn called(&self, is: impl Fn(&Source) -> bool) -> BTreeSet<&str> {
        self.inputs.iter().filter(|(_, source)| is(source)).map(|(input, _)| input.name.as_str()).collect()
    }
}

/// The name of the array for an input: the node's, or what the signature calls it where only such an array is there.
fn array_of(input: &Input, there: &[String]) -> String {
    let is_there = |name: &String| there.contains(name);
    let key = input.key.as_ref().filter(|key| is_there(key) && !is_there(&input.name));
    key.unwrap_or(&input.name).clone()
}

/// How many samples a run takes, as far as inputs fix it.
fn exact(inputs: &[(Input, Source)]) -> Result<Option<u64>, RunError> {
    let mut exact: Option<(u64, &str)> = None;
    for (input, source) in inputs {
        let own = match source {
            Source::Cut(Role::Single) => 1,
            Source::Cut(Role::Batches(Some(fixed))) => *fixed,
            _ => continue,
        };
        match exact {
            Some((known, name)) if known != own => {
                return Err(RunError::Request {
                    message: format!("a run takes {known} samples of `{name}`, and {own} of `{}`", input.name),
                    help: "give arrays of the inputs' own dimensions, or freeze the model with one size of batch"
                        .to_owned(),
                });
            }
            _ => exact = Some((own, &input.name)),
        }
    }
    Ok(exact.map(|(exact, _)| exact))
}

fn nothing(path: &Path) -> RunError {
    data::data(path, "there are no arrays", "arrays by input name")
}

fn missing(path: &Path, input: &Input, model: &Model) -> RunError {
    let name = &input.name;
    let there = Data::names(path).unwrap_or_default().into_iter().take(20).map(|name| format!("`{name}`"));
    let there = there.collect::<Vec<_>>().join(", ");
    let or_key = input.key.as_ref().filter(|key| *key != name).map(|key| format!(", or `{key}`,")).unwrap_or_default();
    let message = format!(
        "there is no array `{name}`{or_key} for that input ({}, {}); there are {there}",
        input.dtype,
        dims(input.shape.as_deref())
    );
    let example = if input.shape.as_ref().is_some_and(|dims| !dims.is_empty()) { "[…]" } else { "1" };
    let several = if model.inputs().len() > 1 { ", or put them into one .npz" } else { "" };
    let help = format!(
        "name the arrays after the model's inputs, which `inspect MODEL` lists{several}: `numpy.savez(file, **{{'{name}': array}})`; what is \
         the same in every run can be given as `--feed {name}={example}`"
    );
    data::data(path, message, &help)
}

fn misfit(path: &Path, input: &Input, found: &[u64]) -> RunError {
    let wanted = input.shape.as_deref().unwrap_or_default();
    let (own, sample) = (dims(Some(wanted)), dims(wanted.get(1..)));
    let message = match found.get(1..) {
        Some(of_sample) if found.len() == wanted.len() => {
            format!("`{}` has samples of shape {of_sample:?}, expected {sample}", input.name)
        }
        _ => format!("`{}` has shape {found:?}, expected {own}, or samples of that shape", input.name),
    };
    data::data(path, message, "convert the array where it is made")
}

/// A value in the type of its input.
fn converted(path: &Path, input: &Input, value: Value, place: impl Fn(usize) -> String) -> Result<Value, RunError> {
    let from = value.dtype();
    let refused = |message: String| {
        data::data(
            path,
            message,
            "convert the array where it is made, so that what becomes of its numbers is your choice",
        )
    };
    match value.converted(input.dtype) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(refused(format!("`{}` holds {from}, and its input takes {}", input.name, input.dtype))),
        Err((at, number)) => Err(refused(format!(
            "`{}` holds {number} ({from}){}, which would be another number in {}, the type of its input",
            input.name,
            place(at),
            input.dtype
        ))),
    }
}

/// Refuse a NaN or an infinity.
fn finite(path: &Path, input: &Input, value: &Value, place: impl Fn(usize) -> String) -> Result<(), RunError> {
    let Some((at, number)) = value.first_not_finite() else { return Ok(()) };
    let message = format!("`{}` holds {number}{}", input.name, place(at));
    Err(data::data(path, message, "leave such samples out, or mend them"))
}
