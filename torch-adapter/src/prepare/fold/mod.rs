//! Batch normalizations into the layers before them: the same archive with other values in some of its tensors, which computes the same.
//!
//! ```text
//! norms ──find──▶ layer before each (trace: back through names, methods and functions; lines: one function's text) ──▶ scale and shift of
//! its channels ──choose──▶ folded or not, and why ──▶ changes
//! ```
//!
//! The batch norm stays in the code, and does no more than to add b′: γ = 1, β = b′, μ = 0, σ² = 1 − ε. No text, no class and no pickle changes. Of
//! that, vectors are held; a weight stays where it is, with a factor for each channel, until the archive is written.

mod choose;
mod find;
mod lines;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quant_math::budget::Share;
use quant_math::config::ConfigList;
use quant_math::fold::{self, Factors, Fold, FoldDecision, Folded, Linear, neutral_variance, numbers};
use quant_math::plan::Reason;
use quant_math::weights::ChannelLayout;
use quant_math::{DType, Emit, Plan};

use crate::codes;
use crate::error::{At, Error};
use crate::find::model::Model;
use crate::torchscript::contents::{Changes, Stored};
use crate::torchscript::heap::TensorId;
use crate::torchscript::stored::Change;

use choose::Choose;
use find::{Finder, Norm, Pair};

/// A look at the batch normalizations of a model.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// All of them but those that only add by now.
    pub(crate) folds: Vec<Folded>,
    /// What the folded ones change.
    changes: Changes,
    /// By weight: what is added behind its layer by a batch norm that does no more.
    added: BTreeMap<TensorId, Vec<f32>>,
}

/// A batch normalization that can go into its layer.
struct Candidate<'m> {
    norm: Norm<'m>,
    pair: Pair<'m>,
    linear: Linear,
    channels: usize,
    /// The factor of each of the weight's elements.
    factors: Factors,
    epsilon: f64,
}

