//! First and second moments of what layers read, from data: what rounding by reconstruction is made of.
//!
//! Tensors are fetched and added up here and not in the graph, whose matrix products round as the CPU and its library choose.

use std::collections::BTreeMap;

use quant_math::config::ConfigList;
use quant_math::moments::{Gram, Moments};
use quant_math::plan::Reason;
use quant_math::ranges::ModelId;
use rayon::prelude::*;
use tensorflow::Output;

use super::RunError;
use super::data::Batch;
use super::nodes::Nodes;
use super::session::{Model, RunOptions};
use super::value::Value;
use crate::codes;
use crate::error::Error;
use crate::find::frames::Frames;
use crate::find::ops;
use crate::find::product::Product;
use crate::find::sites::{Traced, weight_of};
use crate::graphdef::graph::Graph;
use crate::prepare::Looked;

/// Where the nodes are; no model has a scope of that name unless it was made to.
const SCOPE: &str = "moments";

/// What is kept back of a batch for a while: rows on their way into the sums.
const ROWS: usize = 256;

/// A model on its way to the moments of its layers.
#[derive(Debug)]
pub struct MomentsMeter {
    model: Model,
    model_id: ModelId,
    layers: Vec<Layer>,
    /// What the layers read, each tensor once.
    fetches: Vec<Output>,
    rows: Option<usize>,
    samples: u64,
    warnings: Vec<Reason>,
}

/// A layer that is measured.
#[derive(Debug)]
struct Layer {
    op: String,
    product: Product,
    /// Which of the fetched tensors it reads.
    tensor: usize,
    /// Made when the first batch has told how many groups its inputs have.
    gram: Option<Gram>,
}

impl MomentsMeter {
    /// Hand the model to TensorFlow. The layers are those whose weight `config` quantizes; of each, at most `rows` rows of a sample are looked
    /// at, evenly spread; `None`: all.
    ///
    /// # Errors
    /// A config that names no weight of a layer whose inputs can be measured; those of [`Model::new`].
    pub fn new(graph: &Graph, config: &ConfigList, options: &RunOptions, rows: Option<usize>) -> Result<Self, Error> {
        let Looked { graph: folded, .. } = graph.look_at_norms(config, options.fold)?;
        let graph = folded.as_ref().unwrap_or(graph);
        let frames = Frames::of_main(graph);
        let mut warnings = Vec::new();
        let mut found: Vec<(String, Product)> = Vec::new();
        for site in graph.weights(config)? {
            let (op, tensor) = (&site.op, &site.tensor);
            let Some(id) = graph.find_site(op) else { continue };
            let weight = ops::info(graph.op(id)).map(|info| weight_of(graph, id, info)).transpose()?.flatten();
            let product = match weight {
                Some((input, Traced::Weight(weight))) => Product::of(graph, id, input, &weight)?,
                _ => Err("it reads one or another of several weights".to_owned()),
            };
            let unfetchable = |product: Product| match frames.unfetchable(graph, &product.tensor) {
                Some(why) => Err(format!("`{}`, which it reads, {why}", product.tensor)),
                None => Ok(product),
            };
            match product.and_then(unfetchable) {
                Ok(product) => {
                    if found.last().is_none_or(|(last, _)| last != op) {
                        found.push((op.clone(), product));
                    }
                }
                Err(why) => {
                    let text = format!("`{op}` (weight `{tensor}`) gets no moments: {why}");
                    warnings.push(Reason::new(codes::NOT_MEASURED, text));
                }
            }
        }
        if found.is_empty() {
            let message = "the config names no weight of a layer whose inputs can be measured".to_owned();
            let help =
                "convolutions and matrix products have moments; `plan MODEL --config C` shows the sites".to_owned();
            return Err(RunError::Request { message, help }.into());
        }
        let mut model = Model::new(graph, options)?;
        let (mut fetches, mut known) = (Vec::new(), BTreeMap::new());
        let mut layers = Vec::with_capacity(found.len());
        for (op, product) in found {
            let name = graph.whole_name(&product.tensor);
            let tensor = if let Some(position) = known.get(&name) {
                *position
            } else {
                // What is fed cannot be fetched, but what it is passed on by.
                let read = model.tensor(&name)?;
                let mut nodes = Nodes::new(&mut model, format!("{SCOPE}/{}", name.replace(':', "/")));
                fetches.push(nodes.add("Identity", &[read])?);
                known.insert(name, fetches.len() - 1);
                fetches.len() - 1
            };
            layers.push(Layer { op, product, tensor, gram: None });
        }
        let file = graph.path().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        let fingerprint = graph.settled(Ok(graph.fingerprint()))?;
        let model_id = ModelId { file: file.unwrap_or_default(), fingerprint };
        Ok(Self { model, model_id, layers, fetches, rows, samples: 0, warnings })
    }

