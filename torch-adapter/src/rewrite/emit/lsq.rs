//! LSQ in TorchScript: modules whose step is a parameter, or ops with the steps that were learnt.

use std::collections::BTreeMap;

use quant_math::plan::Settings;
use quant_math::quantizers::lsq;
use quant_math::{DType, Grid, MathError};

use super::fake_quant;
use crate::find::injected::{Class, Function};
use crate::find::mark::TrainingSite;
use crate::rewrite::edit::editor::Wrap;
use crate::rewrite::edit::value::NewValue;

/// `training`, weights; `shape` is the weight's.
pub(crate) fn training_weight(site: TrainingSite, shape: &[u64]) -> Result<Wrap, MathError> {
    let mut values = grid_values(&site.settings)?;
    let Some(axis) = site.settings.channel_axis else { return Ok(Wrap::module(Class::LsqWeight, values, site)) };
    values.push(NewValue::Int(i64::try_from(axis).unwrap_or(0)));
    let channels = shape.get(axis).copied();
    Ok(Wrap::Module { class: Class::LsqWeightPerChannel, settings: values, site, channels, beside: BTreeMap::new() })
}

/// `training`, activations.
pub(crate) fn training_activation(site: TrainingSite) -> Result<Wrap, MathError> {
    Ok(Wrap::module(Class::LsqActivation, grid_values(&site.settings)?, site))
}

/// `inference`, activations: the step that was learnt.
pub(crate) fn inference_activation(
    settings: &Settings,
    step: f32,
    dtype: Option<DType>,
) -> Result<(Wrap, Option<Function>), MathError> {
    Ok(fake_quant::activation(lsq::affine(step, settings)?, dtype))
}

/// The ends of the grid, and the first step of a tensor whose absolute values have the mean 1.
fn grid_values(settings: &Settings) -> Result<Vec<NewValue>, MathError> {
    let grid: Grid = lsq::grid(settings.bits, settings.symmetric)?;
    let first = f64::from(lsq::initial_step(1.0, grid));
    Ok(vec![NewValue::Int(grid.quant_min().into()), NewValue::Int(grid.quant_max().into()), NewValue::Float(first)])
}
