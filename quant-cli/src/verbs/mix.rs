//! From measured weights to the bits of each: mixes are searched for, measured as a whole, made into a config, and run as they are written.

use std::collections::BTreeMap;
use std::path::Path;

use quant_math::Emit;
use quant_math::allocation::{
    BITS_VERSION, Choice, ChosenBits, Goal, Kept, Measured, Mix, MixedBits, Stopped, Trial, least, lowest_sqnr,
    smallest, sums,
};
use quant_math::config::{ConfigList, OpBits};
use quant_math::plan::PlanOptions;
use quant_math::sensitivity::{Loss, Sensitivity};

use super::bits::{BitsArgs, Mixing};
use super::{Adapter, CompressArgs};
use crate::args::GlobalArgs;
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::size::human_bytes;

/// A search for bits.
pub(super) struct Search<'a, M: Adapter> {
    pub(super) args: &'a CompressArgs<M>,
    pub(super) bits: &'a BitsArgs,
    pub(super) config: &'a ConfigList,
    /// The numbers of bits, most first.
    pub(super) tried: &'a [u32],
    pub(super) output: Option<&'a Path>,
    pub(super) emit: Emit,
}

/// What mixes are made of, and what they come to in the file.
struct Field<'a> {
    measured: Sensitivity,
    entries: Vec<usize>,
    items: Vec<Vec<Choice>>,
    /// The sites of each item.
    sites: Vec<Vec<usize>>,
    tried: &'a [u32],
    goal: Goal,
    /// Bytes of the file without its weights; less than 0 where they share what takes space.
    rest: i128,
}

impl Field<'_> {
    /// The bits of each site.
    fn bits(&self, picks: &[usize]) -> Vec<Option<u32>> {
        let mut bits = vec![None; self.measured.sites.len()];
        for (sites, pick) in self.sites.iter().zip(picks) {
            for site in sites {
                if let Some(place) = bits.get_mut(*site) {
                    *place = self.tried.get(*pick).copied();
                }
            }
        }
        bits
    }

    /// Bytes of the file with weights of so many.
    fn file(&self, weights: u64) -> u64 {
        u64::try_from(self.rest + i128::from(weights)).unwrap_or_default()
    }

    /// Bytes that weights may take in a file of so many.
    fn weights(&self, file: u64) -> Option<u64> {
        u64::try_from(i128::from(file) - self.rest).ok()
    }

    fn drop(&self, loss: &Loss) -> Option<f64> {
        Kept::of(&self.measured.outputs)?.drop(&self.measured.outputs, loss)
    }

    fn trial(&self, measured: &Measured, bytes: u64) -> Trial {
        let Measured { picks, sum, loss, holds, .. } = measured;
        let first = picks.first().copied().filter(|first| picks.iter().all(|pick| pick == first));
        let bits = first.and_then(|pick| self.tried.get(pick).copied());
        Trial { bits, bytes, sum: *sum, drop: self.drop(loss), holds: *holds, loss: loss.clone() }
    }

    /// The config of a mix, and as JSON.
    fn config(&self, config: &ConfigList, picks: &[usize]) -> Result<(ConfigList, serde_json::Value), Failure> {
        let bits = self.bits(picks);
        let ops = self.measured.sites.iter().zip(&self.entries).zip(bits);
        let ops: Vec<OpBits<'_>> =
            ops.map(|((site, entry), bits)| OpBits { op: &site.op, entry: *entry, bits }).collect();
        let written = config.with_bits(&ops);
        Ok((ConfigList::parse(&written.to_string(), None)?, written))
    }

    /// The weights of the model have the bits that were measured, and no others.
    fn check(&self, picks: &[usize], found: &BTreeMap<String, u32>) -> Result<(), Failure> {
        let wanted = self.measured.sites.iter().zip(self.bits(picks));
        let wrong = wanted.clone().find(|(site, bits)| found.get(&site.op) != bits.as_ref());
        let others = || found.keys().find(|op| wanted.clone().all(|(site, _)| site.op != **op));
        let Some(op) = wrong.map(|(site, _)| site.op.clone()).or_else(|| others().cloned()) else { return Ok(()) };
        let text = format!("no config gives `{op}` alone the bits that were found for it");
        let help = "leave the op out of the config (`exclude: true`), or report it as a defect";
        Err(Failure::failed(Diagnostic::error("B0104", text).help(help)))
    }
}

