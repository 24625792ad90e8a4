//! Who decides about the tensors of a model: a `config_list`, or a plan that was written down before.

use super::written::Written;
use super::{Decision, Emit, NoPlan, Plan, PlanOptions, QuantType, Reason, Settings, Site, not_default};
use crate::codes;
use crate::config::{ConfigList, OpFacts, PerChannel, Selection, Selector};
use crate::range::Range;
use crate::ranges::{RangeLookup, Ranges};

/// Decides about the tensors of a model, op by op.
#[derive(Debug)]
pub struct Chooser<'a> {
    by: By<'a>,
}

#[derive(Debug)]
enum By<'a> {
    Config { config: &'a ConfigList, emit: Emit, selector: Box<Selector<'a>>, ranges: Option<RangeLookup<'a>> },
    Plan(Written<'a>),
}

/// What was decided about one op.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'c> {
    op: OpFacts<'c>,
    by: ChosenBy<'c>,
}

#[derive(Debug, Clone, Copy)]
enum ChosenBy<'c> {
    Config { by: &'c By<'c>, selection: Selection<'c> },
    Plan(&'c Written<'c>),
    Nothing,
}

/// How one tensor is to be quantized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// The settings; the adapter knows the `channel_axis`, and sets it where `per_channel` chooses it.
    pub settings: Settings,
    /// Weights: whether there is one scale per channel.
    pub per_channel: PerChannel,
    /// Inputs and outputs: the measured range.
    pub range: Option<Range>,
    /// Inputs and outputs: whether the op that makes the tensor says if its grid is signed, `settings.symmetric` being no answer.
    pub sign_is_open: bool,
}

impl Chosen {
    /// Whether the form has ops with the range of an activation, and none was measured.
    pub fn lacks_range(&self, emit: Emit) -> bool {
        emit == Emit::Inference && self.settings.quantizer.row().measures() && self.range.is_none()
    }
}

impl<'a> Chooser<'a> {
    /// By a config, for a form of output, with measured ranges.
    pub fn of_config(config: &'a ConfigList, emit: Emit, ranges: Option<&'a Ranges>) -> Self {
        Self {
            by: By::Config { config, emit, selector: Box::new(config.selector()), ranges: ranges.map(Ranges::lookup) },
        }
    }

    /// By a config, as it is asked for of the model with this fingerprint.
    ///
    /// # Errors
    /// Ranges of another model; a form of output that does not exist for the config.
    pub fn of_request(
        config: &'a ConfigList,
        options: &PlanOptions<'a>,
        fingerprint: impl FnOnce() -> String,
    ) -> Result<Self, NoPlan> {
        if let Some(ranges) = options.ranges {
            ranges.check_model(&fingerprint()).map_err(|error| NoPlan::Ranges(error.to_string()))?;
        }
        let emit = options.emit_for(config);
        emit.check(config)?;
        Ok(Self::of_config(config, emit, options.ranges))
    }

    /// By a plan.
    ///
    /// # Errors
    /// What is wrong with it whatever the model is.
    pub fn of_plan(plan: &'a Plan) -> Result<Self, NoPlan> {
        Ok(Self { by: By::Plan(Written::new(plan)?) })
    }

    /// The form of the output.
    pub fn emit(&self) -> Emit {
        match &self.by {
            By::Config { emit, .. } => *emit,
            By::Plan(written) => written.emit(),
        }
    }

    /// What is decided about an op.
    pub fn about<'c>(&'c self, op: OpFacts<'c>) -> Choice<'c> {
        let by = match &self.by {
            by @ By::Config { selector, .. } => ChosenBy::Config { by, selection: selector.select(&op) },
            By::Plan(written) => ChosenBy::Plan(written),
        };
        Choice { op, by }
    }