    /// The model, for opening and checking data.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Layers that cannot be measured, and why.
    pub fn warnings(&self) -> &[Reason] {
        &self.warnings
    }

    /// Run a batch and add what it says of every layer.
    ///
    /// # Errors
    /// A tensor that becomes NaN or infinite, or has another shape than its layer reads; TensorFlow's own.
    pub fn observe(&mut self, batch: &Batch) -> Result<(), RunError> {
        let values = self.model.run(batch, &self.fetches)?;
        let (rows, first) = (self.rows, self.samples);
        let samples = format!("samples {first} to {}", first + batch.samples - 1);
        self.layers.par_iter_mut().try_for_each(|layer| match values.get(layer.tensor) {
            Some(value) => layer.add(value, rows, &samples),
            None => Ok(()),
        })?;
        self.samples += batch.samples;
        Ok(())
    }

    /// The moments over everything that was run.
    ///
    /// # Errors
    /// Nothing was run; numbers whose squares are beyond float32.
    pub fn moments(&self) -> Result<Moments, RunError> {
        let mut layers = BTreeMap::new();
        for layer in &self.layers {
            let moments = layer.gram.as_ref().and_then(Gram::moments).ok_or_else(|| RunError::Request {
                message: format!(
                    "`{}` has no moments: it read nothing, or numbers whose squares are infinite",
                    layer.op
                ),
                help: "give samples as the model is used on".to_owned(),
            })?;
            layers.insert(layer.op.clone(), moments);
        }
        Ok(Moments {
            framework: format!("tensorflow {}", self.model.version),
            model: self.model_id.clone(),
            samples: self.samples,
            layers,
        })
    }
}

impl Layer {
    fn add(&mut self, value: &Value, most: Option<usize>, samples: &str) -> Result<(), RunError> {
        let Self { op, product, gram, .. } = self;
        let patches = product.patches(value.shape()).ok_or_else(|| RunError::Request {
            message: format!(
                "`{}` has the shape {:?}, of which `{op}` makes no product",
                product.tensor,
                value.shape()
            ),
            help: "give samples of the shape that the model takes".to_owned(),
        })?;
        let inputs = patches.inputs();
        let gram = gram.get_or_insert_with(|| Gram::new(inputs));
        let tensor = value.to_f32();
        if gram.inputs() != inputs || tensor.len() < patches.elements() {
            let message = format!("`{}` has other channels in {samples} than before", product.tensor);
            return Err(RunError::Request { message, help: "give samples of one shape".to_owned() });
        }
        let all = patches.rows();
        let wanted = most.map_or(all, |most| all.min(most));
        let width = inputs.len();
        let mut slab = Vec::with_capacity(ROWS.min(patches.samples.saturating_mul(wanted)) * width);
        let failed = |source| RunError::Math { tensor: format!("{} ({samples})", product.tensor), source };
        for sample in 0..patches.samples {
            let own = tensor.get(sample * patches.sample_step..).unwrap_or_default();
            for number in 0..wanted {
                let end = slab.len() + width;
                slab.resize(end, 0.0);
                if let Some(row) = slab.get_mut(end - width..) {
                    // Evenly spread; all of them where all are wanted.
                    patches.row(own, number * all / wanted, row);
                }
                if slab.len() == slab.capacity() {
                    gram.add(&slab).map_err(failed)?;
                    slab.clear();
                }
            }
        }
        gram.add(&slab).map_err(failed)
    }
}