impl<M: Adapter> Search<'_, M> {
    /// Look at the model as the config has it: what of that matches nothing is told, and a file whose length is not known before is refused where
    /// that must be. Bytes of the model's file.
    pub(super) fn look(&self, global: &GlobalArgs) -> Result<u64, Failure> {
        let adapter = &self.args.plan.model;
        let model = adapter.open_for(self.output)?;
        let plan = M::plan(&model, self.config, self.options(Emit::Packed))?;
        self.args.plan.quantize.check_all(global, &plan.warnings)?;
        let compressed = M::apply(model, &plan)?;
        if let Some((before, _)) = adapter.lengths(&compressed, self.output)? {
            return Ok(before);
        }
        let text = "how large the file will be is not known before it is written";
        let help = "write a binary graph (`-o OUT.pb`), or a SavedModel whose weights are in the graph (`--weights fitting`, below 2 GiB)";
        Err(Failure::failed(Diagnostic::error("B0105", text).help(help)))
    }

    fn options(&self, emit: Emit) -> PlanOptions<'static> {
        M::options(&self.args.plan.options, PlanOptions { emit: Some(emit), ..PlanOptions::default() })
    }

    /// The model that a config comes to.
    pub(super) fn made(&self, config: &ConfigList, emit: Emit) -> Result<M::Compressed, Failure> {
        let model = self.args.plan.model.open_for(self.output)?;
        let plan = M::plan(&model, config, self.options(emit))?;
        M::apply(model, &plan)
    }

    /// Bytes of the packed file that a config comes to.
    fn length(&self, config: &ConfigList) -> Result<u64, Failure> {
        let compressed = self.made(config, Emit::Packed)?;
        let lengths = self.args.plan.model.lengths(&compressed, self.output)?;
        Ok(lengths.map_or(0, |(_, after)| after))
    }

    /// The bits that keep to what was asked for, and the config that has them.
    pub(super) fn find(&self, mixing: &mut dyn Mixing, before: u64) -> Result<(MixedBits, ConfigList), Failure> {
        let goal = self.bits.goal(before);
        let mut field = Field {
            measured: mixing.measured().clone(),
            entries: mixing.entries().to_vec(),
            items: mixing.weights().iter().map(|weight| weight.choices.clone()).collect(),
            sites: mixing.weights().iter().map(|weight| weight.sites.clone()).collect(),
            tried: self.tried,
            goal,
            rest: 0,
        };
        if matches!(goal, Goal::MaxDrop(_)) && Kept::of(&field.measured.outputs).is_none() {
            return Err(BitsArgs::no_classes());
        }
        // All weights at each number of bits: what was measured with all others, and the file as it is.
        let mut uniform = Vec::new();
        for (pick, whole) in (0..self.tried.len()).zip(field.measured.whole.clone()) {
            let picks = vec![pick; field.items.len()];
            let (weights, _) = sums(&field.items, &picks).unwrap_or_default();
            let file = self.length(&field.config(self.config, &picks)?.0)?;
            if pick == 0 {
                field.rest = i128::from(file) - i128::from(weights);
            }
            uniform.push((picks, file, whole.loss));
        }
        let (measured, stopped) = match goal {
            Goal::MaxSize(most) => (self.fitting(mixing, &field, &uniform, most)?, Stopped::Fits),
            Goal::MaxDrop(_) | Goal::MinSqnr(_) => {
                let known = uniform.iter().map(|(picks, _, loss)| (picks.clone(), loss.clone())).collect();
                // Of the file with the most bits.
                let tolerance = uniform.first().map_or(before, |(_, file, _)| *file) / TOLERANCE;
                let found = smallest(
                    &field.items,
                    known,
                    self.tried.len(),
                    tolerance,
                    &|loss| goal.holds(&field.measured.outputs, loss),
                    &mut |mix: &Mix| mixing.run(&field.bits(&mix.picks)),
                )?;
                let mut all = found.measured;
                // Mixes that hold, in the order in which they are wanted; behind them the others.
                all.sort_by(|a, b| {
                    b.holds.cmp(&a.holds).then(a.bytes.cmp(&b.bytes)).then(a.loss.loss.total_cmp(&b.loss.loss))
                });
                (all, found.stopped)
            }
        };
        self.verified(mixing, &field, (&measured, stopped), before)
    }

    /// Mixes in at most so many bytes, what loses least first: the one of the least sum, and uniform bits.
    fn fitting(
        &self,
        mixing: &mut dyn Mixing,
        field: &Field<'_>,
        uniform: &[(Vec<usize>, u64, Loss)],
        most: u64,
    ) -> Result<Vec<Measured>, Failure> {
        let mut all: Vec<Measured> = Vec::new();
        for (picks, file, loss) in uniform {
            let (bytes, sum) = sums(&field.items, picks).unwrap_or_default();
            all.push(Measured { picks: picks.clone(), bytes, sum, loss: loss.clone(), holds: *file <= most });
        }
        let mut allowed = field.weights(most);
        while let Some(mix) = allowed.and_then(|allowed| least(&field.items, allowed)) {
            if all.iter().any(|known| known.picks == mix.picks && known.holds) {
                break;
            }
            let file = self.length(&field.config(self.config, &mix.picks)?.0)?;
            if file <= most {
                let loss = mixing.run(&field.bits(&mix.picks))?;
                let Mix { picks, bytes, loss: sum, .. } = mix;
                all.push(Measured { picks, bytes, sum, loss, holds: true });
                break;
            }
            // What weights share, or a batch norm that stays, is not in their sum.
            allowed = mix.bytes.checked_sub((file - most).max(1));
        }
        if !all.iter().any(|measured| measured.holds) {
            let fewest =
                field.items.iter().map(|choices| choices.iter().map(|choice| choice.bytes).min().unwrap_or_default());
            let (fewest, bits) = (field.file(fewest.sum()), self.tried.iter().map(u32::to_string).collect::<Vec<_>>());
            let text = format!(
                "with weights of {} bits the file takes {} at least, and {} are allowed",
                bits.join(" or "),
                human_bytes(fewest),
                human_bytes(most)
            );
            let help = if self.tried.contains(&2) {
                "allow more bytes: the rest is what is no weight of an op that the config names"
            } else {
                "allow more bytes, or fewer bits: `--bits 8,4,2`"
            };
            return Err(Failure::failed(Diagnostic::error("B0102", text).help(help)));
        }
        all.sort_by(|a, b| b.holds.cmp(&a.holds).then(a.loss.loss.total_cmp(&b.loss.loss)).then(a.bytes.cmp(&b.bytes)));
        Ok(all)
    }

    /// The first of the mixes that hold which also holds as it is written.
    fn verified(
        &self,
        mixing: &mut dyn Mixing,
        field: &Field<'_>,
        (measured, stopped): (&[Measured], Stopped),
        before: u64,
    ) -> Result<(MixedBits, ConfigList), Failure> {
        for candidate in measured.iter().filter(|measured| measured.holds) {
            let (config, written) = field.config(self.config, &candidate.picks)?;
            field.check(&candidate.picks, &mixing.bits_of(&config)?)?;
            let file = self.length(&config)?;
            let loss = mixing.verify(&config, self.emit)?;
            if !field.goal.holds(&field.measured.outputs, &loss) {
                continue;
            }
            let verified = Trial { loss, ..field.trial(candidate, file) };
            let verified = Trial { drop: field.drop(&verified.loss), ..verified };
            let bound = least(&field.items, candidate.bytes).map_or(0.0, |mix| mix.bound);
            let found = MixedBits {
                version: BITS_VERSION,
                framework: field.measured.framework.clone(),
                quantizer: field.measured.quantizer,
                samples: field.measured.samples,
                bits: self.tried.to_vec(),
                not_tried: Vec::new(),
                goal: field.goal,
                drop_of: Kept::of(&field.measured.outputs),
                ranked_by: field.measured.ranked_by,
                outputs: field.measured.outputs.clone(),
                bytes_before: before,
                tried: measured.iter().map(|measured| field.trial(measured, field.file(measured.bytes))).collect(),
                verified,
                bound,
                stopped,
                sites: sites(field, &candidate.picks),
                config: written,
                warnings: field.measured.warnings.clone(),
            };
            return Ok((found, config));
        }
        Err(nothing_holds(field, measured))
    }
}