    /// The plan about the sites that were found, whose ops are `ops`; `missing` are those without a range that need one, as `op (kind)`, and
    /// `about_model` is what a user should know of the model.
    ///
    /// # Errors
    /// Missing ranges; of a config with [`PlanOptions::strict`], the reasons of what matches nothing; what of a plan the model does not have or
    /// cannot do.
    pub fn plan(
        &self,
        (sites, missing): (Vec<Site>, Vec<String>),
        ops: &[OpFacts<'_>],
        options: &PlanOptions<'_>,
        about_model: Vec<Reason>,
    ) -> Result<Plan, NoPlan> {
        if !missing.is_empty() {
            return Err(NoPlan::MissingRanges(missing));
        }
        match &self.by {
            By::Config { config, .. } => Plan::new(config, options, sites, ops, about_model).map_err(NoPlan::Unmatched),
            By::Plan(written) => written.carried_over(sites).map_err(NoPlan::Written),
        }
    }
}

impl Choice<'_> {
    /// Whether a tensor of this kind is to be decided about.
    pub fn names(&self, kind: QuantType) -> bool {
        match self.by {
            ChosenBy::Config { selection: Selection::Selected { config, .. }, .. } => {
                !config.exclude && config.quant_types.contains(&kind)
            }
            ChosenBy::Config { .. } | ChosenBy::Nothing => false,
            ChosenBy::Plan(written) => written.names(self.op.name, kind),
        }
    }

    /// Whether a tensor of any kind is.
    pub fn names_any(&self) -> bool {
        [QuantType::Weight, QuantType::Input, QuantType::Output, QuantType::Gradient]
            .into_iter()
            .any(|kind| self.names(kind))
    }

    /// The same op, of which nothing is named.
    #[must_use]
    pub fn without_any(self) -> Self {
        match self.by {
            ChosenBy::Config { by, .. } => {
                Self { by: ChosenBy::Config { by, selection: Selection::NotSelected }, ..self }
            }
            ChosenBy::Plan(_) | ChosenBy::Nothing => Self { by: ChosenBy::Nothing, ..self },
        }
    }

    /// How a tensor is to be quantized.
    ///
    /// # Errors
    /// The reason why it is left in float.
    pub fn of(&self, kind: QuantType, tensor: &str) -> Result<Chosen, Reason> {
        match self.by {
            ChosenBy::Config { by, selection } => by.of_config(&self.op, selection, kind, tensor),
            ChosenBy::Nothing => {
                Err(Reason::new(codes::NOT_SELECTED, "it is a part of what quantization put into the model"))
            }
            ChosenBy::Plan(written) => {
                let site = written.site(self.op.name, kind, tensor);
                let site =
                    site.ok_or_else(|| Reason::new(codes::NOT_SELECTED, "the plan does not name this tensor"))?;
                let settings = match &site.decision {
                    Decision::Quantize(settings) => *settings,
                    Decision::Skip(reason) => return Err(reason.clone()),
                };
                let per_channel = if settings.channel_axis.is_some() { PerChannel::Always } else { PerChannel::Never };
                let settings = Settings { channel_axis: None, ..settings };
                Ok(Chosen { settings, per_channel, range: site.range, sign_is_open: false })
            }
        }
    }
}

impl By<'_> {
    fn of_config(
        &self,
        op: &OpFacts<'_>,
        selection: Selection<'_>,
        kind: QuantType,
        tensor: &str,
    ) -> Result<Chosen, Reason> {
        let Self::Config { config: list, emit, selector, ranges } = self else {
            return Err(Reason::new(codes::NOT_SELECTED, "no entry of the config matches this op"));
        };
        if let Selection::Selected { entry, config } = selection
            && let Some(settings) = config.settings_in(*emit, list.quantizer, kind, entry)
        {
            let measured = matches!(kind, QuantType::Input | QuantType::Output) && settings.quantizer.row().measures();
            let ranges = ranges.as_ref().filter(|_| measured);
            let range = ranges.and_then(|ranges| ranges.find(op.name, kind, tensor));
            let sign_is_open = config.leaves_sign_open(list.quantizer, kind);
            return Ok(Chosen { settings, per_channel: config.per_channel, range, sign_is_open });
        }
        Err(selector.taken_away(op, selection, kind).unwrap_or_else(|| not_chosen(op, selection, kind)))
    }
}

/// The reason for a tensor that the config does not choose.
fn not_chosen(op: &OpFacts<'_>, selection: Selection<'_>, kind: QuantType) -> Reason {
    match selection {
        Selection::NotSelected if !op.is_default => Reason::new(codes::NOT_SELECTED, not_default(op.op_type)),
        Selection::NotSelected => Reason::new(codes::NOT_SELECTED, "no entry of the config matches this op"),
        Selection::Excluded { entry } => Reason::new(codes::EXCLUDED, format!("config_list[{entry}] excludes this op")),
        Selection::Selected { entry, .. } => Reason::new(
            codes::NOT_SELECTED,
            format!("config_list[{entry}] decides about this op and does not name `{kind}`"),
        ),
    }
}
