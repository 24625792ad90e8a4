//! Calibration in TorchScript: modules that look at a tensor and hand it on as it is.

use quant_math::plan::Observer;
use quant_math::quantizers::qat;

use crate::find::injected::Class;
use crate::find::mark::TrainingSite;
use crate::rewrite::edit::editor::Wrap;
use crate::rewrite::edit::value::NewValue;

/// What observes a site; a histogram counts about `most` values of a large tensor, or all where that is 0.
pub(crate) fn observer(site: TrainingSite, most: i64) -> Wrap {
    let settings = &site.settings;
    match settings.observer {
        Observer::MinMax => Wrap::module(Class::ObserveMinMax, Vec::new(), site),
        Observer::Ema => {
            let rate = 1.0 - settings.ema_decay.unwrap_or(qat::DEFAULT_EMA_DECAY);
            Wrap::module(Class::ObserveEma, vec![NewValue::Float(rate)], site)
        }
        Observer::Percentile | Observer::Entropy | Observer::Mse => {
            Wrap::module(Class::ObserveHistogram, vec![NewValue::Int(most)], site)
        }
    }
}
