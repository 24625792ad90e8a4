//! A plan that was written down: read, checked on its own, and compared with what the model has.

use std::collections::BTreeMap;

use super::fault::{PlanFault, PlanFaultKind as Kind, PlanFaults};
use super::keys;
use super::{Decision, Emit, PLAN_VERSION, Plan, QuantType, Rounding, Settings, Site};
use crate::range::Range;

/// A tensor of a model: its op, which of the op's tensors, and its name.
type Key<'a> = (&'a str, QuantType, &'a str);

fn key(site: &Site) -> Key<'_> {
    (&site.op, site.kind, &site.tensor)
}

impl Plan {
    /// Read a plan that [`Plan`]'s JSON form holds, made by a program or edited by hand. What of it the model does not have is told
    /// when the adapter checks it.
    ///
    /// # Errors
    /// Text that is no plan, unknown keys, values that the quantizer or the form of output does not know: all of them at once.
    pub fn parse(text: &str) -> Result<Self, PlanFaults> {
        let mut unknown = Vec::new();
        let mut json = serde_json::Deserializer::from_str(text);
        let read: Result<Self, _> = serde_ignored::deserialize(&mut json, |path| unknown.push(keys::unknown(&path)));
        let plan = match read.and_then(|plan| json.end().map(|()| plan)) {
            Ok(plan) => plan,
            Err(error) => {
                // A key that is missing may be there, but misspelt.
                return Err(PlanFaults::ending(unknown, PlanFault::new(Kind::Form, "JSON", error.to_string())));
            }
        };
        if plan.version != PLAN_VERSION {
            let message = format!("found {}, expected {PLAN_VERSION}", plan.version);
            return Err(PlanFault::new(Kind::Version, "version", message).into());
        }
        unknown.extend(plan.faults());
        PlanFaults::check(unknown).map(|()| plan)
    }

    /// What is wrong with the plan whatever the model is.
    pub(super) fn faults(&self) -> Vec<PlanFault> {
        let mut faults = Vec::new();
        if let Err(error) = self.emit.check_quantizer(self.quantizer) {
            faults.push(PlanFault::new(Kind::Value, "emit", format!("`{}` {}", error.emit, error.why)));
        }
        let mut seen: BTreeMap<Key<'_>, usize> = BTreeMap::new();
        for (index, site) in self.sites.iter().enumerate() {
            let first = *seen.entry(key(site)).or_insert(index);
            let same = |first: &Site| first.decision == site.decision && first.range == site.range;
            if first != index && !self.sites.get(first).is_some_and(same) {
                let message = format!("says something else than sites[{first}] about the same tensor");
                faults.push(PlanFault::new(Kind::Contradiction, place(index, site), message));
            }
            if let Some(range) = site.range {
                if let Err(error) = Range::new(range.min, range.max) {
                    faults.push(PlanFault::new(
                        Kind::Value,
                        format!("{}.range", place(index, site)),
                        error.to_string(),
                    ));
                }
                if !matches!(site.kind, QuantType::Input | QuantType::Output) {
                    let message = format!("a {} has none, expected it at inputs and outputs alone", site.kind);
                    faults.push(PlanFault::new(Kind::Value, format!("{}.range", place(index, site)), message));
                }
            }
            if let Some(settings) = site.settings() {
                let place = place(index, site);
                let activation = matches!(site.kind, QuantType::Input | QuantType::Output);
                if activation && self.emit == Emit::Inference && self.quantizer.row().measures() && site.range.is_none()
                {
                    let message =
                        "is missing, and `inference` needs one: {\"min\": …, \"max\": …}, as `calibrate` measures it";
                    faults.push(PlanFault::new(Kind::Value, format!("{place}.range"), message));
                }
                let wrong =
                    |(name, message)| PlanFault::new(Kind::Value, format!("{place}.decision.quantize.{name}"), message);
                faults.extend(self.wrong(site.kind, settings).into_iter().map(wrong));
            }
        }
        faults
    }

