//! What `freeze` does with every quantizer of a trained archive.

use std::collections::BTreeMap;

use quant_math::late;
use quant_math::plan::{Decision, Gradient, PLAN_VERSION, Plan, Reason, Site};
use quant_math::{Emit, QuantType, Quantizer};

use super::observer::Observer;
use crate::model::Model;
use crate::readers::{Place, Reader, Wanted};
use crate::sites::heap::{ObjectId, TensorId, join};

impl Model {
    /// One site per quantizer, in their order, and where the weights go that are stored in another form.
    pub(super) fn freeze_plan(&self, observers: &[Observer], emit: Emit) -> (Plan, BTreeMap<usize, Place>) {
        let mut sites: Vec<Site> = observers.iter().map(|observer| self.freeze_site(observer, emit)).collect();
        let places = self.freeze_places(observers, &mut sites, emit);
        let quantizer = observers.first().map_or(Quantizer::Qat, Observer::quantizer);
        let warnings = late::warning(&sites, observers.iter().filter_map(Observer::before)).into_iter().collect();
        let plan = Plan { version: PLAN_VERSION, quantizer, emit, gradient: Gradient::default(), sites, warnings };
        (plan, places)
    }

    fn freeze_places(&self, observers: &[Observer], sites: &mut [Site], emit: Emit) -> BTreeMap<usize, Place> {
        if !matches!(emit, Emit::Baked | Emit::Packed) {
            return BTreeMap::new();
        }
        let found = observers.iter().zip(sites.iter()).enumerate().filter_map(|(position, (observer, site))| {
            let settings = *site.settings().filter(|_| site.kind == QuantType::Weight)?;
            let tensor = self.quantized_tensor(observer.object)?;
            let calls = self.sites().quantizers.iter().filter(|call| call.quantizer == observer.object);
            let spots = calls.map(|call| call.spot).collect();
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

    fn freeze_site(&self, observer: &Observer, emit: Emit) -> Site {
        let tensor = self.quantized_tensor(observer.object);
        let kind = observer.kind();
        let named = self.op_of(observer.object);
        let home = observer.path.rsplit_once('.').map_or("", |(home, _)| home);
        let (op, op_type, name) = match named {
            Some((op, op_type, name)) if kind == QuantType::Weight => (op, op_type, name),
            _ => {
                let local = observer.edge().map_or("", |(op, _)| op);
                let op = if local.is_empty() { home.to_owned() } else { join(home, local) };
                let op_type = self.sites().ops.iter().find(|found| found.name == op).map(|found| found.op_type.clone());
                let edge = observer.edge().map_or_else(|| kind.to_string(), |(_, edge)| edge.to_owned());
                (op.clone(), op_type.unwrap_or_default(), format!("{op}:{edge}"))
            }
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
        let skip = |code: &str, text: &str| Decision::Skip(Reason::new(code, text));
        if !observer.has_begun() {
            return Decision::Skip(late::not_begun(observer.before()));
        }
        let Some(settings) = observer.settings() else {
            return skip("settings-unknown", "the quantizer's settings are none that torch-adapter writes");
        };
        if !observer.is_weight() {
            return match emit {
                Emit::Baked | Emit::Packed => skip("weights-only", &format!("`--emit {emit}` quantizes weights only")),
                Emit::Inference | Emit::Training => Decision::Quantize(settings),
            };
        }
        let Some(tensor) = tensor else {
            return skip(
                "computed-weight",
                "what it quantizes is no parameter; if `torch.jit.freeze` made it a constant, give the archive from before that",
            );
        };
        if emit == Emit::Packed && settings.bits > 8 {
            return skip("bits-packed", "codes of more than 8 bits do not fit; the weight is float now");
        }
        let reason = match emit {
            Emit::Inference => self.stored(tensor).err(),
            _ => self.unstorable(tensor, emit),
        };
        reason.map_or(Decision::Quantize(settings), Decision::Skip)
    }

    /// The model's tensor that a quantizer gets.
    pub(super) fn quantized_tensor(&self, quantizer: ObjectId) -> Option<TensorId> {
        self.sites().quantizers.iter().find(|call| call.quantizer == quantizer).and_then(|call| call.tensor)
    }

    /// The op whose weight a quantizer takes; others may have the same tensor.
    fn op_of(&self, quantizer: ObjectId) -> Option<(String, String, String)> {
        let mut weights = self.sites().ops.iter().flat_map(|op| op.weights.iter().map(move |weight| (op, weight)));
        let (op, weight) = weights.find(|(_, weight)| weight.quantizer == Some(quantizer))?;
        Some((op.name.clone(), op.op_type.clone(), weight.name.clone()))
    }
}
