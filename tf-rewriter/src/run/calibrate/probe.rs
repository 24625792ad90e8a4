//! What is added to a graph so that statistics of its tensors can be fetched instead of the tensors.

use quant_math::Range;
use quant_math::observers::{BINS, Histogram};
use tensorflow::{DataType, Operation, Output, Tensor};

use super::super::RunError;
use super::super::data::Batch;
use super::super::nodes::Nodes;
use super::super::session::Model;
use super::super::value::Value;

/// Where the nodes are; no model has a scope of that name unless it was made to.
const SCOPE: &str = "calibration";
/// Bins modulo this number: 2047, −2047 and all between have places of their own.
const PLACES: i32 = 4096;

/// The nodes behind all tensors that are looked at.
///
/// Everything is joined before it is fetched: TensorFlow takes about as long to hand over a number as to find the smallest of a small
/// tensor.
#[derive(Debug)]
pub(super) struct Probes {
    tensors: Vec<Probed>,
    /// The smallest and the largest value of every tensor, in turns: `[2 · tensors]`.
    ends: Output,
    histograms: Option<Histograms>,
}

/// A tensor, and how it is looked at.
#[derive(Debug)]
struct Probed {
    name: String,
    counted: bool,
}

/// How many elements are in which bin, for every tensor that is counted.
#[derive(Debug)]
struct Histograms {
    /// A placeholder: `1 / width of a bin` of each, a power of two.
    scales: Operation,
    /// `[counted tensors, PLACES]`; a bin's place is its number modulo [`PLACES`].
    counts: Output,
}

/// What a batch says about a tensor.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) range: Range,
    pub(super) counts: Option<Counts>,
}

/// How many elements are in which bin, of bin −2047 first.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) exponent: i32,
    pub(super) bins: Vec<i32>,
}

impl Probes {
    /// Add the nodes for the tensors of those names (`node:port`), and whether each is to be counted.
    pub(super) fn new(model: &mut Model, tensors: impl IntoIterator<Item = (String, bool)>) -> Result<Self, RunError> {
        let tensors: Vec<Probed> = tensors.into_iter().map(|(name, counted)| Probed { name, counted }).collect();
        let froms = tensors.iter().map(|tensor| model.tensor(&tensor.name)).collect::<Result<Vec<_>, _>>()?;
        let mut nodes = Nodes::new(model, SCOPE);
        let all = nodes.constant(Tensor::from([-1]))?;
        let axis = nodes.constant(Tensor::from([0]))?;
        let (mut ends, mut flats) = (Vec::new(), Vec::new());
        for (tensor, from) in tensors.iter().zip(froms) {
            let dtype = from.operation.output_type(usize::try_from(from.index).unwrap_or_default());
            let mut nodes = Nodes::new(nodes.model, format!("{SCOPE}/{}", tensor.name.replace(':', "/")));
            let flat = nodes.add("Reshape", &[from, all.clone()])?;
            // Ranges are float32's, whatever the model computes in.
            let flat = match dtype {
                DataType::Float => flat,
                _ => nodes.with("Cast", &[flat], |node| Ok(node.set_attr_type("DstT", DataType::Float)?))?,
            };
            ends.push(nodes.add("Min", &[flat.clone(), axis.clone()])?);
            ends.push(nodes.add("Max", &[flat.clone(), axis.clone()])?);
            if tensor.counted {
                flats.push(flat);
            }
        }
        let ends = nodes.list("Pack", &ends)?;
        let histograms = (!flats.is_empty()).then(|| Histograms::new(&mut nodes, &flats)).transpose()?;
        Ok(Self { tensors, ends, histograms })
    }

