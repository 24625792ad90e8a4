//! Plan: every site of the model, chosen or skipped, and why. Nothing is changed and no weight is read here but the vectors of batch norms.

mod activation;
mod refolded;
mod weight;

use quant_math::config::{ConfigList, OpFacts};
use quant_math::fold::{Folded, step};
use quant_math::plan::{Chooser, Decision, NoPlan, NoSuchForm, PlanOptions, Reason, Site, no_weight};
use quant_math::{Emit, Plan, QuantType, Rounding};

use crate::codes;
use crate::error::Error;
use crate::find::model::Model;
use crate::find::readers::{Reader, Wanted};
use crate::find::sites::Op;
use refolded::still_true;

/// Nothing measures the moments that it needs.
fn no_reconstruction(emit: Emit) -> Error {
    let why = "cannot round weights of an archive by reconstruction: what their layers read is not measured".to_owned();
    let help = "leave `rounding` out; `tf-rewriter` has it for TensorFlow's graphs".to_owned();
    NoPlan::from(NoSuchForm { emit, why, help }).into()
}

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
        if config.reconstructs() {
            return Err(no_reconstruction(options.emit_for(config)));
        }
        if config.uses(QuantType::Gradient) {
            return Err(Error::Gradient);
        }
        let looked = self.look_at_norms(config, options.fold, options.emit_for(config))?;
        let true_now = options.ranges.and_then(|ranges| still_true(ranges, &looked.folds));
        let options = PlanOptions { ranges: true_now.as_ref().or(options.ranges), ..options };
        let plan = self.decide(&Chooser::of_request(config, &options, || self.fingerprint())?, &options)?;
        Ok(with_folds(plan, looked.folds))
    }

    /// A plan that was written down, checked against this model: the same decisions, about the sites in the model's order.
    ///
    /// # Errors
    ///
    /// Settings that the quantizer or the form of output does not know; batch normalizations that cannot be folded; sites that the model does not have; sites that cannot be
    /// quantized as the plan says; activation sites without ranges.
    pub fn check_plan(&self, plan: &Plan) -> Result<Plan, Error> {
        self.in_file(self.check_written(plan))
    }

    fn check_written(&self, plan: &Plan) -> Result<Plan, Error> {
        if plan.quantized().any(|site| site.settings().is_some_and(|s| s.rounding == Rounding::Reconstruct)) {
            return Err(no_reconstruction(plan.emit));
        }
        let looked = self.look_at_plan(plan)?;
        let checked = self.decide(&Chooser::of_plan(plan)?, &PlanOptions::default())?;
        Ok(with_folds(checked, looked.folds))
    }

    /// The activations that an `inference` archive needs a measured range for, and what of the config matches none of the model's ops.
    ///
    /// # Errors
    /// A model that observes already.
    pub fn activations(&self, config: &ConfigList) -> Result<(Vec<Site>, Vec<Reason>), Error> {
        let chooser = Chooser::of_config(config, Emit::Inference, None);
        let planner = self.decisions(&chooser)?;
        let facts: Vec<OpFacts<'_>> = self.sites().ops.iter().map(facts).collect();
        let needed = |site: &Site| {
            let quantized = site.settings().is_some_and(|settings| settings.quantizer.row().measures());
            quantized && matches!(site.kind, QuantType::Input | QuantType::Output)
        };
        Ok((planner.sites.into_iter().filter(needed).collect(), config.unmatched(&facts)))
    }

    fn decide(&self, chooser: &Chooser<'_>, options: &PlanOptions<'_>) -> Result<Plan, Error> {
        let planner = self.decisions(chooser)?;
        let facts: Vec<OpFacts<'_>> = self.sites().ops.iter().map(facts).collect();
        let about_model = self.warnings(chooser.emit());
        Ok(chooser.plan((planner.sites, planner.missing), &facts, options, about_model)?)
    }
}

impl Model {
    /// Every site, decided about.
    fn decisions<'a>(&'a self, chooser: &'a Chooser<'a>) -> Result<Planner<'a>, Error> {
        if self.observes() {
            return Err(Error::Observes);
        }
        let mut planner = Planner {
            model: self,
            chooser,
            emit: chooser.emit(),
            sites: Vec::new(),
            wanted: Vec::new(),
            missing: Vec::new(),
        };
        for (number, op) in self.sites().ops.iter().enumerate() {
            planner.op(number, op);
        }
        planner.place();
        Ok(planner)
    }
}

fn with_folds(plan: Plan, folds: Vec<Folded>) -> Plan {
    Plan { prepared: step(&folds).into_iter().collect(), folds, ..plan }
}

fn facts(op: &Op) -> OpFacts<'_> {
    OpFacts { name: &op.name, other_name: None, op_type: &op.op_type, is_default: op.is_default }
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
                let decision = Decision::Skip(no_weight(&op.op_type));
                self.sites.push(Site::new(&facts(op), QuantType::Weight, "", decision));
            }
        }
        for kind in [QuantType::Input, QuantType::Output] {
            if choice.names(kind) {
                let sites = self.activations(op, kind, &choice);
                self.sites.extend(sites);
            }
        }
    }

    /// Whether an earlier run has quantized a tensor.
    fn already(&self, op: &Op, kind: QuantType, tensor: &str) -> Option<Reason> {
        let done = self.model.marked(&op.name, kind, tensor)?;
        Some(Reason::new(codes::ALREADY_QUANTIZED, format!("quantized already ({})", done.in_words())))
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
