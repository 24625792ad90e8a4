//! The plan: every site of a model, and what is to be done with it.
//!
//! A plan is data. Finding and deciding make it, nothing else; an adapter's `apply` turns it into bytes.

mod chooser;
mod fault;
mod form;
mod keys;
mod no_plan;
mod reasons;
mod settings;
mod written;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codes::{self, Code};
use crate::config::{ConfigList, OpFacts};
use crate::data::DType;
use crate::fold::{Fold, Folded};
use crate::late;
use crate::quantizers::table::{DefaultForm, StepSource};
use crate::range::Range;
use crate::ranges::{Ranges, SiteRange};

pub use chooser::{Choice, Chooser, Chosen};
pub use fault::{PlanFault, PlanFaultKind, PlanFaults};
pub use form::NoSuchForm;
pub use no_plan::{NoPlan, first_names};
pub use reasons::{no_activation, no_weight, nothing_to_measure};
pub use settings::{Emit, Gradient, Observer, QuantType, Quantizer, Rounding, Settings};

/// The version of the plan's JSON form; raised when a field changes its meaning.
pub const PLAN_VERSION: u32 = 1;

/// A reason with a stable code: why a site was left alone, or what a user should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A code in kebab case, for example `not-selected`; it never changes its meaning. In a plan that was written by hand it is any word.
    pub code: String,
    /// The same for a person, with names.
    pub text: String,
}

impl Reason {
    /// A reason with a code of a table, and its text.
    pub fn new(code: &Code, text: impl Into<String>) -> Self {
        Self { code: code.name.to_owned(), text: text.into() }
    }

    /// Whether it has this code.
    pub fn is(&self, code: &Code) -> bool {
        self.code == code.name
    }

    /// Whether it says that something in the config matches nothing or has no effect: a warning, which `--strict` makes an error.
    pub fn is_about_config(&self) -> bool {
        codes::is_about_config(&self.code)
    }
}

/// Why an op with a weight that `default` does not mean was left alone, in both frameworks' words.
fn not_default(op_type: &str) -> String {
    format!("no entry of the config names `{op_type}`, and `default` does not mean it: add it to `op_types`")
}

/// What making a plan needs besides the config.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanOptions<'a> {
    /// The form of the output; `None` picks the quantizer's default.
    pub emit: Option<Emit>,
    /// Measured activation ranges.
    pub ranges: Option<&'a Ranges>,
    /// Make it an error when an entry of the config matches nothing.
    pub strict: bool,
    /// TensorFlow, `training`: how gradients pass the rounding.
    pub gradient: Gradient,
    /// Which batch normalizations go into the layers before them.
    pub fold: Fold,
}

impl PlanOptions<'_> {
    /// The form that was asked for, or the quantizer's [`DefaultForm`].
    pub fn emit_for(&self, config: &ConfigList) -> Emit {
        let activations = config.uses(QuantType::Input) || config.uses(QuantType::Output);
        self.emit.unwrap_or(match config.quantizer.row().default_form {
            DefaultForm::Always(form) => form,
            DefaultForm::ByRanges if self.ranges.is_some() || !activations => Emit::Inference,
            DefaultForm::ByRanges => Emit::Training,
        })
    }
}

/// What is to be done with a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Quantize it like this.
    Quantize(Settings),
    /// Leave it in float, for this reason.
    Skip(Reason),
}

/// A tensor of an op that could be quantized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The op's name (TensorFlow: the node; TorchScript: the module path).
    pub op: String,
    /// The op's type (`Conv2D`, `Conv2d`, …), as the model says it.
    pub op_type: String,
    /// Which of the op's tensors.
    pub kind: QuantType,
    /// The tensor's name in the model (TensorFlow: the node that makes it; TorchScript: the parameter).
    pub tensor: String,
    /// The element type, where it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dtype: Option<DType>,
    /// The shape, outermost dimension first, where it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shape: Option<Vec<u64>>,
    /// What is to be done.
    pub decision: Decision,
    /// Inputs and outputs: the range that was measured, where one was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub range: Option<Range>,
    /// LSQ: the step of each channel of a weight, or of the tensor, where it was learnt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub steps: Option<Vec<f32>>,
}

impl Site {
    /// Bytes that it holds in memory, with room for a list of sites that grows. Names are copied from the model: a small model with one
    /// long name can ask for many.
    pub fn held(&self) -> u64 {
        let reason = match &self.decision {
            Decision::Quantize(_) => 0,
            Decision::Skip(reason) => reason.code.capacity() + reason.text.capacity(),
        };
        let shape = self.shape.as_ref().map_or(0, |shape| size_of::<u64>() * shape.capacity());
        let texts = self.op.capacity() + self.op_type.capacity() + self.tensor.capacity();
        let steps = size_of::<f32>() * self.steps.as_ref().map_or(0, Vec::capacity);
        (2 * size_of::<Self>() + reason + shape + texts + steps) as u64
    }

