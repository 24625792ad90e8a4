//! `freeze`: a trained `training` graph becomes `inference`, `baked` or `packed`.
//!
//! ```text
//! training graph + values ──sites──▶ what was quantized how ──strip──▶ float graph with constants ──plan, apply──▶ result
//! ```
//!
//! What `--emit training` added goes, what the forward pass reads of variables becomes constants, and what is left is quantized like any
//! other frozen graph, with the settings that the training graph carries and the ranges that it learnt.

mod gather;
mod handles;
mod kept;
mod learnt;
mod strip;
mod values;

use quant_math::ranges::Ranges;
use quant_math::{Emit, Plan, frozen};

use crate::error::Error;
use crate::find::trained;
use crate::graphdef::bundle::Tensor;
use crate::graphdef::graph::Graph;
use crate::rewrite::apply::{Compressed, types_fit};

use values::Values;

/// Gives the ranges of a float graph's activations, where its plan needs some.
pub(crate) type Measure<'a> = dyn Fn(&Graph, &Plan) -> Result<Option<Ranges>, Error> + 'a;

impl Graph {
    /// Turn what a `training` graph has learnt into another form of output. `values` gives a variable's value by its name, as a
    /// checkpoint has it.
    ///
    /// The outputs of the result are the nodes that nothing reads and that do not write variables, and those of
    /// [`Graph::with_outputs`]; what none of them needs (optimizer, initializers, savers) is left out. A site whose start step was not
    /// reached stays float, with the reason `not-begun`.
    ///
    /// # Errors
    /// `training` as the form; a graph without quantizers; variables without a value, or with one of another type or shape; NaN or
    /// infinite weights; what `values` says.
    pub fn freeze(
        self,
        values: impl Fn(&str) -> Result<Option<Tensor>, Error>,
        emit: Emit,
    ) -> Result<Compressed, Error> {
        let (float, plan) = self.float_and_plan(&values, emit, None)?;
        float.apply(&plan).map_err(|error| self.in_own_file(error))
    }

    /// Whether it was made by `--emit training`: there are quantizers in it whose state is in variables.
    ///
    /// # Errors
    /// Damaged nodes.
    pub fn is_training(&self) -> Result<bool, Error> {
        Ok(!trained::find(self).map_err(|error| self.in_own_file(error))?.is_empty())
    }

    /// The float graph, and what is to be done with it. `measure` gives ranges of its activations in place of those that the training
    /// learnt.
    pub(crate) fn float_and_plan(
        &self,
        values: &dyn Fn(&str) -> Result<Option<Tensor>, Error>,
        emit: Emit,
        measure: Option<&Measure<'_>>,
    ) -> Result<(Self, Plan), Error> {
        frozen::check_form(emit)?;
        let made = (|| {
            let sites = trained::find(self)?;
            if sites.is_empty() {
                return Err(Error::NotTraining { found: "the graph has no quantizers to freeze".to_owned() });
            }
            let mut values = Values::new(values);
            let learnt = learnt::learnt(self, &sites, &mut values, measure.is_some())?;
            let stripped = strip::strip(self, &sites, &mut values);
            // What is missing is told before what follows from it.
            values.check()?;
            let (float, renamed) = stripped?;
            types_fit(&float, self)?;
            let plan = learnt::plan(self, &float, &sites, &learnt, (&renamed, emit))?;
            Ok((float, plan))
        })();
        let (float, mut plan) = self.settled(made.map_err(|error| self.in_own_file(error)))?;
        if let Some(measure) = measure
            && let Some(ranges) = measure(&float, &plan)?
        {
            plan.take_ranges(&ranges);
        }
        Ok((float, plan))
    }
}
