//! What a model that observes has seen, as ranges.

use std::collections::BTreeMap;

use quant_math::observers::{Ema, Histogram, MinMax, Statistics};
use quant_math::plan::Reason;
use quant_math::quantizers::qat;
use quant_math::ranges::{Calibration, Ranges, SiteRange, version_for};
use quant_math::{MathError, Range};

use super::buffers::{real, whole, wholes};
use super::observe::{Key, Source};
use crate::codes;
use crate::error::{Error, RunError};
use crate::find::injected::{Class, OBSERVED, SAMPLES, SOURCE};
use crate::find::mark::{SITE, TrainingSite};
use crate::find::model::Model;
use crate::torchscript::heap::{Item, Object, TensorId, unmangle};

impl Model {
    /// The ranges of everything that ran through a model that [`Model::observe`] made, and what no sample reached. `samples` is how many there
    /// were, where that is known; else the model's own count.
    ///
    /// # Errors
    ///
    /// A model that does not observe; tensors that became NaN or infinite; buffers that contradict each other.
    pub fn measured(&self, framework: &str, samples: Option<u64>) -> Result<(Ranges, Vec<Reason>), Error> {
        self.in_file(self.read_measured(framework, samples))
    }

    fn read_measured(&self, framework: &str, samples: Option<u64>) -> Result<(Ranges, Vec<Reason>), Error> {
        let objects = &self.heap().objects;
        let head = objects.iter().find(|object| unmangle(&object.class) == OBSERVED).ok_or(Error::NotObserved)?;
        let source: Option<Source> = match head.attribute(SOURCE) {
            Some(Item::Str(text)) => serde_json::from_str(text).ok(),
            _ => None,
        };
        let source = source.ok_or(Error::NotObserved)?;
        let counted = tensor(head, SAMPLES).map(|tensor| whole(self, tensor)).transpose()?.flatten();
        let samples = samples.unwrap_or_else(|| counted.and_then(|count| u64::try_from(count).ok()).unwrap_or(0));
        let mut seen: BTreeMap<Key, (TrainingSite, Option<Statistics>)> = BTreeMap::new();
        for object in objects {
            let Some(class) = Class::of(&unmangle(&object.class)).filter(|class| class.observes()) else { continue };
            let Some(Item::Str(text)) = object.attribute(SITE) else { continue };
            let Ok(site) = serde_json::from_str::<TrainingSite>(text) else { continue };
            let statistics = self.statistics(object, class, &site)?;
            seen.insert((site.op.clone(), site.kind, site.tensor.clone()), (site, statistics));
        }
        let (mut ranges, mut unseen, mut observer) = (Vec::new(), Vec::new(), None);
        for key in source.sites {
            let Some((site, Some(statistics))) = seen.remove(&key) else {
                let (op, kind, tensor) = key;
                let text = format!("no sample reached `{tensor}` ({kind} of `{op}`): it gets no range");
                unseen.push(Reason::new(codes::NOT_REACHED, text));
                continue;
            };
            let settings = site.settings;
            observer.get_or_insert(settings.observer);
            let calibration = Calibration {
                observer: settings.observer,
                bits: settings.bits,
                symmetric: settings.symmetric,
                samples,
                statistics,
            };
            let failed = failed(&site);
            ranges.push(
                SiteRange::measured(site.op.clone(), site.kind, site.tensor.clone(), calibration).map_err(failed)?,
            );
        }
        if ranges.is_empty() {
            return Err(RunError::Request {
                message: "no sample ran through the archive".to_owned(),
                help: "run data through it in PyTorch, then save it with `torch.jit.save`".to_owned(),
            }
            .into());
        }
        let ranges = Ranges {
            version: version_for(&source.folded),
            framework: framework.to_owned(),
            model: source.model,
            config: Some(source.config),
            observer: observer.unwrap_or_default(),
            samples,
            batch: None,
            folded: source.folded,
            ranges,
        };
        Ok((ranges, unseen))
    }

    /// What an observer has seen; `None` where that is nothing.
    fn statistics(&self, object: &Object, class: Class, site: &TrainingSite) -> Result<Option<Statistics>, Error> {
        let count =
            |name: &str| tensor(object, name).map(|tensor| whole(self, tensor)).transpose().map(Option::flatten);
        let end = |name: &str| tensor(object, name).map(|tensor| real(self, tensor)).transpose().map(Option::flatten);
        let range = |min: &str, max: &str| {
            let ends = end(min)?.zip(end(max)?);
            Ok::<Range, Error>(ends.map_or(Range { min: f32::NAN, max: f32::NAN }, |(min, max)| Range { min, max }))
        };
        let batches = count("batches")?.and_then(|batches| u64::try_from(batches).ok()).unwrap_or(0);
        if batches == 0 {
            return Ok(None);
        }
        let seen = range("min", "max")?;
        let made = match class {
            Class::ObserveEma => {
                let decay = site.settings.ema_decay.unwrap_or(qat::DEFAULT_EMA_DECAY);
                let first = range("first_min", "first_max")?;
                Ema::of_batches(decay, first, seen, batches).map(Statistics::Ema)
            }
            Class::ObserveHistogram => {
                let exponent = count("exponent")?.and_then(|exponent| i32::try_from(exponent).ok()).unwrap_or(i32::MAX);
                let counts = tensor(object, "counts").map(|tensor| wholes(self, tensor)).transpose()?;
                let counts = counts.unwrap_or_default().into_iter().map(|count| u64::try_from(count).unwrap_or(0));
                Histogram::of_counts(seen, exponent, counts.collect()).map(Statistics::Histogram)
            }
            _ => {
                let mut ends = MinMax::default();
                ends.add(seen).map(|()| Statistics::MinMax(ends))
            }
        };
        made.map(Some).map_err(failed(site))
    }
}

fn tensor(object: &Object, name: &str) -> Option<TensorId> {
    match object.attribute(name) {
        Some(Item::Tensor(tensor)) => Some(*tensor),
        _ => None,
    }
}

fn failed(site: &TrainingSite) -> impl Fn(MathError) -> Error {
    let tensor = format!("{} ({} of {})", site.tensor, site.kind, site.op);
    move |source| RunError::Math { tensor: tensor.clone(), source }.into()
}
