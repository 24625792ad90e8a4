//! What `freeze` does with every quantizer of a trained archive.

use std::collections::BTreeMap;

use quant_math::plan::{Decision, Plan, Site};
use quant_math::{Emit, QuantType, frozen, late};

use super::calls::Calls;
use super::trained::Trained;
use crate::codes;
use crate::find::model::Model;
use crate::find::readers::{Place, Reader, Wanted};
use crate::torchscript::heap::TensorId;

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
    pub(crate) fn freeze_plan(&self, all_trained: &[Trained], calls: &Calls<'_>, emit: Emit) -> FreezePlan {
        let mut sites: Vec<Site> = all_trained.iter().map(|trained| self.freeze_site(trained, calls, emit)).collect();
        let places = self.freeze_places(all_trained, calls, &mut sites, emit);
        let said = all_trained.iter().find_map(Trained::site).map(|site| site.settings.quantizer);
        let mut plan = frozen::plan(said, emit, sites, all_trained.iter().filter_map(Trained::before));
        let mut shared = Vec::new();
        for (position, trained) in all_trained.iter().enumerate().filter(|(_, trained)| trained.is_weight()) {
            for (op, weight) in calls.readers(trained.object).iter().skip(1) {
                let Some(first) = plan.sites.get(position).cloned() else { continue };
                let (name, op_type, tensor) = (op.name.clone(), op.op_type.clone(), weight.name.clone());
                plan.sites.push(Site { op: name, op_type, tensor, ..first });
                shared.push(position);
            }
        }
        FreezePlan { plan, places, shared }
    }

    fn freeze_places(
        &self,
        all_trained: &[Trained],
        calls: &Calls<'_>,
        sites: &mut [Site],
        emit: Emit,
    ) -> BTreeMap<usize, Place> {
        if !matches!(emit, Emit::Baked | Emit::Packed) {
            return BTreeMap::new();
        }
        let found = all_trained.iter().zip(sites.iter()).enumerate().filter_map(|(position, (trained, site))| {
            let settings = *site.settings().filter(|_| site.kind == QuantType::Weight)?;
            let tensor = calls.tensor(trained.object)?;
            let spots = calls.of_quantizer(trained.object).iter().map(|call| call.spot).collect();
            let (reader, steps) = (Reader::Quantizer(trained.object), site.steps.clone());
            Some((position, Wanted { reader, tensor, settings, steps, spots }))
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

    fn freeze_site(&self, trained: &Trained, calls: &Calls<'_>, emit: Emit) -> Site {
        let tensor = calls.tensor(trained.object);
        let decision = self.freeze_decision(trained, tensor, emit);
        let kind = trained.kind();
        // What one expression hands to several calls has one quantizer, which the first of them is named for.
        let reader = calls.readers(trained.object).first().filter(|_| kind == QuantType::Weight);
        let (op, name) = match (reader, trained.site()) {
            (Some((op, weight)), _) => (op.name.clone(), weight.name.clone()),
            (None, Some(site)) => (site.op.clone(), site.tensor.clone()),
            (None, None) => (trained.path.clone(), trained.path.clone()),
        };
        let op_type = calls.op_type(&op).unwrap_or_default().to_owned();
        let facts = tensor.and_then(|tensor| self.heap().tensor(tensor)).filter(|_| kind == QuantType::Weight);
        Site {
            op,
            op_type,
            kind,
            tensor: name,
            dtype: facts.and_then(|facts| facts.dtype),
            shape: facts.map(|facts| facts.shape.clone()),
            decision,
            range: None,
            steps: trained.steps().map(<[f32]>::to_vec),
        }
    }

    fn freeze_decision(&self, trained: &Trained, tensor: Option<TensorId>, emit: Emit) -> Decision {
        if !trained.has_begun() {
            return Decision::Skip(late::not_begun(trained.before()));
        }
        let Some(settings) = trained.site().map(|site| site.settings) else {
            return Decision::skip(
                codes::SETTINGS_UNKNOWN,
                "the quantizer's settings are none that torch-adapter writes",
            );
        };
        if !trained.is_weight() {
            return frozen::decision(QuantType::Output, settings, emit);
        }
        let Some(tensor) = tensor else {
            return Decision::skip(
                codes::COMPUTED_WEIGHT,
                "what it quantizes is no parameter; if `torch.jit.freeze` made it a constant, give the archive from before that",
            );
        };
        let reason = match emit {
            Emit::Inference => self.contents().stored(tensor).err(),
            _ => self.unstorable(tensor, emit),
        };
        match (frozen::decision(QuantType::Weight, settings, emit), reason) {
            (Decision::Quantize(_), Some(reason)) => Decision::Skip(reason),
            (decision, _) => decision,
        }
    }
}
