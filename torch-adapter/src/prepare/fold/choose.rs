//! Which of the batch normalizations that could be folded are.

use std::collections::BTreeSet;

use quant_math::Emit;
use quant_math::config::{ConfigList, OpFacts};
use quant_math::fold::refuses;
use quant_math::plan::{Chooser, Reason};

use super::Candidate;
use crate::codes;
use crate::find::model::Model;

/// Who chooses.
#[derive(Debug)]
pub(super) enum Choose<'a> {
    /// All of them.
    All,
    /// Those of layers whose weights get a scale for each channel.
    PerChannel(Chooser<'a>),
    /// Those of these names.
    Named(&'a BTreeSet<&'a str>),
    /// None, since the model is going to be trained.
    Trained,
}

impl<'a> Choose<'a> {
    /// By what a config says of the layers, whatever the form of output: codes are the same in all of them.
    pub(super) fn config(config: &'a ConfigList) -> Self {
        Self::PerChannel(Chooser::of_config(config, Emit::Baked, None))
    }

    /// Why one is not folded, if it is not.
    pub(super) fn refuses(&self, model: &Model, candidate: &Candidate<'_>) -> Option<Reason> {
        let Candidate { norm, pair, channels, .. } = candidate;
        match self {
            Self::All => None,
            Self::Named(names) => {
                let text = "the plan does not fold it";
                (!names.contains(norm.op.name.as_str())).then(|| Reason::new(codes::NORM_NOT_QUANTIZED, text))
            }
            Self::Trained => {
                let text =
                    format!("`{}` will normalize by the statistics of each batch while it is trained", norm.op.name);
                Some(Reason::new(codes::NORM_TRAINS, text))
            }
            Self::PerChannel(chooser) => {
                let layer = pair.layer;
                let facts = OpFacts {
                    name: &layer.name,
                    other_name: None,
                    op_type: &layer.op_type,
                    is_default: layer.is_default,
                };
                let weight = layer.weights.iter().find(|weight| weight.tensor == Some(pair.weight.0))?;
                refuses(chooser, facts, &weight.name, |chosen| {
                    let scales = model.scales(pair.weight.0, pair.axis);
                    // Groups of a transposed convolution share the scales of its channels.
                    scales == *channels as u64 && model.chooses(chosen.per_channel, pair.weight.0, pair.axis)
                })
            }
        }
    }
}