    /// Run a batch through the graph once, and once more where a value lies beyond the bins. `least` is the exponent of each counted
    /// tensor's histogram so far.
    pub(super) fn run(&self, model: &Model, least: &[i32], batch: &Batch) -> Result<Vec<Seen>, RunError> {
        let mut exponents = least.to_vec();
        let mut seen = self.run_once(model, &exponents, batch)?;
        let mut again = false;
        for (seen, exponent) in seen.iter().filter(|seen| seen.counts.is_some()).zip(&mut exponents) {
            let needed = Histogram::exponent_for(seen.range.min.abs().max(seen.range.max));
            again |= needed > *exponent;
            *exponent = needed.max(*exponent);
        }
        if again {
            seen = self.run_once(model, &exponents, batch)?;
        }
        Ok(seen)
    }

    fn run_once(&self, model: &Model, exponents: &[i32], batch: &Batch) -> Result<Vec<Seen>, RunError> {
        let scales: Vec<f32> = exponents.iter().map(|exponent| power_of_two(-exponent)).collect();
        let scales = Value::F32(Tensor::from(&scales[..]));
        let feeds = model.feeds(batch).chain(self.histograms.iter().map(|histograms| (&histograms.scales, 0, &scales)));
        let mut fetches = vec![self.ends.clone()];
        fetches.extend(self.histograms.iter().map(|histograms| histograms.counts.clone()));
        let mut values = model.infer(feeds, &fetches)?.into_iter();
        let ends = values.next().map(|value| value.to_f32().into_owned()).unwrap_or_default();
        let counts = values.next();
        let counts = match &counts {
            Some(Value::I32(counts)) => &counts[..],
            _ => &[],
        };
        let mut counts = counts.chunks_exact(PLACES.unsigned_abs() as usize).zip(exponents);
        let mut seen = Vec::with_capacity(self.tensors.len());
        for (tensor, ends) in self.tensors.iter().zip(ends.chunks_exact(2)) {
            let &[min, max] = ends else { continue };
            let range =
                Range::new(min, max).map_err(|source| RunError::Math { tensor: tensor.name.clone(), source })?;
            let counts = if tensor.counted { counts.next() } else { None };
            let counts = counts.map(|(places, exponent)| {
                let (from_zero, negative) = places.split_at(BINS);
                // The place between both belongs to no bin.
                let bins = negative.iter().skip(1).chain(from_zero).copied().collect();
                Counts { exponent: *exponent, bins }
            });
            seen.push(Seen { range, counts });
        }
        Ok(seen)
    }
}

impl Histograms {
    /// A bin's number is ⌊|x|/w⌋ with the sign of x: the multiplication by a power of two is exact, and a Cast cuts off. What lies
    /// beyond the bins takes a wrong place, but no illegal one.
    fn new(nodes: &mut Nodes<'_>, flats: &[Output]) -> Result<Self, RunError> {
        let scales = nodes.placeholder(DataType::Float, &[flats.len() as u64])?;
        let count = i64::try_from(flats.len()).unwrap_or(i64::MAX);
        let unpacked =
            nodes.with("Unpack", std::slice::from_ref(&scales), |node| Ok(node.set_attr_int("num", count)?))?;
        let last = nodes.constant(Tensor::from(PLACES - 1))?;
        let places = nodes.constant(Tensor::from(PLACES))?;
        let unweighted = nodes.constant(Tensor::<i32>::new(&[0]))?;
        let mut counts = Vec::with_capacity(flats.len());
        for (flat, index) in flats.iter().zip(0..) {
            let scale = Output { operation: unpacked.operation.clone(), index };
            let in_bins = nodes.add("Mul", &[flat.clone(), scale])?;
            let bin = nodes.with("Cast", &[in_bins], |node| Ok(node.set_attr_type("DstT", DataType::Int32)?))?;
            let place = nodes.add("BitwiseAnd", &[bin, last.clone()])?;
            counts.push(nodes.add("Bincount", &[place, places.clone(), unweighted.clone()])?);
        }
        Ok(Self { scales: scales.operation, counts: nodes.list("Pack", &counts)? })
    }
}

/// `2^exponent` of a normal float32, which the exponents of histograms are.
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent + 127).clamp(1, 254).unsigned_abs() << (f32::MANTISSA_DIGITS - 1))
}
