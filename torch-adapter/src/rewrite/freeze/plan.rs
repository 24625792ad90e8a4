//! What `freeze` does with every quantizer of a trained archive.

use std::collections::BTreeMap;

use quant_math::late;
use quant_math::plan::{Decision, Gradient, PLAN_VERSION, Plan, Reason, Site};
use quant_math::{Emit, QuantType, Quantizer};

use super::calls::Calls;
use super::observer::Observer;
use crate::codes;
use crate::find::model::Model;
use crate::find::readers::{Place, Reader, Wanted};
use crate::torchscript::heap::{TensorId, join};
use quant_math::codes::Code;

/// What is done with every quantizer.
pub(crate) struct FreezePlan {
    /// A site for each quantizer, in their order; then one for each further op that shares one.
    pub(crate) plan: Plan,
    /// Where weights go, by the positions of their sites.
    pub(crate) places: BTreeMap<usize, Place>,
    /// The positions of the sites whose quantizers the further ones share.
    pub(crate) shared: Vec<usize>,
}

impl Model {
    pub(crate) fn freeze_plan(&self, observers: &[Observer], calls: &Calls<'_>, emit: Emit) -> FreezePlan {
        let mut sites: Vec<Site> = observers.iter().map(|observer| self.freeze_site(observer, calls, emit)).collect();
        let places = self.freeze_places(observers, calls, &mut sites, emit);
        let quantizer = observers.first().map_or(Quantizer::Qat, Observer::quantizer);
        let warnings = late::warning(&sites, observers.iter().filter_map(Observer::before)).into_iter().collect();
        let mut shared = Vec::new();
        for (position, observer) in observers.iter().enumerate().filter(|(_, observer)| observer.is_weight()) {
            for (op, weight) in calls.readers(observer.object).iter().skip(1) {
                let Some(first) = sites.get(position).cloned() else { continue };
                let (name, op_type, tensor) = (op.name.clone(), op.op_type.clone(), weight.name.clone());
                sites.push(Site { op: name, op_type, tensor, ..first });
                shared.push(position);
            }
        }
        let plan = Plan { version: PLAN_VERSION, quantizer, emit, gradient: Gradient::default(), sites, warnings };
        FreezePlan { plan, places, shared }
    }

    fn freeze_places(
        &self,
        observers: &[Observer],
        calls: &Calls<'_>,
        sites: &mut [Site],
        emit: Emit,
    ) -> BTreeMap<usize, Place> {
        if !matches!(emit, Emit::Baked | Emit::Packed) {
            return BTreeMap::new();
        }
        let found = observers.iter().zip(sites.iter()).enumerate().filter_map(|(position, (observer, site))| {
            let settings = *site.settings().filter(|_| site.kind == QuantType::Weight)?;
            let tensor = calls.tensor(observer.object)?;
            let spots = calls.of_quantizer(observer.object).iter().map(|call| call.spot).collect();
            Some((position, Wanted { reader: Reader::Quantizer(observer.object), tensor, settings, spots }))
        });
        let (positions, wanted): (Vec<usize>, Vec<Wanted>) = found.unzip();
        let mut places = BTreeMap::new();
        for (position, place) in positions.into_iter().zip(self.places(&wanted, emit)) {
            match (place, sites.get_mut(position)) {
                (Ok(place), _) => drop(places.insert(position, place)),
                (Err(reason), Some(site)) => site.decision = Decision::Skip(reason),
                (Err(_), None) => {}
            }
        }
        places
    }

    fn freeze_site(&self, observer: &Observer, calls: &Calls<'_>, emit: Emit) -> Site {
        let tensor = calls.tensor(observer.object);
        let kind = observer.kind();
        let named = calls.readers(observer.object).first().filter(|_| kind == QuantType::Weight);
        let home = observer.path.rsplit_once('.').map_or("", |(home, _)| home);
        let (op, op_type, name) = if let Some((op, weight)) = named {
            (op.name.clone(), op.op_type.clone(), weight.name.clone())
        } else {
            let local = observer.edge().map_or("", |(op, _)| op);
            let op = if local.is_empty() { home.to_owned() } else { join(home, local) };
            let op_type = calls.op_type(&op).unwrap_or_default().to_owned();
            let edge = observer.edge().map_or_else(|| kind.to_string(), |(_, edge)| edge.to_owned());
            let name = format!("{op}:{edge}");
            (op, op_type, name)
        };
        let facts = tensor.and_then(|tensor| self.heap().tensor(tensor)).filter(|_| kind == QuantType::Weight);
        Site {
            op,
            op_type,
            kind,
            tensor: name,
            dtype: facts.and_then(|facts| facts.dtype),
            shape: facts.map(|facts| facts.shape.clone()),
            decision: self.freeze_decision(observer, tensor, emit),
            range: None,
        }
    }

    fn freeze_decision(&self, observer: &Observer, tensor: Option<TensorId>, emit: Emit) -> Decision {
        let skip = |code: &Code, text: &str| Decision::Skip(Reason::new(code, text));
        if !observer.has_begun() {
            return Decision::Skip(late::not_begun(observer.before()));
        }
        let Some(settings) = observer.settings() else {
            return skip(codes::SETTINGS_UNKNOWN, "the quantizer's settings are none that torch-adapter writes");
        };
        if !observer.is_weight() {
            return match emit {
                Emit::Baked | Emit::Packed => {
                    skip(codes::WEIGHTS_ONLY, &format!("`--emit {emit}` quantizes weights only"))
                }
                Emit::Inference | Emit::Training => Decision::Quantize(settings),
            };
        }
        let Some(tensor) = tensor else {
            return skip(
                codes::COMPUTED_WEIGHT,
                "what it quantizes is no parameter; if `torch.jit.freeze` made it a constant, give the archive from before that",
            );
        };
        if emit.too_wide(&settings).is_some() {
            return skip(codes::BITS_PACKED, "codes of more than 8 bits do not fit; the weight is float now");
        }
        let reason = match emit {
            Emit::Inference => self.contents().stored(tensor).err(),
            _ => self.unstorable(tensor, emit),
        };
        reason.map_or(Decision::Quantize(settings), Decision::Skip)
    }
}