/// What a batch normalization is.
enum Found<'m> {
    /// It can be folded.
    Fits(Box<Candidate<'m>>),
    /// It only adds these numbers, to the layer with this weight.
    Adds(Option<(TensorId, Vec<f32>)>),
    Stays(find::Stays<'m>),
}

impl Model {
    /// The model with batch normalizations in the layers before them, as `config` and `fold` say, for a form that is not trained: what
    /// [`Model::apply`] writes. It computes what it did, up to the rounding of its type.
    ///
    /// # Errors
    /// Damaged tensors.
    pub fn folded(self, config: &ConfigList, fold: Fold) -> Result<Self, Error> {
        let looked = self.look_at_norms(config, fold, Emit::Baked)?;
        Ok(self.into_looked(looked))
    }

    /// The model with all batch normalizations in the layers before them that can be there.
    ///
    /// # Errors
    /// Damaged tensors.
    pub fn folded_everywhere(self) -> Result<Self, Error> {
        let looked = self.choose_norms(&Choose::All)?;
        Ok(self.into_looked(looked))
    }

    fn into_looked(self, looked: Looked) -> Self {
        if !self.folds().is_empty() {
            return self;
        }
        let Looked { folds, changes, added } = looked;
        self.with_changes(changes, folds, added)
    }

    /// Which batch normalizations are folded for a config. One that was looked at before stays as it is.
    pub(crate) fn look_at_norms(&self, config: &ConfigList, fold: Fold, emit: Emit) -> Result<Looked, Error> {
        match (fold, emit) {
            (Fold::Off, _) => Ok(Looked { folds: self.folds().to_vec(), ..Looked::default() }),
            (_, Emit::Training) => self.choose_norms(&Choose::Trained),
            (Fold::On, _) => self.choose_norms(&Choose::All),
            (Fold::Auto, _) => self.choose_norms(&Choose::config(config)),
        }
    }

    /// The model in which those batch normalizations are folded that a plan says.
    ///
    /// # Errors
    /// One that is not there, or cannot be folded; damaged tensors.
    pub(crate) fn folded_by(self, plan: &Plan) -> Result<Self, Error> {
        let looked = self.look_at_plan(plan)?;
        Ok(self.into_looked(looked))
    }

    /// The batch normalizations as a plan says of them.
    ///
    /// # Errors
    /// Those of [`folded_by`](Self::folded_by).
    pub(crate) fn look_at_plan(&self, plan: &Plan) -> Result<Looked, Error> {
        if !self.folds().is_empty() {
            return Ok(Looked { folds: self.folds().to_vec(), ..Looked::default() });
        }
        let names: BTreeSet<&str> =
            plan.folds.iter().filter(|fold| fold.is_folded()).map(|fold| fold.norm.as_str()).collect();
        let choose = if plan.emit == Emit::Training { Choose::Trained } else { Choose::Named(&names) };
        let mut looked = self.choose_norms(&choose)?;
        let wrong = |name: &str, why: &str| Error::Plan { message: format!("the batch norm `{name}` {why}") };
        for name in names {
            match looked.folds.iter().find(|fold| fold.norm == name).map(|fold| &fold.decision) {
                Some(FoldDecision::Fold) => {}
                Some(FoldDecision::Skip(reason)) => {
                    return Err(wrong(name, &format!("cannot be folded ({}): {}", reason.code, reason.text)));
                }
                None => return Err(wrong(name, "is not in the model, or does nothing but add")),
            }
        }
        looked.folds.clone_from(&plan.folds);
        Ok(looked)
    }

    fn choose_norms(&self, choose: &Choose<'_>) -> Result<Looked, Error> {
        if !self.folds().is_empty() {
            return Ok(Looked { folds: self.folds().to_vec(), ..Looked::default() });
        }
        self.in_file(self.fold_chosen(choose))
    }

    fn fold_chosen(&self, choose: &Choose<'_>) -> Result<Looked, Error> {
        let mut looked = Looked::default();
        let mut look = Look { model: self, finder: Finder::new(self), counted: Share::of(self.archive().budget()) };
        for norm in look.finder.norms() {
            let name = norm.op.name.clone();
            let (layer, decision) = match look.at(norm)? {
                Found::Adds(added) => {
                    looked.added.extend(added);
                    continue;
                }
                Found::Stays((layer, reason)) => (layer, FoldDecision::Skip(reason)),
                Found::Fits(candidate) => {
                    let layer = candidate.pair.layer;
                    let decision = if let Some(reason) = choose.refuses(self, &candidate) {
                        FoldDecision::Skip(reason)
                    } else {
                        candidate.put(self, &mut looked);
                        FoldDecision::Fold
                    };
                    (Some(layer), decision)
                }
            };
            let fold = Folded { norm: name, layer: layer.map(|layer| layer.name.clone()), decision };
            look.count_fold(&fold)?;
            looked.folds.push(fold);
        }
        Ok(looked)
    }
}

/// Looks at batch normalizations.
struct Look<'m> {
    model: &'m Model,
    finder: Finder<'m>,
    counted: Share<'m>,
}

