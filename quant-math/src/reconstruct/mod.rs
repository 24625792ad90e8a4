//! Rounding by reconstruction: codes of a weight that keep what its layer makes, not each element.
//!
//! Rounding to nearest makes every element's error small. What counts is the error of `W·x`, which is `tr(ΔW·H·ΔWᵀ)` with `H = E[x·xᵀ]`
//! ([`moments`](crate::moments)). Elements are rounded one after another, and what rounding has done to those before is made up for by those that
//! come after (GPTQ, Frantar et al. 2022, eq. 2 and 3, in the form without an inverse: Chee et al. 2023, LDLQ, eq. 5, which gives the same codes):
//!
//! ```text
//! H + λ·I = (M + I)·D·(M + I)ᵀ       M strictly upper triangular, D diagonal, λ = 1 % of the mean of H's diagonal
//! q_k = round(w_k + Σ_{i<k} (w_i − q_i)·M_ik)
//! ‖error‖² = Σ_k D_kk·(w_k + Σ_{i<k} (w_i − q_i)·M_ik − q_k)²
//! ```
//!
//! Inputs are taken in descending order of `H`'s diagonal. At 6 bits and fewer each scale is tried at parts of its range, too, and the one with the
//! least error is kept.
//!
//! What comes out is a float weight again, whose values lie on its grid, and whose range is the one that the grid follows from. So
//! everything that quantizes a weight to nearest gives these codes, in every form and container, and needs to know nothing of it.

mod factor;
mod feedback;

#[cfg(test)]
mod tests;

use std::ops::Range as Span;

use rayon::prelude::*;

use crate::moments::LayerMoments;
use crate::plan::Settings;
use crate::weights::{Biases, ChannelLayout, WeightMap, observe_beside};
use crate::{Affine, MathError, Range, Rounding, WeightData};

use factor::Factor;
use feedback::{LANES, Output, Round};

/// Where the elements of a weight `[groups][outputs, inputs]` lie: element `(group, output, input)` stands at
/// `group·group_step + output·output_step + input·input_step`, whatever axes the tensor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Groups of outputs that read inputs of their own.
    pub groups: usize,
    /// Outputs of a group.
    pub outputs: usize,
    /// Inputs of an output.
    pub inputs: usize,
    /// From a group to the next.
    pub group_step: usize,
    /// From an output to the next.
    pub output_step: usize,
    /// From an input to the next.
    pub input_step: usize,
}

impl Matrix {
    /// Elements.
    pub fn len(self) -> usize {
        self.groups.saturating_mul(self.outputs).saturating_mul(self.inputs)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    fn element(self, group: usize, output: usize, input: usize) -> usize {
        group * self.group_step + output * self.output_step + input * self.input_step
    }
}

/// A weight that was rounded by reconstruction, and what it is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconstructed {
    /// The weight in the order of the tensor: values of its grid, but for those that its ranges end with, and for channels that rounding to nearest
    /// keeps best, which are as they were.
    pub values: Vec<f32>,
    /// The share of the output's power that rounding to nearest costs, on the data of the moments, with `λ` in both.
    pub nearest: f64,
    /// The share that these codes cost.
    pub error: f64,
}

/// Parts of a range that are tried, the whole first.
const PARTS: [f32; 6] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5];
/// Up to so many bits.
const FEW_BITS: u32 = 6;

/// Round a weight by reconstruction. Parallel; the same bits at any number of threads.
///
/// `settings`, `layout` and `biases` are those of [`observe_beside`], whose map of the result has the codes that were found; `settings.rounding` is
/// not looked at. No channel is worse than with rounding to nearest, on the data of the moments.
///
/// # Errors
/// Those of [`observe_beside`]; [`MathError::Layout`] for a `matrix` or moments that do not fit the weight; [`MathError::NotAffine`] for a
/// quantizer whose codes lie on no grid; [`MathError::Channels`] where the elements of an output have several scales.
pub fn reconstruct<D: WeightData + ?Sized>(
    settings: &Settings,
    layout: ChannelLayout,
    biases: &Biases,
    data: &D,
    (matrix, moments): (Matrix, &LayerMoments),
) -> Result<Reconstructed, MathError> {
    let settings = &Settings { rounding: Rounding::Nearest, ..*settings };
    let observed = |data: &[f32]| match observe_beside(settings, layout, biases, data)? {
        WeightMap::Affine(map) => Ok(map.channels().to_vec()),
        _ => Err(MathError::NotAffine { quantizer: settings.quantizer.row().name }),
    };
    let weights = data.chunk(0..data.len());
    let own = observed(&weights)?;
    let inputs = moments.inputs();
    if matrix.len() != data.len() || (inputs.groups, inputs.inputs) != (matrix.groups, matrix.inputs) {
        return Err(MathError::Layout { expected: inputs.len().saturating_mul(matrix.outputs), found: data.len() });
    }
    let rows = Rows::of(matrix, layout)?;
    let factors = factors(moments);
    let parts = if settings.bits <= FEW_BITS { &PARTS[..] } else { &PARTS[..1] };
    let trials = trials(settings, layout, &own, &weights, parts)?;
    let made = rows.reconstructed(&weights, &factors, &trials);
    // A channel's least range depends on the largest one: where that is smaller now, grids may be others than those that were tried.
    let channels = observed(&made.values)?;
    if channels.iter().zip(&made.channels).all(|(found, meant)| found == meant) {
        return Ok(made.result());
    }
    Ok(rows.reconstructed(&weights, &factors, trials.get(..1).unwrap_or_default()).result())
}

