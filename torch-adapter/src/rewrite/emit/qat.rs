//! Quantization-aware training in TorchScript: modules with live ranges, or ops with constants.

use std::collections::BTreeMap;

use quant_math::plan::{Observer, Settings};
use quant_math::weights::has_floor;
use quant_math::{Affine, DType, Grid, MathError, Range};

use super::fake_quant;
use crate::find::injected::{Class, Function};
use crate::find::mark::TrainingSite;
use crate::find::sites::Spot;
use crate::rewrite::edit::editor::Wrap;
use crate::rewrite::edit::value::NewValue;
use crate::torchscript::code::ExprId;

/// `inference`, activations: scale and zero point of a measured range.
pub(crate) fn inference_activation(
    settings: &Settings,
    range: Range,
    dtype: Option<DType>,
) -> Result<((Wrap, Option<Function>), f32), MathError> {
    let affine = if settings.symmetric {
        Affine::symmetric(range, Grid::signed_narrow(settings.bits)?)?
    } else {
        Affine::asymmetric(range, Grid::unsigned(settings.bits)?)?
    };
    Ok((fake_quant::activation(affine, dtype), affine.scale()))
}

/// `training`, weights; `beside` are the biases of the calls that get them.
pub(crate) fn training_weight(site: TrainingSite, beside: &BTreeMap<Spot, ExprId>) -> Result<Wrap, MathError> {
    let settings = &site.settings;
    let start = start(settings);
    let axis = settings.channel_axis.map(|axis| NewValue::Int(i64::try_from(axis).unwrap_or(0)));
    let class = match (settings.symmetric, axis.is_some()) {
        (true, false) => Class::WeightSymmetric,
        (true, true) => Class::WeightSymmetricPerChannel,
        (false, false) => Class::WeightAffine,
        (false, true) => Class::WeightAffinePerChannel,
    };
    let mut values = vec![start];
    values.extend(grid_values(settings, fake_quant::weight_ends)?);
    values.extend(axis);
    let beside = if has_floor(settings) { beside.clone() } else { BTreeMap::new() };
    Ok(Wrap::Module { class, settings: values, site, channels: None, beside })
}

/// `training`, activations.
pub(crate) fn training_activation(site: TrainingSite) -> Result<Wrap, MathError> {
    const DEFAULT_DECAY: f64 = 0.99;
    let settings = &site.settings;
    let class = if settings.symmetric { Class::RangeSymmetric } else { Class::RangeAffine };
    let mut values = vec![start(settings)];
    values.extend(grid_values(settings, |grid| (grid.quant_min(), grid.quant_max()))?);
    values.push(NewValue::Float(1.0 - settings.ema_decay.unwrap_or(DEFAULT_DECAY)));
    values.push(NewValue::Bool(settings.observer == Observer::MinMax));
    Ok(Wrap::module(class, values, site))
}

/// `quant_min`, where the grid does not start at 0, and `quant_max`; `ends` takes those of a symmetric grid.
fn grid_values(settings: &Settings, ends: impl Fn(Grid) -> (i32, i32)) -> Result<Vec<NewValue>, MathError> {
    if !settings.symmetric {
        return Ok(vec![NewValue::Int(Grid::unsigned(settings.bits)?.quant_max().into())]);
    }
    let (low, high) = ends(Grid::signed_narrow(settings.bits)?);
    Ok(vec![NewValue::Int(low.into()), NewValue::Int(high.into())])
}

fn start(settings: &Settings) -> NewValue {
    NewValue::Int(i64::try_from(settings.quant_start_step).unwrap_or(i64::MAX))
}
