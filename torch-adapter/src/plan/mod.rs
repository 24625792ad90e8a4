//! Plan: every site of the model, chosen or skipped, and why. Nothing is changed and no weight is read here.

mod activation;
mod weight;

use std::collections::BTreeMap;

use quant_math::config::{ConfigList, OpFacts, Selection, Selector};
use quant_math::plan::{Decision, PlanOptions, Reason, Settings, Site, not_default};
use quant_math::ranges::{RangeLookup, Ranges};
use quant_math::{Emit, Plan, QuantType, Quantizer};

use crate::error::Error;
use crate::model::{Model, StoreKey};
use crate::sites::Op;

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
        check_emit(config, emit)?;
        let mut planner = Planner {
            model: self,
            config,
            emit,
            selector: config.selector(),
            ranges: options.ranges.map(Ranges::lookup),
            chosen: BTreeMap::new(),
            missing: Vec::new(),
        };
        let ops = &self.sites().ops;
        let sites: Vec<Site> = ops.iter().flat_map(|op| planner.op(op)).collect();
        if !planner.missing.is_empty() {
            return Err(Error::MissingRanges { sites: planner.missing });
        }
        let facts: Vec<OpFacts<'_>> = ops.iter().map(facts).collect();
        let about_model = self.warnings(emit);
        Plan::new(config, &options, sites, &facts, about_model).map_err(|reasons| Error::Unmatched { reasons })
    }
}

fn facts(op: &Op) -> OpFacts<'_> {
    OpFacts { name: &op.name, op_type: &op.op_type, is_default: op.is_default }
}

fn check_emit(config: &ConfigList, emit: Emit) -> Result<(), Error> {
    if config.uses(QuantType::Gradient) {
        return Err(Error::Gradient);
    }
    if emit == Emit::Training && config.quantizer == Quantizer::Naive {
        return Err(Error::Emit {
            emit,
            why: "does not exist for the naive quantizer, which quantizes after training".to_owned(),
            help: "train with `--quantizer qat`, or use `baked`, `packed` or `inference`".to_owned(),
        });
    }
    if emit == Emit::Packed {
        let wide = config.entries.iter().enumerate().find_map(|(index, entry)| {
            let settings = entry.settings(config.quantizer, QuantType::Weight, index)?;
            (settings.bits > 8 && settings.bits != 32).then_some((index, settings.bits))
        });
        if let Some((index, bits)) = wide {
            return Err(Error::Emit {
                emit,
                why: format!("stores codes of at most 8 bits, but config_list[{index}] asks for {bits}-bit weights"),
                help: "use at most 8 bits, or `baked`, `inference` or `training`".to_owned(),
            });
        }
    }
    Ok(())
}

struct Planner<'a> {
    model: &'a Model,
    config: &'a ConfigList,
    emit: Emit,
    selector: Selector<'a>,
    ranges: Option<RangeLookup<'a>>,
    /// Tensors that a weight site was decided for, with the op and its settings.
    chosen: BTreeMap<StoreKey, (String, Settings)>,
    /// Activation sites without a range.
    missing: Vec<String>,
}

impl Planner<'_> {
    fn op(&mut self, op: &Op) -> Vec<Site> {
        let (config, emit) = (self.config, self.emit);
        let selection = self.selector.select(&facts(op));
        let wanted = |kind| match selection {
            Selection::Selected { entry, config: found } => found.settings_in(emit, config.quantizer, kind, entry),
            _ => None,
        };
        let mut sites = Vec::new();
        if !op.weights.is_empty() || op.is_default || wanted(QuantType::Weight).is_some() {
            for weight in &op.weights {
                sites.push(self.weight(op, weight, selection, wanted(QuantType::Weight)));
            }
            if op.weights.is_empty() {
                let reason = Reason::new("no-weight", format!("ops of type `{}` have no weight", op.op_type));
                sites.push(site(op, QuantType::Weight, String::new(), Decision::Skip(reason)));
            }
        }
        for kind in [QuantType::Input, QuantType::Output] {
            if let Some(settings) = wanted(kind) {
                sites.extend(self.activations(op, kind, settings));
            }
        }
        sites
    }
}

fn site(op: &Op, kind: QuantType, tensor: String, decision: Decision) -> Site {
    Site { op: op.name.clone(), op_type: op.op_type.clone(), kind, tensor, dtype: None, shape: None, decision }
}

fn skip(code: &str, text: impl Into<String>) -> Decision {
    Decision::Skip(Reason::new(code, text))
}

/// The reason for an op that the config does not choose.
fn not_chosen(op: &Op, selection: Selection<'_>) -> Decision {
    match selection {
        Selection::NotSelected if !op.is_default => skip("not-selected", not_default(&op.op_type)),
        Selection::NotSelected => skip("not-selected", "no entry of the config matches this op"),
        Selection::Excluded { entry } => skip("excluded", format!("config_list[{entry}] excludes this op")),
        Selection::Selected { entry, .. } => {
            skip("not-selected", format!("config_list[{entry}] decides about this op and does not name `weight`"))
        }
    }
}