    /// The settings of a tensor that the quantizer or the form of output does not know, with what was found and expected.
    fn wrong(&self, kind: QuantType, settings: &Settings) -> Vec<(&'static str, String)> {
        let Settings {
            quantizer,
            bits,
            symmetric: _,
            channel_axis,
            rounding,
            quant_start_step,
            ema_decay,
            observer,
            ..
        } = *settings;
        let row = self.quantizer.row();
        let mut wrong = Vec::new();
        if quantizer != self.quantizer {
            wrong.push(("quantizer", format!("found `{quantizer}`, expected the plan's, `{}`", self.quantizer)));
        }
        if !row.quantizes(kind) {
            wrong.push(("quantizer", format!("{} does not quantize a tensor of kind `{kind}`", self.quantizer)));
        }
        if !row.bits.contains(bits) {
            wrong.push(("bits", format!("found {bits}, expected {}", row.bits.words)));
        } else if kind == QuantType::Weight && self.emit.too_wide(settings).is_some() {
            wrong.push(("bits", format!("found {bits}, but `{}` stores codes of at most 8 bits", self.emit)));
        }
        if channel_axis.is_some() && (kind != QuantType::Weight || !row.reads("per_channel")) {
            let what = if kind == QuantType::Weight {
                format!("{} scales a tensor as a whole", row.name)
            } else {
                "weights alone have one".to_owned()
            };
            wrong.push(("channel_axis", format!("{what}, expected none")));
        }
        if let Some(message) = row.cannot_round(rounding) {
            wrong.push(("rounding", message));
        } else if rounding == Rounding::Reconstruct && self.emit == Emit::Training {
            wrong.push(("rounding", "a training rounds its weights anew in every step, expected `nearest`".to_owned()));
        }
        if quant_start_step > 0 && !row.reads("quant_start_step") {
            wrong.push(("quant_start_step", format!("{} has no use for it, expected 0", self.quantizer)));
        }
        if let Some(decay) = ema_decay.filter(|decay| !(*decay > 0.0 && *decay < 1.0)) {
            wrong.push(("ema_decay", format!("found {decay}, expected more than 0 and less than 1")));
        }
        if self.emit == Emit::Training && !observer.is_learnable() {
            wrong.push(("observer", format!("found `{observer}`, but a training learns `ema` or `minmax`")));
        }
        wrong
    }
}

fn place(index: usize, site: &Site) -> String {
    format!("sites[{index}] (`{}`, {})", site.op, site.kind)
}

/// A plan as a source of decisions.
#[derive(Debug)]
pub(super) struct Written<'a> {
    plan: &'a Plan,
    sites: BTreeMap<Key<'a>, &'a Site>,
}

impl<'a> Written<'a> {
    pub(super) fn new(plan: &'a Plan) -> Result<Self, PlanFaults> {
        PlanFaults::check(plan.faults())?;
        Ok(Self { plan, sites: plan.sites.iter().map(|site| (key(site), site)).collect() })
    }

    pub(super) fn emit(&self) -> Emit {
        self.plan.emit
    }

    /// Whether there is a site of this kind.
    pub(super) fn names(&self, op: &str, kind: QuantType) -> bool {
        let next = self.sites.range((op, kind, "")..).next();
        next.is_some_and(|((found, of, _), _)| *found == op && *of == kind)
    }

