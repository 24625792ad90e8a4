//! Plan: every site of the model, chosen or skipped, and why. Nothing is changed and no weight is read here.

mod activation;
mod weight;

use quant_math::config::{ConfigList, OpFacts, Selection, Selector};
use quant_math::plan::{Decision, PlanOptions, Reason, Site, not_default};
use quant_math::ranges::{RangeLookup, Ranges};
use quant_math::{Emit, Plan, QuantType, Quantizer};

use crate::error::Error;
use crate::model::Model;
use crate::readers::{Reader, Wanted};
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
        let sites = planner.sites;
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
    if emit == Emit::Training
        && let Some(found) = config.not_learnable()
    {
        return Err(Error::Emit { emit, why: found.to_string(), help: found.help().to_owned() });
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
    sites: Vec<Site>,
    /// Weights that are to be quantized where they are stored or beside it, with the positions of their sites.
    wanted: Vec<(usize, Wanted)>,
    /// Activation sites without a range.
    missing: Vec<String>,
}

impl Planner<'_> {
    fn op(&mut self, number: usize, op: &Op) {
        let (config, emit) = (self.config, self.emit);
        let selection = self.selector.select(&facts(op));
        let wanted = |kind| match selection {
            Selection::Selected { entry, config: found } => found.settings_in(emit, config.quantizer, kind, entry),
            _ => None,
        };
        if !op.weights.is_empty() || op.is_default || wanted(QuantType::Weight).is_some() {
            for (position, weight) in op.weights.iter().enumerate() {
                let site = self.weight(op, weight, selection, wanted(QuantType::Weight));
                if let (Some(settings), Some(tensor), Emit::Baked | Emit::Packed) =
                    (site.settings(), weight.tensor, self.emit)
                {
                    let wanted = Wanted {
                        reader: Reader::Op(number, position),
                        tensor,
                        settings: *settings,
                        spots: weight.places(),
                    };
                    self.wanted.push((self.sites.len(), wanted));
                }
                self.sites.push(site);
            }
            if op.weights.is_empty() {
                let reason = Reason::new("no-weight", format!("ops of type `{}` have no weight", op.op_type));
                self.sites.push(site(op, QuantType::Weight, String::new(), Decision::Skip(reason)));
            }
        }
        for kind in [QuantType::Input, QuantType::Output] {
            if let Some(settings) = wanted(kind) {
                let sites = self.activations(op, kind, settings);
                self.sites.extend(sites);
            }
        }
    }

    /// Skip the weights that have no place to go.
    fn place(&mut self) {
        let (positions, wanted): (Vec<usize>, Vec<Wanted>) = std::mem::take(&mut self.wanted).into_iter().unzip();
        for (position, place) in positions.into_iter().zip(self.model.places(&wanted, self.emit)) {
            if let (Err(reason), Some(site)) = (place, self.sites.get_mut(position)) {
                site.decision = Decision::Skip(reason);
            }
        }
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
