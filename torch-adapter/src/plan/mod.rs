//! Plan: every site of the model, chosen or skipped, and why. Nothing is changed and no weight is read here.

mod activation;
mod weight;

use quant_math::config::{ConfigList, OpFacts};
use quant_math::plan::{Chooser, Decision, PlanOptions, Reason, Site};
use quant_math::{Emit, Plan, QuantType};

use crate::codes;
use crate::error::Error;
use crate::find::model::Model;
use crate::find::readers::{Reader, Wanted};
use crate::find::sites::Op;
use quant_math::codes::Code;

impl Model {
    /// Find all sites and decide about each of them.
    ///
    /// # Errors
    ///
    /// A form of output that does not exist for this request; `gradient`, which TorchScript cannot hold; activation sites
    /// without ranges; ranges of another model; with [`PlanOptions::strict`], config entries that match nothing.
    pub fn plan(&self, config: &ConfigList, options: PlanOptions<'_>) -> Result<Plan, Error> {
        self.in_file(self.make_plan(config, options))
    }

    fn make_plan(&self, config: &ConfigList, options: PlanOptions<'_>) -> Result<Plan, Error> {
        if let Some(ranges) = options.ranges {
            let checked = ranges.check_model(&self.fingerprint());
            checked.map_err(|error| Error::Ranges { message: error.to_string() })?;
        }
        let emit = options.emit_for(config);
        if config.uses(QuantType::Gradient) {
            return Err(Error::Gradient);
        }
        emit.check(config)?;
        self.decide(&Chooser::of_config(config, emit, options.ranges), &options)
    }

    /// A plan that was written down, checked against this model: the same decisions, about the sites in the model's order.
    ///
    /// # Errors
    ///
    /// Settings that the quantizer or the form of output does not know; sites that the model does not have; sites that cannot be
    /// quantized as the plan says; activation sites without ranges.
    pub fn check_plan(&self, plan: &Plan) -> Result<Plan, Error> {
        let chooser = Chooser::of_plan(plan).map_err(Error::from);
        let checked = chooser.and_then(|chooser| self.decide(&chooser, &PlanOptions::default()));
        self.in_file(checked)
    }

    fn decide(&self, chooser: &Chooser<'_>, options: &PlanOptions<'_>) -> Result<Plan, Error> {
        let mut planner = Planner {
            model: self,
            chooser,
            emit: chooser.emit(),
            sites: Vec::new(),
            wanted: Vec::new(),
            missing: Vec::new(),
        };
        let ops = &self.sites().ops;
        for (number, op) in ops.iter().enumerate() {
            planner.op(number, op);
        }
        if !planner.missing.is_empty() {
            return Err(Error::MissingRanges { sites: planner.missing });
        }
        planner.place();
        let facts: Vec<OpFacts<'_>> = ops.iter().map(facts).collect();
        let about_model = self.warnings(chooser.emit());
        Ok(chooser.plan(planner.sites, &facts, options, about_model)?)
    }
}

fn facts(op: &Op) -> OpFacts<'_> {
    OpFacts { name: &op.name, op_type: &op.op_type, is_default: op.is_default }
}

struct Planner<'a> {
    model: &'a Model,
    chooser: &'a Chooser<'a>,
    emit: Emit,
    sites: Vec<Site>,
    /// Weights that are to be quantized, with the positions of their sites.
    wanted: Vec<(usize, Wanted)>,
    /// Activation sites without a range.
    missing: Vec<String>,
}

impl Planner<'_> {
    fn op(&mut self, number: usize, op: &Op) {
        let choice = self.chooser.about(facts(op));
        if !op.weights.is_empty() || op.is_default || choice.names(QuantType::Weight) {
            for (position, weight) in op.weights.iter().enumerate() {
                let site = self.weight(op, weight, &choice);
                if let (Some(settings), Some(tensor)) = (site.settings(), weight.tensor) {
                    let wanted = Wanted {
                        reader: Reader::Op(number, position),
                        tensor,
                        settings: *settings,
                        steps: None,
                        spots: weight.places(),
                    };
                    self.wanted.push((self.sites.len(), wanted));
                }
                self.sites.push(site);
            }
            if op.weights.is_empty() {
                let reason = Reason::new(codes::NO_WEIGHT, format!("ops of type `{}` have no weight", op.op_type));
                self.sites.push(site(op, QuantType::Weight, String::new(), Decision::Skip(reason)));
            }
        }
        for kind in [QuantType::Input, QuantType::Output] {
            if choice.names(kind) {
                let sites = self.activations(op, kind, &choice);
                self.sites.extend(sites);
            }
        }
    }

    /// Skip the weights that have no place to go.
    fn place(&mut self) {
        let (positions, wanted): (Vec<usize>, Vec<Wanted>) = std::mem::take(&mut self.wanted).into_iter().unzip();
        let places: Vec<Result<(), Reason>> = match self.emit {
            Emit::Baked | Emit::Packed => {
                let places = self.model.places(&wanted, self.emit).into_iter();
                places.map(|place| place.map(|_| ())).collect()
            }
            Emit::Inference | Emit::Training => Model::around(&wanted),
        };
        for (position, place) in positions.into_iter().zip(places) {
            if let (Err(reason), Some(site)) = (place, self.sites.get_mut(position)) {
                site.decision = Decision::Skip(reason);
            }
        }
    }
}

fn site(op: &Op, kind: QuantType, tensor: String, decision: Decision) -> Site {
    Site {
        op: op.name.clone(),
        op_type: op.op_type.clone(),
        kind,
        tensor,
        dtype: None,
        shape: None,
        decision,
        range: None,
        steps: None,
    }
}

fn skip(code: &Code, text: impl Into<String>) -> Decision {
    Decision::Skip(Reason::new(code, text))
}