/// Why there is no mix.
fn nothing_holds(field: &Field<'_>, measured: &[Measured]) -> Failure {
    let nearest = measured.iter().min_by(|a, b| a.loss.loss.total_cmp(&b.loss.loss));
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let reached = nearest.map(|nearest| {
        let what = match field.goal {
            Goal::MinSqnr(_) => lowest_sqnr(&nearest.loss).map(|db| format!("has {db:.1} dB")),
            _ => field.drop(&nearest.loss).map(|drop| format!("drops {}", percent(drop))),
        };
        let bits = field.bits(&nearest.picks);
        let float = bits.iter().filter(|bits| bits.is_none()).count();
        format!(
            "; the nearest, with {float} of {} weights in float, {}",
            bits.len(),
            what.unwrap_or_else(|| "is too far off".to_owned())
        )
    });
    let asked = match field.goal {
        Goal::MaxDrop(most) => format!("drops at most {}", percent(most)),
        Goal::MinSqnr(db) => format!("keeps {db} dB"),
        Goal::MaxSize(bytes) => format!("takes at most {}", human_bytes(bytes)),
    };
    let text = format!("no mix of the bits {:?} and float {asked}{}", field.tried, reached.unwrap_or_default());
    let help = "allow more, or begin with more bits (`--bits 8`), a scale for each channel, or a model trained with `finetune`; `sensitivity` \
                says which weights are to blame";
    Failure::failed(Diagnostic::error("B0101", text).help(help))
}

/// The search ends where two mixes differ by less than this part of the model's file: half a percent.
const TOLERANCE: u64 = 200;

/// Each site and its bits.
fn sites(field: &Field<'_>, picks: &[usize]) -> Vec<ChosenBits> {
    let mut all: Vec<(usize, ChosenBits)> = Vec::new();
    let items = field.sites.iter().zip(&field.items).zip(picks);
    for ((sites, choices), pick) in items {
        let (Some(choice), Some(float)) = (choices.get(*pick), choices.last()) else { continue };
        for (number, site) in sites.iter().enumerate() {
            let Some(measured) = field.measured.sites.get(*site) else { continue };
            let bytes = |choice: &Choice| if number == 0 { choice.bytes } else { 0 };
            let loss = measured.at.get(*pick).map_or(0.0, |at| at.alone.loss);
            let chosen = ChosenBits {
                op: measured.op.clone(),
                tensor: measured.tensor.clone(),
                bits: field.tried.get(*pick).copied(),
                loss,
                bytes: bytes(choice),
                bytes_float: bytes(float),
            };
            all.push((*site, chosen));
        }
    }
    all.sort_by_key(|(site, _)| *site);
    all.into_iter().map(|(_, chosen)| chosen).collect()
}