    pub(super) fn site(&self, op: &str, kind: QuantType, tensor: &str) -> Option<&'a Site> {
        self.sites.get(&(op, kind, tensor)).copied()
    }

    /// The same decisions, about the sites that the model turned out to have.
    ///
    /// # Errors
    /// Sites that it does not have; those that could not be decided as the plan says.
    pub(super) fn carried_over(&self, mut found: Vec<Site>) -> Result<Plan, PlanFaults> {
        let known: BTreeMap<Key<'_>, &Site> = found.iter().map(|site| (key(site), site)).collect();
        let mut faults = Vec::new();
        for (index, site) in self.plan.sites.iter().enumerate() {
            let mut fault = |kind, message: String| faults.push(PlanFault::new(kind, place(index, site), message));
            let Some(model) = known.get(&key(site)) else {
                let message = if site.tensor.is_empty() {
                    format!("the model has no such site (`{}`)", site.op_type)
                } else {
                    format!("the model has no such site (`{}`, tensor `{}`)", site.op_type, site.tensor)
                };
                fault(Kind::UnknownSite, message);
                continue;
            };
            if site.op_type != model.op_type {
                let message = format!("found `{}`, but the model's op is `{}`", site.op_type, model.op_type);
                fault(Kind::Impossible, message);
            }
            if let (Some(said), Some(has)) = (&site.shape, &model.shape)
                && said != has
            {
                fault(Kind::Impossible, format!("found shape {said:?}, but the model's tensor has {has:?}"));
            }
            if let (Some(said), Some(has)) = (site.dtype, model.dtype)
                && said != has
            {
                fault(Kind::Impossible, format!("found elements of {said:?}, but the model's tensor has {has:?}"));
            }
            match (&site.decision, &model.decision) {
                (Decision::Quantize(_), Decision::Skip(reason)) => {
                    fault(Kind::Impossible, format!("it cannot be quantized ({}): {}", reason.code, reason.text));
                }
                (Decision::Quantize(said), Decision::Quantize(can)) if said.channel_axis != can.channel_axis => {
                    let axis = |axis: Option<usize>| axis.map_or("none".to_owned(), |axis| axis.to_string());
                    let (said, can) = (axis(said.channel_axis), axis(can.channel_axis));
                    fault(Kind::Impossible, format!("found channel axis {said}, but the op's is {can}"));
                }
                _ => {}
            }
        }
        PlanFaults::check(faults)?;
        for site in &mut found {
            site.steps = self.sites.get(&key(site)).and_then(|said| said.steps.clone());
        }
        let Plan { version, quantizer, emit, gradient, .. } = *self.plan;
        let Plan { prepared, folds, warnings, .. } = self.plan.clone();
        Ok(Plan { version, quantizer, emit, gradient, sites: found, prepared, folds, warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use crate::config::OpFacts;
    use crate::plan::{Choice, Chooser, Reason};

    const PLAN: &str = r#"{"version": 1, "quantizer": "qat", "emit": "inference", "sites": [
        {"op": "conv", "op_type": "Conv2D", "kind": "weight", "tensor": "w:0", "shape": [3, 3, 1, 2],
         "decision": {"quantize": {"quantizer": "qat", "bits": 8, "symmetric": true, "channel_axis": 3}}},
        {"op": "relu", "op_type": "Relu", "kind": "output", "tensor": "relu:0",
         "decision": {"quantize": {"quantizer": "qat", "bits": 8, "symmetric": false}}, "range": {"min": 0.0, "max": 6.0}},
        {"op": "add", "op_type": "AddV2", "kind": "output", "tensor": "add:0", "decision": {"skip": {"code": "by-hand", "text": "no"}}}]}"#;

    /// The codes and places of what is wrong with the plan when `from` is `to`.
    fn wrong(from: &str, to: &str) -> Vec<(&'static str, String)> {
        assert!(PLAN.contains(from), "{from}");
        let faults = Plan::parse(&PLAN.replacen(from, to, 1)).unwrap_err();
        faults.iter().map(|fault| (fault.kind.code(), fault.place.clone())).collect()
    }

    #[test]
    fn whatever_is_wrong_with_the_text_is_told_with_its_place() {
        Plan::parse(PLAN).unwrap();
        let one = |code, place: &str| vec![(code, place.to_owned())];
        let weight = "sites[0] (`conv`, weight)";
        let output = "sites[1] (`relu`, output)";
        assert_eq!(wrong("]}", "]"), one("P0101", "JSON"));
        assert_eq!(wrong("\"version\": 1", "\"version\": 2"), one("P0102", "version"));
        assert_eq!(wrong("\"shape\"", "\"shapes\""), one("P0101", "sites[0].shapes"));
        let settings = format!("{weight}.decision.quantize");
        assert_eq!(wrong("\"bits\": 8", "\"bits\": 17"), one("P0103", &format!("{settings}.bits")));
        assert_eq!(
            wrong("{\"quantizer\": \"qat\", \"bits\"", "{\"quantizer\": \"naive\", \"bits\""),
            one("P0103", &format!("{settings}.quantizer"))
        );
        assert_eq!(
            wrong("\"channel_axis\": 3", "\"channel_axis\": 3, \"rounding\": \"truncate\""),
            one("P0103", &format!("{settings}.rounding"))
        );
        assert_eq!(wrong("\"channel_axis\": 3", "\"ema_decay\": 1.0"), one("P0103", &format!("{settings}.ema_decay")));
        assert_eq!(wrong("\"min\": 0.0", "\"min\": 7.0"), one("P0103", &format!("{output}.range")));
        assert_eq!(wrong(", \"range\": {\"min\": 0.0, \"max\": 6.0}", ""), one("P0103", &format!("{output}.range")));
        assert_eq!(
            wrong("\"symmetric\": false", "\"symmetric\": false, \"channel_axis\": 0"),
            one("P0103", &format!("{output}.decision.quantize.channel_axis"))
        );
    }

    #[test]
    fn a_misspelt_key_is_told_with_the_nearest_one() {
        let told = |from: &str, to: &str| {
            assert!(PLAN.contains(from), "{from}");
            let faults = Plan::parse(&PLAN.replacen(from, to, 1)).unwrap_err();
            faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for (from, to, place) in [
            ("\"quantizer\"", "\"quantiser\"", "quantiser: unknown key; did you mean `quantizer`?"),
            ("\"op_type\"", "\"optype\"", "sites[0].optype: unknown key; did you mean `op_type`?"),
            ("\"symmetric\"", "\"symetric\"", "sites[0].decision.symetric: unknown key; did you mean `symmetric`?"),
            ("\"text\"", "\"txt\"", "sites[2].decision.txt: unknown key; did you mean `text`?"),
            ("\"min\"", "\"mim\"", "sites[1].range.mim: unknown key; did you mean `min`?"),
        ] {
            let told = told(from, to);
            assert_eq!(told.len(), 2, "{told:?}");
            assert_eq!(told[0], place);
            // The JSON reader says where the map ends.
            assert!(told[1].starts_with(&format!("JSON: missing field `{}`", from.trim_matches('"'))), "{told:?}");
        }
        // Where no key is missing, it is all that is wrong.
        assert_eq!(told("\"shape\"", "\"shapes\""), ["sites[0].shapes: unknown key; did you mean `shape`?"]);
        assert_eq!(told("\"shape\"", "\"whatever\""), ["sites[0].whatever: unknown key"]);
    }

    #[test]
    fn a_form_that_the_quantizer_does_not_have_is_refused() {
        let naive = PLAN.replace("qat", "naive").replace("inference", "training");
        let faults = Plan::parse(&naive).unwrap_err();
        let told: Vec<_> = faults.iter().map(|fault| fault.place.as_str()).collect();
        assert_eq!(told, ["emit", "sites[1] (`relu`, output).decision.quantize.quantizer"]);
        let wide = PLAN.replace("inference", "packed").replacen("\"bits\": 8", "\"bits\": 9", 1);
        assert_eq!(Plan::parse(&wide).unwrap_err().code(), "P0103");
    }

    #[test]
    fn two_decisions_about_one_tensor_are_refused() {
        let twice = PLAN.replace("\"relu\"", "\"add\"").replace("relu:0", "add:0");
        let faults = Plan::parse(&twice).unwrap_err();
        assert_eq!((faults.code(), faults.iter().count()), ("P0106", 1));
    }

    #[test]
    fn the_plan_decides_and_the_model_is_asked_whether_it_can() {
        let plan = Plan::parse(PLAN).unwrap();
        let chooser = Chooser::of_plan(&plan).unwrap();
        let about = |name, op_type| chooser.about(OpFacts { name, other_name: None, op_type, is_default: true });
        let conv: Choice<'_> = about("conv", "Conv2D");
        assert!(conv.names(QuantType::Weight) && !conv.names(QuantType::Output) && !about("con", "Conv2D").names_any());
        let chosen = conv.of(QuantType::Weight, "w:0").unwrap();
        assert_eq!((chosen.per_channel, chosen.settings.channel_axis), (crate::config::PerChannel::Always, None));
        let relu = about("relu", "Relu").of(QuantType::Output, "relu:0").unwrap();
        assert_eq!(relu.range, Some(Range { min: 0.0, max: 6.0 }));
        assert_eq!(about("add", "AddV2").of(QuantType::Output, "add:0").unwrap_err().code, "by-hand");
        assert_eq!(conv.without_any().of(QuantType::Weight, "w:0").unwrap_err().code, "not-selected");

        let written = Written::new(&plan).unwrap();
        assert_eq!(written.carried_over(plan.sites.clone()).unwrap(), plan);
        let changed = |change: &dyn Fn(&mut Vec<Site>)| {
            let mut sites = plan.sites.clone();
            change(&mut sites);
            let faults = written.carried_over(sites).unwrap_err();
            faults.iter().map(|fault| (fault.kind.code(), fault.message.clone())).collect::<Vec<_>>()
        };
        let gone = changed(&|sites| drop(sites.pop()));
        assert_eq!(gone, [("P0104", "the model has no such site (`AddV2`, tensor `add:0`)".to_owned())]);
        let skipped =
            changed(&|sites| sites[0].decision = Decision::Skip(Reason::new(codes::COMPUTED_WEIGHT, "a sum")));
        assert_eq!(skipped, [("P0105", "it cannot be quantized (computed-weight): a sum".to_owned())]);
        let axis = changed(&|sites| {
            if let Decision::Quantize(settings) = &mut sites[0].decision {
                settings.channel_axis = Some(2);
            }
        });
        assert_eq!(axis, [("P0105", "found channel axis 3, but the op's is 2".to_owned())]);
        let shape = changed(&|sites| sites[0].shape = Some(vec![1]));
        assert_eq!(shape, [("P0105", "found shape [3, 3, 1, 2], but the model's tensor has [1]".to_owned())]);
    }
}