impl<'m> Look<'m> {
    fn at(&mut self, norm: Norm<'m>) -> Result<Found<'m>, Error> {
        if let Some(reason) = self.finder.trains(&norm) {
            return Ok(Found::Stays((None, reason)));
        }
        let read = match self.finder.parameters(&norm) {
            Ok((parameters, epsilon)) => self.read(parameters, epsilon, &norm)?.map(|read| (parameters, read)),
            Err(reason) => Err(reason),
        };
        let (parameters, read) = match read {
            Ok(read) => read,
            Err(reason) => return Ok(Found::Stays((None, reason))),
        };
        let pair = self.finder.pair(&norm, parameters);
        let Read { values: [gamma, beta, mean, variance], epsilon, dtype } = &read;
        let channels = variance.len();
        let neutral = as_stored(*dtype, neutral(*dtype, *epsilon));
        let all = |values: &[f64], number: f64| values.iter().all(|value| value.total_cmp(&number).is_eq());
        if all(gamma, 1.0) && all(variance, neutral) {
            let shift = beta.iter().zip(mean).map(|(beta, mean)| as_float(beta - mean)).collect();
            return Ok(Found::Adds(pair.ok().map(|pair| (pair.weight.0, shift))));
        }
        let pair = match pair {
            Ok(pair) => pair,
            Err(stays) => return Ok(Found::Stays(stays)),
        };
        let stays = |code, text: String| Ok(Found::Stays((Some(pair.layer), Reason::new(code, text))));
        let others = || {
            let (norm, layer) = (&norm.op.name, &pair.layer.name);
            stays(
                codes::NORM_AXIS,
                format!("`{norm}` normalizes {channels} channels, which are not those of `{layer}`"),
            )
        };
        let mut linear = Linear::identity(channels);
        if let Some(bias) = pair.bias {
            match self.vector(bias)? {
                Some((_, bias)) if bias.len() == channels => linear.plus(&bias),
                _ => return others(),
            }
        }
        linear.normalize([gamma, beta, mean, variance], *epsilon);
        if !linear.is_finite() {
            return stays(codes::NORM_NOT_FINITE, "a factor or a shift is infinite or no number".to_owned());
        }
        let Some(factors) = self.factors(&pair, &linear)? else { return others() };
        let epsilon = *epsilon;
        Ok(Found::Fits(Box::new(Candidate { norm, pair, linear, channels, factors, epsilon })))
    }

    /// The elements of a vector.
    fn vector(&mut self, tensor: TensorId) -> Result<Option<(DType, Vec<f64>)>, Error> {
        let is_vector = self.model.heap().tensor(tensor).is_some_and(|facts| facts.shape.len() == 1);
        let Some(stored) = self.model.contents().stored(tensor).ok().filter(|_| is_vector) else { return Ok(None) };
        self.count(stored.dense.len())?;
        let bytes = stored.bytes(self.model.archive())?;
        Ok(Some((stored.dtype, numbers(stored.dtype, &bytes).collect())))
    }

    /// Count what is said of a batch norm: names are copied from the model.
    fn count_fold(&mut self, fold: &Folded) -> Result<(), Error> {
        let names = fold.norm.len() + fold.layer.as_ref().map_or(0, String::len);
        let text = fold.reason().map_or(0, |reason| reason.code.len() + reason.text.len());
        self.take((size_of::<Folded>() + names + text) as u64)
    }

    /// Count so many numbers, which are held with what is computed of them.
    fn count(&mut self, numbers: u64) -> Result<(), Error> {
        self.take(numbers.saturating_mul(4 * size_of::<f64>() as u64))
    }

    fn take(&mut self, bytes: u64) -> Result<(), Error> {
        self.counted.take(bytes, WHAT).map_err(|over| Error::Budget { over, at: At::default() })
    }

    /// γ, β, μ and σ² of all channels.
    fn read(
        &mut self,
        parameters: [Option<TensorId>; 4],
        epsilon: f64,
        norm: &Norm<'_>,
    ) -> Result<Result<Read, Reason>, Error> {
        let mut found: [Option<(DType, Vec<f64>)>; 4] = Default::default();
        for (slot, tensor) in found.iter_mut().zip(parameters) {
            *slot = tensor.map(|tensor| self.vector(tensor)).transpose()?.flatten();
        }
        let alike = match &found {
            [.., Some((dtype, variance))] => {
                let mut given = found.iter().zip(parameters).filter(|(_, tensor)| tensor.is_some());
                let same = |read: &(DType, Vec<f64>)| read.0 == *dtype && read.1.len() == variance.len();
                let all = given.all(|(read, _)| read.as_ref().is_some_and(same));
                all.then_some((*dtype, variance.len()))
            }
            _ => None,
        };
        let Some((dtype, channels)) = alike else {
            let text = format!("the tensors of `{}` are not vectors of one type and length", norm.op.name);
            return Ok(Err(Reason::new(codes::NORM_COMPUTED, text)));
        };
        let epsilon = if dtype == DType::F64 { epsilon } else { as_float(epsilon).into() };
        // Missing are a γ of 1 and a β of 0.
        let [gamma, beta, mean, variance] = found.map(|read| read.map(|(_, values)| values));
        let all = |read: Option<Vec<f64>>, number: f64| read.unwrap_or_else(|| vec![number; channels]);
        let values = [all(gamma, 1.0), all(beta, 0.0), all(mean, 0.0), all(variance, 1.0)];
        Ok(Ok(Read { values, epsilon, dtype }))
    }

    /// The factor of each of a weight's elements; `None` where they do not fit it.
    fn factors(&mut self, pair: &Pair<'_>, linear: &Linear) -> Result<Option<Factors>, Error> {
        let (weight, stored) = &pair.weight;
        let channels = linear.scale.len();
        let shape = self.model.heap().tensor(*weight).map_or(&[][..], |facts| &facts.shape);
        let shape: Option<Vec<usize>> = shape.iter().map(|size| usize::try_from(*size).ok()).collect();
        let shape = shape.unwrap_or_default();
        let Some(own) = shape.get(pair.axis).copied().filter(|own| *own > 0) else { return Ok(None) };
        if own == channels {
            let layout = stored.dense.per_channel(pair.axis);
            return Ok(layout.map(|layout| Factors { layout, factors: linear.scale.clone() }));
        }
        // A transposed convolution in groups, [in, out / groups, …]: the rows of group k make the channels from k · out / groups on.
        let (groups, rest) = (channels / own, channels % own);
        let Some(rows) = shape.first().copied().filter(|_| pair.axis == 1 && rest == 0 && groups > 0) else {
            return Ok(None);
        };
        if rows % groups != 0 || !stored.dense.is_row_major() {
            return Ok(None);
        }
        let of_group = rows / groups;
        let all = rows.saturating_mul(own);
        self.count(all as u64)?;
        let of_row = |row: usize| linear.scale.chunks(own).nth(row / of_group.max(1)).unwrap_or_default();
        let factors: Vec<f64> = (0..rows).flat_map(of_row).copied().collect();
        let inner = usize::try_from(stored.dense.len()).unwrap_or(usize::MAX) / all.max(1);
        Ok(Some(Factors { layout: ChannelLayout { outer: 1, channels: all, inner }, factors }))
    }
}

/// The numbers of a batch normalization.
struct Read {
    /// γ, β, μ and σ².
    values: [Vec<f64>; 4],
    /// As PyTorch rounds it before it is added: to the type of the statistics, or float32 for smaller ones.
    epsilon: f64,
    dtype: DType,
}

impl Candidate<'_> {
    /// Let the layer and the batch norm have the values that they have together.
    fn put(self, model: &Model, looked: &mut Looked) {
        let Self { pair, linear, factors, epsilon, channels, .. } = self;
        let mut put = |tensor: Option<TensorId>, values: &dyn Fn(&Stored) -> Vec<f64>| {
            let Some(tensor) = tensor else { return };
            let Ok(stored) = model.contents().stored(tensor) else { return };
            let change = Change::Values(fold::stored(stored.dtype, &values(&stored)));
            looked.changes.extend(model.contents().store_key(tensor).map(|key| (key, Arc::new(change))));
        };
        let [gamma, beta, mean, variance] = pair.parameters;
        put(pair.bias, &|_| vec![0.0; channels]);
        put(gamma, &|_| vec![1.0; channels]);
        put(beta, &|_| linear.shift.clone());
        // (x − μ)/√(σ² + ε) with μ = −b′ adds b′ as well.
        let without_beta = || -> Vec<f64> { linear.shift.iter().map(|shift| -shift).collect() };
        put(mean, &|_| if beta.is_none() { without_beta() } else { vec![0.0; channels] });
        put(variance, &|stored| vec![neutral(stored.dtype, epsilon); channels]);
        let (weight, _) = pair.weight;
        let scaled = Arc::new(Change::Scaled(factors));
        looked.changes.extend(model.contents().store_key(weight).map(|key| (key, scaled)));
        looked.added.insert(weight, linear.shift.iter().map(|shift| as_float(*shift)).collect());
    }
}

/// The variance that with ε is 1.
fn neutral(dtype: DType, epsilon: f64) -> f64 {
    if dtype == DType::F64 { 1.0 - epsilon } else { neutral_variance(as_float(epsilon)).into() }
}

/// A number as it is read again after it was stored.
fn as_stored(dtype: DType, number: f64) -> f64 {
    numbers(dtype, &fold::stored(dtype, &[number])).next().unwrap_or(number)
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest float32 is what is wanted")]
fn as_float(number: f64) -> f32 {
    number as f32
}

const WHAT: &str = "the batch normalizations";