/// The factors of all groups and their blocks.
fn factors(moments: &LayerMoments) -> Vec<Vec<(Span<usize>, Factor)>> {
    let of = |group| {
        let blocks: Vec<_> = moments.blocks_of(group).collect();
        blocks.into_par_iter().map(|(block, second)| (block.clone(), Factor::of(block.len(), second))).collect()
    };
    (0..moments.inputs().groups).into_par_iter().map(of).collect()
}

/// A grid for each channel, and the elements that keep their values because the grid follows from them.
#[derive(Debug)]
struct Trial {
    channels: Vec<(Affine, Range)>,
    /// In the order of elements.
    kept: Vec<(usize, f32)>,
}

impl Trial {
    /// The grid of a channel, and what its values do not exceed.
    fn channel(&self, channel: usize) -> Option<(Affine, Range)> {
        self.channels.get(channel).copied()
    }

    fn kept(&self, element: usize) -> Option<f32> {
        let at = self.kept.binary_search_by_key(&element, |(element, _)| *element).ok()?;
        self.kept.get(at).map(|(_, value)| *value)
    }
}

/// The grids of parts of the channels' ranges; `own` are those of the whole.
fn trials(
    settings: &Settings,
    layout: ChannelLayout,
    own: &[Affine],
    weights: &[f32],
    parts: &[f32],
) -> Result<Vec<Trial>, MathError> {
    let mut ends = vec![Ends::default(); layout.channels];
    for (element, x) in weights.iter().enumerate() {
        if let Some(ends) = ends.get_mut(layout.channel(element)) {
            ends.add(element, *x);
        }
    }
    let make = if settings.symmetric { Affine::symmetric } else { Affine::asymmetric };
    let trial = |part: f32| {
        let (mut channels, mut kept) = (Vec::with_capacity(own.len()), Vec::new());
        for (ends, own) in ends.iter().zip(own) {
            let (whole, _) = ends.part(settings.symmetric, 1.0);
            if make(whole, own.grid())? != *own {
                // Its range is wider than its weights, and needs none of them.
                channels.push((*own, own.nudged_range()));
                continue;
            }
            let (range, elements) = ends.part(settings.symmetric, part);
            channels.push((make(range, own.grid())?, range));
            kept.extend(elements.into_iter().flatten());
        }
        kept.sort_by_key(|(element, _)| *element);
        Ok(Trial { channels, kept })
    };
    parts.iter().map(|part| trial(*part)).collect()
}

/// The outermost elements of a channel.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    min: Option<(usize, f32)>,
    max: Option<(usize, f32)>,
}

impl Ends {
    fn add(&mut self, element: usize, x: f32) {
        if self.min.is_none_or(|(_, min)| x < min) {
            self.min = Some((element, x));
        }
        if self.max.is_none_or(|(_, max)| x > max) {
            self.max = Some((element, x));
        }
    }

    /// A part of the range with 0 in it, and the elements that it ends with.
    fn part(self, symmetric: bool, part: f32) -> (Range, [Option<(usize, f32)>; 2]) {
        let of = |end: Option<(usize, f32)>| end.map(|(element, x)| (element, x * part));
        let (min, max) = (of(self.min).filter(|(_, x)| *x < 0.0), of(self.max).filter(|(_, x)| *x > 0.0));
        let value = |end: Option<(usize, f32)>| end.map_or(0.0, |(_, x)| x);
        if !symmetric {
            return (Range { min: value(min), max: value(max) }, [min, max]);
        }
        let (below, above) = (-value(min), value(max));
        let width = below.max(above);
        (Range { min: -width, max: width }, [if below > above { min } else { max }, None])
    }
}

/// The outputs of a weight, and which channel of its layout each is.
#[derive(Debug)]
struct Rows {
    matrix: Matrix,
    channels: usize,
    /// Group by group.
    channel_of: Vec<usize>,
}

/// How a channel can be rounded: by what, and on which of the grids that are tried.
type Candidate = (Round, usize);

/// A weight in the making.
struct Made {
    values: Vec<f32>,
    /// The grids that were chosen.
    channels: Vec<Affine>,
    power: f64,
    nearest: f64,
    error: f64,
}

