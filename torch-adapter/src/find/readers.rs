//! Who reads a weight: whether what is written in its place reaches those alone that are to have it.
//!
//! A weight is quantized where it is stored if nobody else reads these bytes. Otherwise those that are chosen get a copy of their own, and
//! the others, as an embedding that is tied to a decoder, keep what they had.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::plan::{Emit, Reason, Settings};

use crate::codes;
use crate::find::model::Model;
use crate::find::sites::Spot;
use crate::torchscript::contents::StoreKey;
use crate::torchscript::heap::{ObjectId, TensorId};
use crate::torchscript::tensors::Sharing;

/// Somebody who reads a weight as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reader {
    /// An op, by the positions of op and weight.
    Op(usize, usize),
    /// A quantizer of a training archive.
    Quantizer(ObjectId),
}

/// A weight that is to be quantized for a reader.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) reader: Reader,
    pub(crate) tensor: TensorId,
    pub(crate) settings: Settings,
    /// Its steps, where they were learnt.
    pub(crate) steps: Option<Vec<f32>>,
    /// The expressions by which the reader gets it; the first one's object would hold a copy.
    pub(crate) spots: Vec<Spot>,
}

/// Where the quantized form of a weight goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the weight is.
    InPlace,
    /// Beside it, for this reader alone.
    Copy,
}

/// How the weights are quantized that expressions hand on.
#[derive(Default)]
struct Around(BTreeMap<(TensorId, Spot), Settings>);

impl Around {
    /// A part of a weight can go into several calls. Whoever comes first decides how the whole is quantized.
    fn put(&mut self, wanted: &Wanted) -> Result<(), Reason> {
        let settings = Settings { entry: 0, ..wanted.settings };
        let mut places = wanted.spots.iter().map(|spot| (wanted.tensor, *spot));
        if places.clone().any(|place| self.0.get(&place).is_some_and(|known| *known != settings)) {
            let text = "one expression hands the weight to this call and to another one, which wants it quantized in another way";
            return Err(Reason::new(codes::SHARED_TEXT, text));
        }
        self.0.extend(places.by_ref().map(|place| (place, settings)));
        Ok(())
    }
}

impl Model {
    /// Where each of `wanted` goes, or why nowhere.
    pub(crate) fn places(&self, wanted: &[Wanted], emit: Emit) -> Vec<Result<Place, Reason>> {
        let readers = self.readers();
        let others: BTreeSet<StoreKey> =
            self.sites().others.iter().filter_map(|tensor| self.contents().store_key(*tensor)).collect();
        let mut places: Vec<Result<Place, Reason>> = vec![Ok(Place::Copy); wanted.len()];
        // One that gets nothing after all reads a float weight, which is then another reader for the rest.
        loop {
            let mut around = Around::default();
            let mut chosen: BTreeMap<StoreKey, Vec<usize>> = BTreeMap::new();
            for (position, wanted) in wanted.iter().enumerate() {
                if places.get(position).is_some_and(Result::is_ok)
                    && let Some(key) = self.contents().store_key(wanted.tensor)
                {
                    chosen.entry(key).or_default().push(position);
                }
            }
            let mut failed = false;
            for (key, positions) in chosen {
                let those = || positions.iter().filter_map(|position| wanted.get(*position));
                let has: BTreeSet<Reader> = those().map(|wanted| wanted.reader).collect();
                let alone = !others.contains(&key)
                    && readers.get(&key).is_none_or(|readers| readers.is_subset(&has))
                    && those().all(|wanted| self.is_alone(wanted.tensor, emit));
                let first = those().next().map(|wanted| (Settings { entry: 0, ..wanted.settings }, &wanted.steps));
                for position in &positions {
                    let Some(found) = wanted.get(*position) else { continue };
                    let same = first == Some((Settings { entry: 0, ..found.settings }, &found.steps));
                    let place = if alone && same { Ok(Place::InPlace) } else { self.copyable(found) };
                    let place = place.and_then(|place| around.put(found).map(|()| place));
                    failed |= place.is_err();
                    if let Some(slot) = places.get_mut(*position) {
                        *slot = place;
                    }
                }
            }
            if !failed {
                return places;
            }
        }
    }

    /// Whether something can be put around the expressions by which each of `wanted` gets its weight, or why not.
    pub(crate) fn around(wanted: &[Wanted]) -> Vec<Result<(), Reason>> {
        let mut around = Around::default();
        wanted.iter().map(|wanted| around.put(wanted)).collect()
    }

    /// Everybody who reads a weight as it is, by the bytes.
    fn readers(&self) -> BTreeMap<StoreKey, BTreeSet<Reader>> {
        let mut readers: BTreeMap<StoreKey, BTreeSet<Reader>> = BTreeMap::new();
        let mut add = |tensor: Option<TensorId>, reader: Reader| {
            if let Some(key) = tensor.and_then(|tensor| self.contents().store_key(tensor)) {
                readers.entry(key).or_default().insert(reader);
            }
        };
        for (op, found) in self.sites().ops.iter().enumerate() {
            for (weight, found) in found.weights.iter().enumerate().filter(|(_, weight)| weight.origin.is_some()) {
                add(found.tensor, Reader::Op(op, weight));
            }
        }
        for call in &self.sites().quantizers {
            add(call.tensor, Reader::Quantizer(call.quantizer));
        }
        readers
    }

    /// Whether no other tensor uses its memory; codes have another type, so that a tied one would not see them.
    fn is_alone(&self, tensor: TensorId, emit: Emit) -> bool {
        // An object that packs its own state is not looked into.
        if self.heap().hidden.tensors.contains(&tensor) {
            return false;
        }
        let Some((place, ..)) = self.contents().tensor(tensor) else { return false };
        match self.contents().tensors(place.folder).sharing(place.position) {
            Sharing::Alone => true,
            Sharing::Same => emit != Emit::Packed,
            Sharing::Partial => false,
        }
    }

    /// Whether a copy can be put beside it.
    pub(crate) fn copyable(&self, wanted: &Wanted) -> Result<Place, Reason> {
        let home = wanted.spots.first().map(|spot| spot.object);
        if let Some(reason) = home.and_then(|home| self.unextendable(home)) {
            return Err(reason);
        }
        let reaches =
            |spot: &Spot| home.is_some_and(|home| spot.object == home || self.heap().way(spot.object, home).is_some());
        if home.is_some() && wanted.spots.iter().all(reaches) {
            return Ok(Place::Copy);
        }
        let text = "something else reads its bytes too, and where this op reads them there is no module to hold a copy";
        Err(Reason::new(codes::SHARED_IN_PLACE, text))
    }
}