    /// The settings, if the site is to be quantized.
    pub fn settings(&self) -> Option<&Settings> {
        match &self.decision {
            Decision::Quantize(settings) => Some(settings),
            Decision::Skip(_) => None,
        }
    }
}

/// What `plan` prints and `apply` carries out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The quantizer.
    pub quantizer: Quantizer,
    /// The form of the output.
    pub emit: Emit,
    /// TensorFlow, `training`: how gradients pass the rounding.
    #[serde(default, skip_serializing_if = "Gradient::is_default")]
    pub gradient: Gradient,
    /// Every site of the model, in the model's order.
    pub sites: Vec<Site>,
    /// What was done to the model before, and keeps what it computes (functions inlined, variables made constants).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepared: Vec<Reason>,
    /// The batch normalizations of the model, and which of them go into the layers before them. Sites are those of the model after that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folds: Vec<Folded>,
    /// What a user should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

impl Plan {
    /// A plan from its sites, with what a user should know: keys of the config without effect, what of it matches none of `ops`, what its entries take from each other,
    /// `about_model`, and that DoReFa hurts a model which is not going to be trained with it.
    ///
    /// # Errors
    /// With [`PlanOptions::strict`], the reasons of what matches nothing.
    pub fn new(
        config: &ConfigList,
        options: &PlanOptions<'_>,
        sites: Vec<Site>,
        ops: &[OpFacts<'_>],
        about_model: Vec<Reason>,
    ) -> Result<Self, Vec<Reason>> {
        let emit = options.emit_for(config);
        let mut warnings = config.warnings();
        let unmatched = config.unmatched(ops);
        if options.strict && !unmatched.is_empty() {
            return Err(unmatched);
        }
        warnings.extend(unmatched);
        warnings.extend(config.taken_away(ops));
        warnings.extend(about_model);
        let rescales = config.quantizer.row().steps == StepSource::Levels && emit != Emit::Training;
        if rescales && sites.iter().any(|site| site.settings().is_some()) {
            warnings.push(Reason::new(
                codes::DOREFA_RESCALES,
                "DoReFa rescales weights to [−1, 1]: a model that was not trained with it is expected to lose accuracy",
            ));
        }
        warnings.extend(late::starts(emit, &sites));
        let gradient = options.gradient;
        let (version, quantizer) = (PLAN_VERSION, config.quantizer);
        let (prepared, folds) = (Vec::new(), Vec::new());
        Ok(Self { version, quantizer, emit, gradient, sites, prepared, folds, warnings })
    }

    /// The sites that are to be quantized.
    pub fn quantized(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|site| site.settings().is_some())
    }

    /// The sites that are left alone, each with its reason.
    pub fn skipped(&self) -> impl Iterator<Item = (&Site, &Reason)> {
        self.sites.iter().filter_map(|site| match &site.decision {
            Decision::Skip(reason) => Some((site, reason)),
            Decision::Quantize(_) => None,
        })
    }

    /// Take over measured ranges, and by which observers they were measured.
    pub fn take_ranges(&mut self, ranges: &Ranges) {
        let key = |entry: &SiteRange| (entry.site.clone(), entry.kind, entry.tensor.clone());
        let observer = |entry: &SiteRange| Some((key(entry), entry.calibration.as_ref()?.observer));
        let observers: BTreeMap<_, _> = ranges.ranges.iter().filter_map(observer).collect();
        let lookup = ranges.lookup();
        for site in &mut self.sites {
            if !matches!(site.kind, QuantType::Input | QuantType::Output) {
                continue;
            }
            site.range = lookup.find(&site.op, site.kind, &site.tensor);
            let key = (site.op.clone(), site.kind, site.tensor.clone());
            if let (Decision::Quantize(settings), Some(observer)) = (&mut site.decision, observers.get(&key)) {
                settings.observer = *observer;
            }
        }
    }

    /// A plan that leaves everything as it is.
    pub fn of_nothing(quantizer: Quantizer, emit: Emit) -> Self {
        Self {
            version: PLAN_VERSION,
            quantizer,
            emit,
            gradient: Gradient::default(),
            sites: Vec::new(),
            prepared: Vec::new(),
            folds: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Whether applying the plan changes nothing.
    pub fn is_empty(&self) -> bool {
        self.quantized().next().is_none()
    }
}