impl Made {
    fn result(self) -> Reconstructed {
        let share = |error: f64| if self.power > 0.0 { error / self.power } else { 0.0 };
        Reconstructed { nearest: share(self.nearest), error: share(self.error), values: self.values }
    }
}

impl Rows {
    fn of(matrix: Matrix, layout: ChannelLayout) -> Result<Self, MathError> {
        let mut channel_of = Vec::with_capacity(matrix.groups * matrix.outputs);
        for group in 0..matrix.groups {
            for output in 0..matrix.outputs {
                let channel = |input| layout.channel(matrix.element(group, output, input));
                let first = channel(0);
                if (1..matrix.inputs).any(|input| channel(input) != first) {
                    return Err(MathError::Channels);
                }
                channel_of.push(first);
            }
        }
        Ok(Self { matrix, channels: layout.channels, channel_of })
    }

    fn reconstructed(&self, weights: &[f32], factors: &[Vec<(Span<usize>, Factor)>], trials: &[Trial]) -> Made {
        let errors = |candidate: Candidate| {
            let mut errors = vec![0.0; self.channels];
            for (work, run) in self.run(weights, factors, trials, &|_| candidate) {
                for (row, error) in work.rows.zip(run.errors) {
                    if let Some(sum) = self.channel_of.get(row).and_then(|channel| errors.get_mut(*channel)) {
                        *sum += error;
                    }
                }
            }
            errors
        };
        let nearest = errors((Round::Nearest, 0));
        let mut best: Vec<(f64, Candidate)> = nearest.iter().map(|error| (*error, (Round::Nearest, 0))).collect();
        for trial in 0..trials.len() {
            let candidate = (Round::Feedback, trial);
            for (best, error) in best.iter_mut().zip(errors(candidate)) {
                if error < best.0 {
                    *best = (error, candidate);
                }
            }
        }
        let chosen = |row: usize| {
            let best = self.channel_of.get(row).and_then(|channel| best.get(*channel));
            best.map_or((Round::Nearest, 0), |(_, candidate)| *candidate)
        };
        let mut values = vec![0.0; weights.len()];
        for (work, run) in self.run(weights, factors, trials, &chosen) {
            for (input, lanes) in work.block.clone().zip(&run.values) {
                for (row, value) in work.rows.clone().zip(lanes) {
                    let (group, output) = (row / self.matrix.outputs, row % self.matrix.outputs);
                    if let Some(place) = values.get_mut(self.matrix.element(group, output, input)) {
                        *place = *value;
                    }
                }
            }
        }
        let grid =
            |(channel, (_, (_, trial))): (usize, &(f64, Candidate))| Some(trials.get(*trial)?.channel(channel)?.0);
        let channels = best.iter().enumerate().filter_map(grid).collect();
        let power = errors((Round::Nothing, 0)).iter().sum();
        let error = best.iter().map(|(error, _)| error).sum();
        Made { values, channels, power, nearest: nearest.iter().sum(), error }
    }

    /// Round all rows, each as `candidate` says of it.
    fn run(
        &self,
        weights: &[f32],
        factors: &[Vec<(Span<usize>, Factor)>],
        trials: &[Trial],
        candidate: &(dyn Fn(usize) -> Candidate + Sync),
    ) -> Vec<(Work, feedback::Run)> {
        let outputs = self.matrix.outputs;
        let mut works = Vec::new();
        for (group, blocks) in factors.iter().enumerate() {
            for (at, (block, _)) in blocks.iter().enumerate() {
                for from in (0..outputs).step_by(LANES) {
                    let rows = group * outputs + from..group * outputs + outputs.min(from + LANES);
                    works.push(Work { group, at, block: block.clone(), rows });
                }
            }
        }
        let run = |work: Work| {
            let (block, factor) = factors.get(work.group)?.get(work.at)?;
            let output = |row: usize| {
                let (round, trial) = candidate(row);
                let trial = trials.get(trial)?;
                let (grid, range) = trial.channel(*self.channel_of.get(row)?)?;
                let element = |input: usize| {
                    let at = self.matrix.element(work.group, row % outputs, block.start + input);
                    (weights.get(at).copied().unwrap_or_default(), trial.kept(at))
                };
                Some(Output { round, grid, range, elements: (0..block.len()).map(element).collect() })
            };
            let lanes: Vec<Output> = work.rows.clone().map(output).collect::<Option<_>>()?;
            let run = feedback::run(factor, &lanes);
            Some((work, run))
        };
        works.into_par_iter().filter_map(run).collect()
    }
}

/// Rows of a group that are rounded together, as far as a block of inputs goes.
struct Work {
    group: usize,
    at: usize,
    block: Span<usize>,
    rows: Span<usize>,
}
