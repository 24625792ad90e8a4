//! The quantizers of a training archive, with what they have learnt.

use std::collections::BTreeMap;

use quant_math::late::Before;
use quant_math::plan::Settings;
use quant_math::quantizers::lsq;
use quant_math::{Affine, QuantType, Range};

use crate::error::Error;
use crate::find::injected::Class;
use crate::find::mark::{SITE, TrainingSite};
use crate::find::model::Model;
use crate::rewrite::buffers::{real, reals, whole};
use crate::torchscript::heap::{Item, Object, ObjectId, unmangle};

/// A quantizer of an archive.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    /// Its module path.
    pub(crate) path: String,
    pub(crate) object: ObjectId,
    pub(crate) class: Class,
    /// Training passes so far.
    step: i64,
    /// Lower and upper end of what was seen.
    ends: Option<(f32, f32)>,
    /// LSQ: its step, or that of each channel.
    steps: Option<Vec<f32>>,
    numbers: BTreeMap<String, i64>,
    /// What it says of itself.
    site: Option<TrainingSite>,
}

impl Trained {
    /// Every quantizer of `model`, in the order of its objects.
    pub(crate) fn all(model: &Model) -> Result<Vec<Self>, Error> {
        let mut found = Vec::new();
        for (index, object) in model.heap().objects.iter().enumerate() {
            if let Some(class) = Class::of(&unmangle(&object.class)).filter(|class| !class.observes()) {
                found.push(Self::read(model, ObjectId(index), object, class)?);
            }
        }
        Ok(found)
    }

    fn read(model: &Model, id: ObjectId, object: &Object, class: Class) -> Result<Self, Error> {
        let tensor = |name: &str| match object.attribute(name) {
            Some(Item::Tensor(tensor)) => Some(*tensor),
            _ => None,
        };
        let learns = class.parameters().contains(&"step");
        let steps = tensor("step").filter(|_| learns).map(|tensor| reals(model, tensor)).transpose()?;
        let count = tensor("step").filter(|_| !learns);
        let step = count.map(|tensor| whole(model, tensor)).transpose()?.flatten().unwrap_or(0);
        let end = |name| tensor(name).map(|tensor| real(model, tensor)).transpose().map(Option::flatten);
        let ends = end("min")?.zip(end("max")?);
        let numbers = object.attributes.iter().filter_map(|(name, item)| match item {
            Item::Int(value) => Some((name.clone(), *value)),
            _ => None,
        });
        let path = object.path.clone();
        let home = path.rsplit_once('.').map_or("", |(home, _)| home);
        let site = match object.attribute(SITE) {
            Some(Item::Str(text)) => TrainingSite::parse(text, home),
            _ => None,
        };
        Ok(Self { path, object: id, class, step, ends, steps, numbers: numbers.collect(), site })
    }

    fn number(&self, name: &str) -> i64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    /// The last part of the class's name.
    pub(crate) fn class_name(&self) -> &'static str {
        self.class.name()
    }

    pub(crate) fn is_weight(&self) -> bool {
        !matches!(
            self.class,
            Class::RangeAffine | Class::RangeSymmetric | Class::DoReFaActivation | Class::LsqActivation
        )
    }

    fn is_symmetric(&self) -> bool {
        match self.class {
            Class::WeightSymmetric | Class::WeightSymmetricPerChannel | Class::RangeSymmetric => true,
            class => class.learns() && self.number("quant_min") < 0,
        }
    }

    /// LSQ: the learnt step of each channel, or of the tensor.
    pub(crate) fn steps(&self) -> Option<&[f32]> {
        self.steps.as_deref()
    }

    /// Bits of a code; `None` where its settings are none that this crate writes, or where `torch.jit.freeze` put them into the code.
    pub(crate) fn bits(&self) -> Option<u32> {
        let top = match self.class {
            Class::DoReFaSign => return Some(1),
            Class::DoReFaWeight | Class::DoReFaActivation => self.numbers.get("levels"),
            _ => self.numbers.get("quant_max"),
        };
        let codes = u64::try_from(*top?).ok()?.checked_add(1)?;
        let bits = codes.checked_ilog2().filter(|_| codes.is_power_of_two())? + u32::from(self.is_symmetric());
        (1..=16).contains(&bits).then_some(bits)
    }

    /// What it has seen, or what its step spans; `None` for weights that have none or several, and before the first training pass.
    pub(crate) fn range(&self) -> Option<Range> {
        if let Some([step]) = self.steps() {
            return self.site().and_then(|site| lsq::affine(*step, &site.settings).ok()).map(Affine::nudged_range);
        }
        let (min, max) = self.ends.filter(|_| self.step > 0)?;
        Range::new(min, max).ok()
    }

    /// Whether it quantizes in evaluation: the step counter has reached the start step, and a range was seen or a step set where one is needed.
    pub(crate) fn has_begun(&self) -> bool {
        match self.class {
            Class::DoReFaWeight | Class::DoReFaSign | Class::DoReFaActivation => true,
            Class::RangeAffine | Class::RangeSymmetric => self.step >= self.number("start") && self.step > 0,
            class if class.learns() => self.steps.iter().flatten().any(|step| lsq::is_set(*step)),
            _ => self.step >= self.number("start"),
        }
    }

    /// The start step that has not come.
    pub(crate) fn before(&self) -> Option<Before> {
        let steps = |number: i64| u64::try_from(number).unwrap_or(0);
        Before::new(steps(self.step), steps(self.number("start")))
    }

    /// What it quantizes. One that does not say which activation it is counts as an output.
    pub(crate) fn kind(&self) -> QuantType {
        match &self.site {
            Some(site) => site.kind,
            None if self.is_weight() => QuantType::Weight,
            None => QuantType::Output,
        }
    }

    /// Which site of a plan it is, and how it quantizes; `None` where it does not say so, or computes otherwise.
    pub(crate) fn site(&self) -> Option<&TrainingSite> {
        let axis = || self.numbers.get("axis").and_then(|axis| usize::try_from(*axis).ok());
        let per_channel = matches!(
            self.class,
            Class::WeightSymmetricPerChannel | Class::WeightAffinePerChannel | Class::LsqWeightPerChannel
        );
        let same = |settings: &Settings| {
            Some(settings.bits) == self.bits() && (!per_channel || settings.channel_axis == axis())
        };
        self.site.as_ref().filter(|site| same(&site.settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_gone_are_not_guessed() {
        // `torch.jit.freeze` keeps the object and takes the numbers into the code.
        let with = |class, numbers: &[(&str, i64)]| {
            let numbers = numbers.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
            let path = String::new();
            let object = ObjectId(0);
            Trained { path, object, class, step: 1, ends: None, steps: None, numbers, site: None }.bits()
        };
        assert_eq!(with(Class::WeightSymmetric, &[]), None);
        assert_eq!(with(Class::DoReFaWeight, &[]), None);
        assert_eq!(with(Class::WeightSymmetric, &[("quant_max", 127)]), Some(8));
        assert_eq!(with(Class::RangeAffine, &[("quant_max", 15)]), Some(4));
        assert_eq!(with(Class::DoReFaSign, &[]), Some(1));
        assert_eq!(with(Class::LsqActivation, &[]), None);
        assert_eq!(with(Class::LsqActivation, &[("quant_min", 0), ("quant_max", 3)]), Some(2));
        assert_eq!(with(Class::LsqActivation, &[("quant_min", -2), ("quant_max", 1)]), Some(2));
    }
}
