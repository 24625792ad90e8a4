//! Mixes: the model in which each weight has bits of its own, in the session in which they were measured alone, and the model that is written.

use std::collections::BTreeMap;
use std::path::Path;

use quant_math::Emit;
use quant_math::allocation::{Choice, Mixable};
use quant_math::evaluation::Samples;
use quant_math::plan::{Decision, Plan, Settings, Site};
use quant_math::sensitivity::{Loss, Mixture, Sensitivity};
use tensorflow::Output;

use super::super::RunError;
use super::super::data::Batch;
use super::super::refused::refused;
use super::super::session::{Model, RunOptions};
use super::super::value::Value;
use super::{SensitivityMeter, run_with, value};
use crate::error::Error;
use crate::rewrite::apply::Compressed;

/// A model beside the float one, summed over the samples.
#[derive(Debug)]
pub struct Mix {
    runs: Runs,
    sums: Mixture,
}

#[derive(Debug)]
enum Runs {
    /// The model whose weights are fed: those that are not float.
    Fed(Vec<Option<Value>>),
    /// Another model with the same inputs, and its outputs.
    Written(Box<Model>, Vec<Output>),
}

impl SensitivityMeter {
    /// The sites that were measured, in the plan's order.
    pub fn measured_sites(&self) -> impl Iterator<Item = &Site> {
        self.trials.sites().iter()
    }

    /// What each site and all of them cost, as [`finish`](Self::finish) has it, with the sites in the plan's order.
    ///
    /// # Errors
    /// Those of [`finish`](Self::finish).
    pub fn in_order(&self) -> Result<Sensitivity, Error> {
        self.measured()
    }

    /// Whether any output is scores of classes, as far as the samples so far show.
    pub fn has_scores(&self) -> bool {
        self.trials.has_scores()
    }

    /// What can be chosen for each weight. Bytes are what the packed graph is longer by with this weight alone, whatever is in the file besides.
    ///
    /// # Errors
    /// Damaged tensors.
    pub fn mixable(&self, measured: &Sensitivity) -> Result<Vec<Mixable>, Error> {
        let mut all: Vec<Mixable> = Vec::new();
        let mut known = BTreeMap::new();
        let Some(first) = self.works.first() else { return Ok(all) };
        for (number, work) in first.iter().enumerate() {
            let place = *known.entry(work.weight.source).or_insert(all.len());
            if place == all.len() {
                all.push(Mixable { sites: Vec::new(), choices: Vec::new() });
            }
            if let Some(mixable) = all.get_mut(place) {
                mixable.sites.push(number);
            }
        }
        let float = self.packed_length(&[], 0)?;
        for mixable in &mut all {
            let own = mixable.sites.first().and_then(|site| first.get(*site));
            let stored = own.map_or(0, |work| work.weight.stored_bytes());
            for (at, bits) in self.trials.bits().iter().enumerate() {
                let length = self.packed_length(&mixable.sites, *bits)?;
                let alone = mixable.sites.iter().filter_map(|site| measured.sites.get(*site)?.at.get(at));
                let loss = alone.map(|at| at.alone.loss).sum();
                mixable.choices.push(Choice { bytes: (stored + length).saturating_sub(float), loss });
            }
            mixable.choices.push(Choice { bytes: stored, loss: 0.0 });
        }
        Ok(all)
    }

    /// Bytes of the graph in which these sites alone are packed.
    fn packed_length(&self, sites: &[usize], bits: u32) -> Result<u64, Error> {
        let sites = sites.iter().filter_map(|site| self.trials.sites().get(*site)).cloned().map(|mut site| {
            if let Decision::Quantize(settings) = &mut site.decision {
                *settings = Settings { bits, ..*settings };
            }
            site
        });
        let plan = Plan { emit: Emit::Packed, sites: sites.collect(), ..self.plan.clone() };
        self.graph.settled(self.graph.length_with(&plan).map_err(|error| self.graph.in_own_file(error)))
    }

    /// The model in which each site has these bits, one of those that are measured; `None`: float.
    ///
    /// # Errors
    /// Damaged tensors.
    pub fn mix(&self, bits: &[Option<u32>]) -> Result<Mix, Error> {
        let step = |bits: u32| self.works.get(self.trials.bits().iter().position(|step| *step == bits)?);
        let values = self.weights.iter().enumerate().map(|(at, _)| {
            let bits = bits.get(at).copied().flatten();
            let work = bits.and_then(|bits| step(bits)?.get(at));
            work.map(|work| value(&self.graph, work, work.map.clone()).map(|(value, _)| value)).transpose()
        });
        let values = self.graph.settled(values.collect::<Result<Vec<_>, _>>())?;
        Ok(Mix { runs: Runs::Fed(values), sums: self.trials.mixture() })
    }

    /// The model that was made of the same one and is going to be written.
    ///
    /// # Errors
    /// Those of [`Model::new`]; weights that cannot be read.
    pub fn written(&self, compressed: &Compressed, options: &RunOptions) -> Result<Mix, Error> {
        let mut bytes = Vec::with_capacity(usize::try_from(compressed.len()).unwrap_or_default());
        compressed.write(&mut bytes)?;
        let interface = compressed.graph().interface();
        let mut model = Model::from_bytes(&bytes, self.model.outputs().to_vec(), interface, options)?.initialized()?;
        model.call_inputs_as(&self.model);
        let outputs = self.model.outputs().iter().map(|name| model.same_output(&self.model, name));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        Ok(Mix { runs: Runs::Written(Box::new(model), outputs), sums: self.trials.mixture() })
    }

    /// Run a batch of the same data through a mix, and through the float model.
    ///
    /// # Errors
    /// Outputs with NaN, TensorFlow's own; they name `path`, where the data is.
    pub fn add_to(&self, mix: &mut Mix, path: &Path, batch: &Batch, labels: Option<&[i64]>) -> Result<(), RunError> {
        let Mix { runs, sums } = mix;
        let of = Samples { first: sums.samples(), count: batch.samples, labels };
        let fed = (self.weights.as_slice(), self.outputs.as_slice());
        let reference = run_with(&self.model, batch, fed, &|_| None)?;
        let values = match runs {
            Runs::Fed(values) => run_with(&self.model, batch, fed, &|at| values.get(at).and_then(Option::as_ref))?,
            Runs::Written(model, outputs) => model.run(batch, outputs)?,
        };
        let [float, own] = [&reference, &values].map(|values| values.iter().map(Value::to_f32).collect::<Vec<_>>());
        let float: Vec<_> = reference.iter().zip(&float).map(|(value, float)| value.compared(float)).collect();
        let own: Vec<_> = values.iter().zip(&own).map(|(value, own)| value.compared(own)).collect();
        let added = self.trials.add_to(sums, "the quantized model", (&float, &own), of);
        added.map_err(|error| refused(error, path))
    }

    /// How far a mix is from the float model.
    ///
    /// # Errors
    /// The model's file changed meanwhile.
    pub fn loss_of(&self, mix: &Mix) -> Result<Loss, Error> {
        self.graph.settled(Ok(self.trials.loss_of(&mix.sums)))
    }
}
