//! Plan: every site of the graph, chosen or skipped, and why. Nothing is changed and no weight is read here.

mod activation;
mod callers;
mod gradient;
mod refolded;
mod weight;

use std::cell::OnceCell;

use quant_math::budget::Share;
use quant_math::config::{ConfigList, OpFacts};
use quant_math::plan::{Choice, Chooser, Decision, PlanOptions, Reason, Settings, Site};
use quant_math::{Emit, Plan, QuantType};

use crate::error::Error;
use crate::find::frames::Frames;
use crate::find::mark;
use crate::find::ops;
use crate::find::sites::{BackwardOps, Roles, Traced, is_parameter, weight_of};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;
use crate::prepare::Looked;

impl Graph {
    /// Find all sites and decide about each of them.
    ///
    /// # Errors
    /// Damaged nodes; a form of output that does not exist for this request; activation sites without ranges; with
    /// [`PlanOptions::strict`], config entries that match nothing.
    pub fn plan(&self, config: &ConfigList, options: PlanOptions<'_>) -> Result<Plan, Error> {
        self.settled(self.make_plan(config, options))
    }

    fn make_plan(&self, config: &ConfigList, options: PlanOptions<'_>) -> Result<Plan, Error> {
        let Looked { graph, folds } = self.look_at_norms(config, options.fold)?;
        let plan = graph.as_ref().unwrap_or(self).plan_as_it_is(config, options)?;
        Ok(Plan { folds, ..plan })
    }

    fn plan_as_it_is(&self, config: &ConfigList, options: PlanOptions<'_>) -> Result<Plan, Error> {
        let true_now = options.ranges.and_then(|ranges| self.still_true(ranges));
        let options = PlanOptions { ranges: true_now.as_ref().or(options.ranges), ..options };
        let spread = options.ranges.map(|ranges| self.for_all_callers(config, ranges)).transpose()?.flatten();
        let options = PlanOptions { ranges: spread.as_ref().or(options.ranges), ..options };
        self.decide(&Chooser::of_request(config, &options, || self.fingerprint())?, &options)
    }

    /// A plan that was written down, checked against this graph: the same decisions, about the sites in the graph's order.
    ///
    /// # Errors
    /// Damaged nodes; settings that the quantizer or the form of output does not know; batch normalizations that cannot be folded; sites that
    /// the graph does not have; sites that cannot be quantized as the plan says; activation sites without ranges.
    pub fn check_plan(&self, plan: &Plan) -> Result<Plan, Error> {
        self.settled(self.check_named(plan))
    }

    fn check_named(&self, plan: &Plan) -> Result<Plan, Error> {
        let folded = self.folded_by(plan)?;
        let graph = folded.as_ref().unwrap_or(self);
        let plan = graph.with_own_names(plan)?;
        let folds = if graph.folds().is_empty() { plan.folds } else { graph.folds().to_vec() };
        let plan = Plan { folds, ..plan };
        graph.decide(&Chooser::of_plan(&plan)?, &PlanOptions::default())
    }

    fn decide(&self, chooser: &Chooser<'_>, options: &PlanOptions<'_>) -> Result<Plan, Error> {
        let mut planner = Planner::new(self, chooser);
        let facts = planner.all()?;
        let facts: Vec<OpFacts<'_>> = facts.iter().map(Facts::view).collect();
        let plan = chooser.plan((planner.sites, planner.missing), &facts, options, Vec::new())?;
        Ok(Plan { prepared: self.steps().to_vec(), ..plan })
    }

    /// Whether the graph has variables: else its weights are constants, which no optimizer changes.
    pub fn has_variables(&self) -> bool {
        self.all_nodes().any(|id| ops::is_variable(self.op(id)))
    }

    /// The weights that a config quantizes.
    ///
    /// # Errors
    /// Damaged nodes.
    #[cfg(feature = "run")]
    pub(crate) fn weights(&self, config: &ConfigList) -> Result<Vec<Site>, Error> {
        let chooser = Chooser::of_config(config, Emit::Inference, None);
        let mut planner = Planner::new(self, &chooser);
        planner.measuring = true;
        self.settled(planner.all().map(drop))?;
        let is_weight = |site: &Site| site.kind == QuantType::Weight && site.settings().is_some();
        Ok(planner.sites.into_iter().filter(is_weight).collect())
    }

    /// The activations that an `inference` graph needs a measured range for, and what of the config matches none of the graph's ops.
    ///
    /// # Errors
    /// Damaged nodes.
    pub fn activations(&self, config: &ConfigList) -> Result<(Vec<Site>, Vec<Reason>), Error> {
        let chooser = Chooser::of_config(config, Emit::Inference, None);
        let mut planner = Planner::new(self, &chooser);
        planner.measuring = true;
        let facts = self.settled(planner.all())?;
        let facts: Vec<OpFacts<'_>> = facts.iter().map(Facts::view).collect();
        let unmatched = config.unmatched(&facts);
        let needed = |site: &Site| {
            let quantized = site.settings().is_some_and(|settings| settings.quantizer.row().measures());
            quantized && matches!(site.kind, QuantType::Input | QuantType::Output)
        };
        Ok((planner.sites.into_iter().filter(needed).collect(), unmatched))
    }
}

