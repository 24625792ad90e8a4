//! Calibration: ranges of activations from data.
//!
//! Reductions happen in the graph, so that only statistics travel, whatever the tensors' size: the smallest and the largest value,
//! and a histogram where the observer needs one.

mod probe;

use std::collections::BTreeMap;
use std::path::Path;

use quant_math::config::ConfigList;
use quant_math::observers::{BINS, Histogram, Statistics};
use quant_math::plan::{Reason, Settings, Site, nothing_to_measure};
use quant_math::ranges::{Calibration, ModelId, Ranges, SiteRange, version_for};

use self::probe::Probes;
use super::RunError;
use super::data::Batch;
use super::session::{Model, RunOptions};
use crate::codes;
use crate::error::Error;
use crate::find::frames::Frames;
use crate::graphdef::graph::Graph;
use crate::prepare::Looked;

/// A model on its way to ranges.
#[derive(Debug)]
pub struct Calibrator {
    model: Model,
    model_id: ModelId,
    /// The config's fingerprint.
    config: String,
    /// The activations that need a range, each with the position of its tensor.
    sites: Vec<(Site, usize)>,
    tensors: Vec<Watched>,
    probes: Probes,
    samples: u64,
    warnings: Vec<Reason>,
    unmatched: Vec<Reason>,
    /// The layers that have taken batch normalizations.
    folded: Vec<String>,
}

/// A tensor that is looked at, in one way.
#[derive(Debug)]
struct Watched {
    tensor: String,
    statistics: Statistics,
}

impl Watched {
    /// Bytes that it takes: what was seen so far, and with the batch that runs.
    fn held(&self) -> u64 {
        let bins = if self.histogram().is_some() { 2 * BINS * size_of::<u64>() } else { 0 };
        (2 * bins + 2 * size_of::<Self>() + 2 * self.tensor.len()) as u64
    }

    fn histogram(&self) -> Option<&Histogram> {
        match &self.statistics {
            Statistics::Histogram(histogram) => Some(histogram),
            _ => None,
        }
    }
}

impl Calibrator {
    /// Hand the model to TensorFlow, with what measures the activations that `config` names.
    ///
    /// # Errors
    /// A config without activations that need a range; those of [`Model::new`].
    pub fn new(graph: &Graph, config: &ConfigList, options: &RunOptions) -> Result<Self, Error> {
        let Looked { graph: folded, .. } = graph.look_at_norms(config, options.fold)?;
        let graph = folded.as_ref().unwrap_or(graph);
        let frames = Frames::of_main(graph);
        let mut wanted = Vec::new();
        let (sites, unmatched) = graph.activations(config)?;
        let mut warnings = Vec::new();
        for site in sites {
            let Some(settings) = site.settings().copied() else { continue };
            match frames.unfetchable(graph, &site.tensor) {
                Some(why) => {
                    let text = format!("`{}` ({}) {why}: it gets no range", site.op, site.kind);
                    warnings.push(Reason::new(codes::NOT_MEASURED, text));
                }
                None => wanted.push((site, settings)),
            }
        }
        if wanted.is_empty() {
            let (message, help) = nothing_to_measure(config.quantizer, &unmatched);
            return Err(RunError::Request { message, help: help.to_owned() }.into());
        }
        let mut tensors: Vec<Watched> = Vec::new();
        let mut known: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut sites = Vec::new();
        for (site, settings) in wanted {
            let math = |source| RunError::Math { tensor: site.tensor.clone(), source };
            let statistics = Statistics::new(settings.observer, settings.ema_decay).map_err(math)?;
            // One way to look at a tensor serves every site that wants it.
            let ways = known.entry(site.tensor.clone()).or_default();
            let same = |at: &&usize| tensors.get(**at).is_some_and(|known| known.statistics == statistics);
            let position = if let Some(position) = ways.iter().find(same) {
                *position
            } else {
                let watched = Watched { tensor: site.tensor.clone(), statistics };
                graph.budget().take(watched.held(), "the statistics of tensors")?;
                ways.push(tensors.len());
                tensors.push(watched);
                tensors.len() - 1
            };
            sites.push((site, position));
        }
        let mut model = Model::new(graph, options)?;
        let probes = Probes::new(
            &mut model,
            tensors.iter().map(|watched| (graph.whole_name(&watched.tensor), watched.histogram().is_some())),
        )?;
        let file = graph.path().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        let fingerprint = graph.settled(Ok(graph.fingerprint()))?;
        let model_id = ModelId { file: file.unwrap_or_default(), fingerprint };
        Ok(Self {
            model,
            model_id,
            config: config.calibration_fingerprint(),
            sites,
            tensors,
            probes,
            samples: 0,
            warnings,
            unmatched,
            folded: graph.folded_layers(),
        })
    }

