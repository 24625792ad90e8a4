//! One entry of a `config_list`, validated.

use super::pattern::{NamePattern, TypePattern};
use super::per_channel::PerChannel;
use super::preset::Preset;
use crate::plan::{Emit, Observer, QuantType, Quantizer, Reason, Rounding, Settings};
use crate::quantizers::qat;
use crate::quantizers::table::StepSource;

/// The bits of an absent config.
pub(super) const DEFAULT_BITS: u32 = 8;
/// One value per kind of tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PerKind<T>([Option<T>; 4]);

impl<T: Copy> PerKind<T> {
    pub(super) fn none() -> Self {
        Self([None; 4])
    }

    pub(super) fn all(value: T) -> Self {
        Self([Some(value); 4])
    }

    pub(super) fn get(&self, kind: QuantType) -> Option<T> {
        self.0.get(slot(kind)).copied().flatten()
    }

    pub(super) fn set(&mut self, kind: QuantType, value: T) {
        if let Some(place) = self.0.get_mut(slot(kind)) {
            *place = Some(value);
        }
    }
}

fn slot(kind: QuantType) -> usize {
    match kind {
        QuantType::Weight => 0,
        QuantType::Input => 1,
        QuantType::Output => 2,
        QuantType::Gradient => 3,
    }
}

/// One entry of a `config_list`, valid for the quantizer of its list.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    pub(super) op_types: Option<Vec<TypePattern>>,
    pub(super) op_names: Option<Vec<NamePattern>>,
    /// Leave in float what the entry matches.
    pub exclude: bool,
    /// The kinds of tensors to quantize, each once.
    pub quant_types: Vec<QuantType>,
    /// Weights: whether there is one scale per channel.
    pub per_channel: PerChannel,
    pub(super) bits: PerKind<u32>,
    pub(super) symmetric: PerKind<bool>,
    pub(super) quant_start_step: u64,
    pub(super) ema_decay: f64,
    pub(super) observer: Option<Observer>,
    pub(super) rounding: Rounding,
    pub(super) seed: u64,
    pub(super) warnings: Vec<Reason>,
}

impl Entry {
    /// An entry that matches nothing and has every key's default, or the preset's value for it.
    pub(super) fn empty(quantizer: Quantizer, preset: Option<Preset>) -> Self {
        let mut entry = Self {
            op_types: None,
            op_names: None,
            exclude: false,
            quant_types: vec![QuantType::Weight],
            per_channel: PerChannel::default(),
            bits: PerKind::none(),
            symmetric: PerKind::none(),
            quant_start_step: 0,
            ema_decay: qat::DEFAULT_EMA_DECAY,
            observer: None,
            rounding: Rounding::default(),
            seed: 0,
            warnings: Vec::new(),
        };
        if let Some(preset) = preset {
            preset.set(&mut entry, quantizer);
        }
        if quantizer.row().steps != StepSource::Range {
            entry.per_channel = PerChannel::Never;
        }
        entry
    }

    pub(super) fn default_weights(quantizer: Quantizer, preset: Option<Preset>) -> Self {
        let empty = Self::empty(quantizer, preset);
        Self { op_types: Some(vec![TypePattern::Default]), bits: PerKind::all(DEFAULT_BITS), ..empty }
    }

    /// The words of `op_types`; none if the key is absent.
    pub fn op_types(&self) -> impl Iterator<Item = &str> {
        self.op_types.iter().flatten().map(TypePattern::text)
    }

    /// The words of `op_names`; none if the key is absent.
    pub fn op_names(&self) -> impl Iterator<Item = &str> {
        self.op_names.iter().flatten().map(NamePattern::text)
    }

    /// How a tensor of this `kind` is quantized; `None` if the entry does not name the kind, or excludes.
    ///
    /// `entry` is the entry's index, for the plan. `channel_axis` is `None`: the adapter knows it, and sets it for a weight where
    /// [`per_channel`](Self::per_channel) chooses it. Keys that mean nothing for the kind have their defaults.
    pub fn settings(&self, quantizer: Quantizer, kind: QuantType, entry: usize) -> Option<Settings> {
        if self.exclude || !self.quant_types.contains(&kind) {
            return None;
        }
        let row = quantizer.row();
        let is_weight = kind == QuantType::Weight;
        let activation = matches!(kind, QuantType::Input | QuantType::Output);
        Some(Settings {
            quantizer,
            bits: self.bits.get(kind)?,
            symmetric: match row.steps {
                // LSQ's weights are signed.
                StepSource::Learnt if is_weight => true,
                _ => self.symmetric.get(kind).unwrap_or(is_weight),
            },
            channel_axis: None,
            rounding: self.rounding,
            quant_start_step: if row.reads("quant_start_step") { self.quant_start_step } else { 0 },
            ema_decay: (row.reads("ema_decay") && activation).then_some(self.ema_decay),
            observer: self.observer.filter(|_| row.measures() && activation).unwrap_or_default(),
            seed: if kind == QuantType::Gradient { self.seed } else { 0 },
            entry,
        })
    }

    /// Whether the entry leaves open if the grid of a tensor is signed: LSQ's activations have it from the op that makes them.
    pub fn leaves_sign_open(&self, quantizer: Quantizer, kind: QuantType) -> bool {
        let activation = matches!(kind, QuantType::Input | QuantType::Output);
        quantizer.row().steps == StepSource::Learnt && activation && self.symmetric.get(kind).is_none()
    }

    /// [`settings`](Self::settings) in a form of output: the ranges that a `training` graph learns follow a moving average unless the
    /// entry says otherwise.
    pub fn settings_in(&self, emit: Emit, quantizer: Quantizer, kind: QuantType, entry: usize) -> Option<Settings> {
        let settings = self.settings(quantizer, kind, entry)?;
        let learns = emit == Emit::Training && settings.ema_decay.is_some();
        let observer = if learns { self.observer.unwrap_or(Observer::Ema) } else { settings.observer };
        Some(Settings { observer, ..settings })
    }
}