const SITES: &str = "the sites of the plan";

/// Name and type of an op, owned, so that the config can be told about all of them at the end.
struct Facts {
    name: String,
    other_name: Option<String>,
    op_type: String,
    is_default: bool,
}

impl Facts {
    fn view(&self) -> OpFacts<'_> {
        OpFacts {
            name: &self.name,
            other_name: self.other_name.as_deref(),
            op_type: &self.op_type,
            is_default: self.is_default,
        }
    }
}

struct Planner<'a> {
    graph: &'a Graph,
    chooser: &'a Chooser<'a>,
    emit: Emit,
    /// Whether this is to find what needs a range, whose absence is no fault then.
    measuring: bool,
    /// Those of the main graph, filled when first asked for.
    frames: OnceCell<Frames>,
    /// Filled when an activation is first asked for.
    roles: OnceCell<Roles>,
    /// Filled when a gradient is first asked for.
    backward: Option<BackwardOps<'a>>,
    sites: Vec<Site>,
    /// Activation sites without a range.
    missing: Vec<String>,
    /// What all of these take.
    counted: Share<'a>,
}

/// An op under consideration.
struct Op<'a> {
    id: NodeId,
    facts: OpFacts<'a>,
    info: Option<&'static ops::OpInfo>,
    weight: Option<(usize, Traced)>,
    /// What is decided about it.
    choice: Choice<'a>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, chooser: &'a Chooser<'a>) -> Self {
        Self {
            graph,
            chooser,
            emit: chooser.emit(),
            measuring: false,
            frames: OnceCell::new(),
            roles: OnceCell::new(),
            backward: None,
            sites: Vec::new(),
            missing: Vec::new(),
            counted: Share::of(graph.budget()),
        }
    }

    /// Decide about every op; returns what the config wants to know about them.
    fn all(&mut self) -> Result<Vec<Facts>, Error> {
        self.graph.all_nodes().map(|id| self.op(id).map_err(|error| self.graph.in_own_file(error))).collect()
    }

    /// Add a site to the plan, and count it.
    fn push(&mut self, site: Site) -> Result<(), Error> {
        self.counted.take(site.held(), SITES)?;
        self.sites.push(site);
        Ok(())
    }

    /// Whether a node cannot reach the variables of the main graph.
    fn is_stateless(&self, id: NodeId) -> bool {
        !self.frames.get_or_init(|| Frames::of_main(self.graph)).reaches_state(id)
    }

    /// Whether a tensor is in a function or a loop, from which nothing can be fetched.
    fn is_unfetchable(&self, tensor: &str) -> bool {
        let frames = self.frames.get_or_init(|| Frames::of_main(self.graph));
        frames.unfetchable(self.graph, tensor).is_some()
    }

    /// Whether a node is a part of what quantization put into a training graph: it is nobody's op.
    fn is_ours(&self, id: NodeId) -> Result<bool, Error> {
        match self.graph.index().node(id) {
            Some(node) => Ok(node.attr(self.graph.bytes(), mark::PART)?.is_some()),
            None => Ok(false),
        }
    }

    fn op(&mut self, id: NodeId) -> Result<Facts, Error> {
        let kind = self.graph.op(id);
        let info = ops::info(kind);
        let weight = match info {
            Some(info) if !info.weights.is_empty() => weight_of(self.graph, id, info)?,
            _ => None,
        };
        let is_default = info.is_some_and(|i| i.default) && weight.is_some();
        let op_type = String::from_utf8_lossy(kind).into_owned();
        let (name, other_name) = self.graph.both_names(id);
        let facts = Facts { name, other_name, op_type, is_default };
        let mut choice = self.chooser.about(facts.view());
        if choice.names_any() && self.is_ours(id)? {
            choice = choice.without_any();
        }
        let op = Op { id, facts: facts.view(), info, weight, choice };
        // A gather may read any table; one of floats is an embedding, unless all it does is to look up a constant's codes.
        let listed = match &op.weight {
            Some(_) if op.info.is_some_and(|i| i.default) => true,
            Some((_, Traced::Weight(_) | Traced::Variable(_, Some(_)) | Traced::Quantized(_) | Traced::Several(_))) => {
                !is_parameter(self.graph, id, false)?
            }
            _ => false,
        };
        if listed || choice.names(QuantType::Weight) {
            self.weight(&op)?;
        }
        if choice.names(QuantType::Input) {
            self.inputs(&op)?;
        }
        if choice.names(QuantType::Output) {
            self.output(&op)?;
        }
        if choice.names(QuantType::Gradient) {
            self.gradient(&op)?;
        }
        Ok(facts)
    }
}

/// Settings as they are kept in a plan: `channel_axis` filled in.
fn with_axis(settings: Settings, channel_axis: Option<usize>) -> Decision {
    Decision::Quantize(Settings { channel_axis, ..settings })
}