    /// The model, for opening and checking data.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Activations that cannot be measured, and why.
    pub fn warnings(&self) -> &[Reason] {
        &self.warnings
    }

    /// What of the config matches none of the model's ops, as a plan says it too.
    pub fn unmatched(&self) -> &[Reason] {
        &self.unmatched
    }

    /// Samples that were run.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Run a batch and keep what it says about every tensor. Nothing changes where there is an error.
    ///
    /// # Errors
    /// A tensor that becomes NaN or infinite; TensorFlow's own.
    pub fn observe(&mut self, batch: &Batch) -> Result<(), RunError> {
        let least: Vec<i32> = self.tensors.iter().filter_map(Watched::histogram).map(Histogram::exponent).collect();
        let samples = format!("samples {} to {}", self.samples, self.samples + batch.samples - 1);
        let failed = |tensor: &str, source| RunError::Math { tensor: format!("{tensor} ({samples})"), source };
        let seen = self.probes.run(&self.model, &least, batch).map_err(|error| match error {
            RunError::Math { tensor, source } => failed(&tensor, source),
            other => other,
        })?;
        let mut next = Vec::with_capacity(self.tensors.len());
        for (watched, seen) in self.tensors.iter().zip(seen) {
            let failed = |source| failed(&watched.tensor, source);
            let mut statistics = watched.statistics.clone();
            match (&mut statistics, seen.counts) {
                (Statistics::Histogram(histogram), Some(counts)) => {
                    histogram.add_counts(seen.range, counts.exponent, &counts.bins).map_err(failed)?;
                }
                (statistics, _) => statistics.add_range(seen.range).map_err(failed)?,
            }
            next.push(statistics);
        }
        for (watched, statistics) in self.tensors.iter_mut().zip(next) {
            watched.statistics = statistics;
        }
        self.samples += batch.samples;
        Ok(())
    }

    /// Go on from what an interrupted run left behind.
    ///
    /// # Errors
    /// What was left behind belongs to another model or config, or has no statistics.
    pub fn resume(&mut self, ranges: &Ranges, path: &Path) -> Result<(), RunError> {
        let differs = |message: String| RunError::Resume { message, path: path.to_owned() };
        ranges.check_model(&self.model_id.fingerprint).map_err(|error| differs(error.to_string()))?;
        if ranges.config.as_ref() != Some(&self.config) {
            return Err(differs("it was made with another config".to_owned()));
        }
        if ranges.folded != self.folded {
            return Err(differs("it was made with other batch norms in the layers before them (`--fold`)".to_owned()));
        }
        let entries = ranges.lookup();
        for (site, position) in &self.sites {
            let entry = entries.entry(&site.op, site.kind, &site.tensor);
            let calibration = entry.and_then(|entry| entry.calibration.as_ref());
            let calibration =
                calibration.ok_or_else(|| differs(format!("it has no statistics of `{}` ({})", site.op, site.kind)))?;
            if let Some(watched) = self.tensors.get_mut(*position) {
                watched.statistics = calibration.statistics.clone();
            }
        }
        self.samples = ranges.samples;
        Ok(())
    }

    /// The ranges of everything that was run.
    ///
    /// # Errors
    /// Nothing was run; a range that is too wide for float32.
    pub fn ranges(&self) -> Result<Ranges, RunError> {
        let mut ranges = Vec::with_capacity(self.sites.len());
        for (site, position) in &self.sites {
            let (Some(settings), Some(watched)) = (site.settings(), self.tensors.get(*position)) else { continue };
            let failed = |source| RunError::Math { tensor: site.tensor.clone(), source };
            let Settings { observer, bits, symmetric, .. } = *settings;
            let calibration = Calibration {
                observer,
                bits,
                symmetric,
                samples: self.samples,
                statistics: watched.statistics.clone(),
            };
            ranges.push(SiteRange::measured(&site.op, site.kind, &site.tensor, calibration).map_err(failed)?);
        }
        let first = self.sites.first().and_then(|(site, _)| site.settings());
        Ok(Ranges {
            version: version_for(&self.folded),
            framework: format!("tensorflow {}", self.model.version),
            model: self.model_id.clone(),
            config: Some(self.config.clone()),
            observer: first.map(|settings| settings.observer).unwrap_or_default(),
            samples: self.samples,
            batch: None,
            folded: self.folded.clone(),
            ranges,
        })
    }
}
