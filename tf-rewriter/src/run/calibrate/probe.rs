//! What is added to a graph so that a tensor's statistics can be fetched instead of the tensor.

use quant_math::observers::{BINS, Histogram};
use quant_math::{MathError, Range};
use tensorflow::{DataType, Operation, Output, Tensor};

use super::super::RunError;
use super::super::data::Batch;
use super::super::nodes::Nodes;
use super::super::session::Model;
use super::super::value::Value;

/// The nodes behind one tensor.
#[derive(Debug)]
pub(super) struct Probe {
    tensor: String,
    min: Output,
    max: Output,
    histograms: Option<Histograms>,
}

/// Two `HistogramFixedWidth`, of max(x, 0) and max(−x, 0), over [0, limit].
#[derive(Debug)]
struct Histograms {
    /// The placeholder of both value ranges.
    limits: Operation,
    positive: Output,
    negative: Output,
}

/// What a batch says about a tensor.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) range: Range,
    pub(super) counts: Option<Counts>,
}

/// How many elements are in which bin.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) exponent: i32,
    pub(super) positive: Vec<i32>,
    pub(super) negative: Vec<i32>,
}

impl Probe {
    /// Add the nodes for the tensor of that name (`node:port`).
    pub(super) fn new(model: &mut Model, tensor: &str, histogram: bool) -> Result<Self, RunError> {
        let from = model.tensor(tensor)?;
        let dtype = from.operation.output_type(usize::try_from(from.index).unwrap_or_default());
        let mut nodes = Nodes::new(model, format!("calibration/{}", tensor.replace(':', "/")));
        let all = nodes.constant(Tensor::from([-1]))?;
        let axis = nodes.constant(Tensor::from([0]))?;
        let flat = nodes.add("Reshape", &[from, all])?;
        // Ranges are float32's, whatever the model computes in.
        let flat = match dtype {
            DataType::Float => flat,
            _ => nodes.with("Cast", &[flat], |node| Ok(node.set_attr_type("DstT", DataType::Float)?))?,
        };
        let min = nodes.add("Min", &[flat.clone(), axis.clone()])?;
        let max = nodes.add("Max", &[flat.clone(), axis])?;
        let histograms = histogram.then(|| Histograms::new(&mut nodes, flat)).transpose()?;
        Ok(Self { tensor: tensor.to_owned(), min, max, histograms })
    }
}

impl Histograms {
    fn new(nodes: &mut Nodes<'_>, flat: Output) -> Result<Self, RunError> {
        let limits = nodes.placeholder(DataType::Float, &[2])?;
        let bins = nodes.constant(Tensor::from(i32::try_from(BINS).unwrap_or(i32::MAX)))?;
        let count = |nodes: &mut Nodes<'_>, values: Output| {
            let above = nodes.add("Relu", &[values])?;
            nodes.add("HistogramFixedWidth", &[above, limits.clone(), bins.clone()])
        };
        let positive = count(nodes, flat.clone())?;
        let turned = nodes.add("Neg", &[flat])?;
        let negative = count(nodes, turned)?;
        Ok(Self { limits: limits.operation, positive, negative })
    }
}

/// Run a batch through the graph once, and once more where a value lies beyond the bins. `least` is the exponent of each probe's
/// histogram so far.
pub(super) fn run(
    model: &Model,
    probes: &[&Probe],
    least: &[Option<i32>],
    batch: &Batch,
) -> Result<Vec<Seen>, RunError> {
    let mut exponents: Vec<i32> = least.iter().map(|exponent| exponent.unwrap_or_default()).collect();
    let mut seen = run_once(model, probes, &exponents, batch)?;
    let mut again = false;
    for ((seen, exponent), probe) in seen.iter().zip(&mut exponents).zip(probes) {
        if seen.counts.is_some() {
            let needed = Histogram::exponent_for(seen.range.min.abs().max(seen.range.max));
            if limit(needed).is_none() {
                let source = MathError::RangeOverflow { min: seen.range.min, max: seen.range.max };
                return Err(RunError::Math { tensor: probe.tensor.clone(), source });
            }
            again |= needed > *exponent;
            *exponent = needed.max(*exponent);
        }
    }
    if again {
        seen = run_once(model, probes, &exponents, batch)?;
    }
    Ok(seen)
}

/// The upper end of the bins, `BINS · 2^exponent`, where float32 has it.
fn limit(exponent: i32) -> Option<f32> {
    let biased = exponent + BINS.ilog2().cast_signed() + 127;
    u32::try_from(biased).ok().filter(|biased| (1..255).contains(biased)).map(|biased| f32::from_bits(biased << 23))
}

fn run_once(model: &Model, probes: &[&Probe], exponents: &[i32], batch: &Batch) -> Result<Vec<Seen>, RunError> {
    let mut fetches = Vec::new();
    let mut limits = Vec::new();
    for (probe, exponent) in probes.iter().zip(exponents) {
        fetches.extend([probe.min.clone(), probe.max.clone()]);
        if let Some(histograms) = &probe.histograms {
            let limit = limit(*exponent).unwrap_or(f32::MAX);
            limits.push((&histograms.limits, Value::F32(Tensor::from([0.0, limit]))));
            fetches.extend([histograms.positive.clone(), histograms.negative.clone()]);
        }
    }
    let inputs = model.inputs().iter().zip(&batch.values).map(|(input, value)| (&input.operation, 0, value));
    let limits = limits.iter().map(|(operation, value)| (*operation, 0, value));
    let mut values = model.infer(inputs.chain(limits), &fetches)?.into_iter();
    let mut seen = Vec::with_capacity(probes.len());
    for (probe, exponent) in probes.iter().zip(exponents) {
        let mut one = || values.next().and_then(|value| value.to_f32().first().copied()).unwrap_or(f32::NAN);
        let (min, max) = (one(), one());
        let range = Range::new(min, max).map_err(|source| RunError::Math { tensor: probe.tensor.clone(), source })?;
        let counts = probe.histograms.is_some().then(|| {
            let mut counts = || match values.next() {
                Some(Value::I32(counts)) => counts.to_vec(),
                _ => Vec::new(),
            };
            Counts { exponent: *exponent, positive: counts(), negative: counts() }
        });
        seen.push(Seen { range, counts });
    }
    Ok(seen)
}
