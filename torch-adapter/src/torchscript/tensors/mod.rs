//! Tensors over storage records: checked bounds, memory order, and which tensors share bytes.

mod dense;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use quant_math::DType;

pub use crate::error::TensorFault;
pub use dense::{Dense, Irregular};
pub use share::Sharing;

use crate::error::Error;
use crate::torchscript::archive::Archive;
use crate::torchscript::pickle::{Pickle, RawStorage, RawTensor, StorageType};

/// A storage: a record of the archive as elements of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The record, for example `data/0`.
    pub record: String,
    /// The element type.
    pub kind: StorageType,
    /// Where its pickle has the name of its device.
    pub device: Range<usize>,
    /// Number of elements; times the element size it is the record's length.
    pub numel: u64,
    /// Positions of the tensors that lie in it, in order.
    pub tensors: Vec<usize>,
}

/// A tensor whose elements all lie in its storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Position of its storage.
    pub storage: usize,
    /// The element type.
    pub kind: StorageType,
    /// First element in the storage.
    pub offset: u64,
    /// The shape, outermost dimension first.
    pub sizes: Vec<u64>,
    /// Elements from one index to the next, per dimension.
    pub strides: Vec<u64>,
    /// Whether training changes it.
    pub requires_grad: bool,
}

/// All tensors of one pickle, by the position they have there.
#[derive(Debug, Clone, Default)]
pub struct Tensors {
    storages: Vec<Storage>,
    all: Vec<Tensor>,
    /// By tensor.
    sharing: Vec<Sharing>,
}

impl Tensors {
    /// Check the tensors of `pickle` against the records in `folder` (`data` or `constants`).
    ///
    /// # Errors
    ///
    /// [`TensorFault`], with the place in the pickle.
    pub fn read(archive: &Archive, pickle: &Pickle, folder: &str) -> Result<Self, Error> {
        let mut out = Self::default();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        // By position in the pickle: position here.
        let mut places = Vec::with_capacity(pickle.storages().len());
        for raw in pickle.storages() {
            let record = format!("{folder}/{}", raw.key);
            let at = |fault: TensorFault| fault.at(pickle.record(), raw.span.start);
            let storage = storage(archive, raw, record).map_err(at)?;
            let place = if let Some(place) = known.get(&storage.record) {
                same(out.storages.get(*place), &storage).map_err(at)?;
                *place
            } else {
                known.insert(storage.record.clone(), out.storages.len());
                out.storages.push(storage);
                out.storages.len() - 1
            };
            places.push(place);
        }
        for (position, raw) in pickle.tensors().iter().enumerate() {
            let at = |fault: TensorFault| fault.at(pickle.record(), raw.span.start);
            let place = places.get(raw.storage).copied();
            let Some((place, storage)) = place.and_then(|place| Some((place, out.storages.get_mut(place)?))) else {
                continue;
            };
            storage.tensors.push(position);
            out.all.push(tensor(raw, place, storage).map_err(at)?);
        }
        out.share();
        Ok(out)
    }

    fn share(&mut self) {
        self.sharing = vec![Sharing::Alone; self.all.len()];
        for storage in &self.storages {
            for (position, found) in storage.tensors.iter().zip(share::sharing(storage, &self.all)) {
                if let Some(place) = self.sharing.get_mut(*position) {
                    *place = found;
                }
            }
        }
    }

    /// Whether other tensors of the pickle share elements with the one at `position`.
    pub fn sharing(&self, position: usize) -> Sharing {
        self.sharing.get(position).copied().unwrap_or_default()
    }

    /// All storages, in the order in which the pickle names them.
    pub fn storages(&self) -> &[Storage] {
        &self.storages
    }

    /// All tensors, in the pickle's order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.all
    }

    /// The storage of a tensor.
    pub fn storage(&self, tensor: &Tensor) -> Option<&Storage> {
        self.storages.get(tensor.storage)
    }
}

impl Tensor {
    /// Number of elements.
    pub fn numel(&self) -> u64 {
        // Cannot overflow for an empty tensor, and the others were checked against their storage (an expanded one saturates).
        if self.sizes.contains(&0) { 0 } else { self.sizes.iter().fold(1, |n: u64, size| n.saturating_mul(*size)) }
    }

    /// The element type, where it is one that can be quantized.
    pub fn dtype(&self) -> Option<DType> {
        self.kind.dtype()
    }

    /// The first element it uses and one more than the last; equal for an empty tensor.
    pub fn extent(&self) -> Range<u64> {
        match last(self.offset, &self.sizes, &self.strides) {
            Some(last) => self.offset..last.saturating_add(1),
            None => self.offset..self.offset,
        }
    }
}

fn storage(archive: &Archive, raw: &RawStorage, record: String) -> Result<Storage, TensorFault> {
    let Some(entry) = archive.entry(&record) else { return Err(TensorFault::NoRecord { record }) };
    let numel = natural("a storage's number of elements", raw.numel)?;
    let size = raw.kind.size();
    if numel.checked_mul(size) != Some(entry.size()) {
        let (found, expected) = (entry.size(), numel.saturating_mul(size));
        return Err(TensorFault::RecordSize { record, found, expected, numel: raw.numel, size });
    }
    Ok(Storage { record, kind: raw.kind, device: raw.device.clone(), numel, tensors: Vec::new() })
}

fn same(known: Option<&Storage>, storage: &Storage) -> Result<(), TensorFault> {
    let Some(known) = known.filter(|known| (known.kind, known.numel) != (storage.kind, storage.numel)) else {
        return Ok(());
    };
    let shown = |storage: &Storage| format!("{} {}", storage.numel, storage.kind.name());
    Err(TensorFault::Conflict { record: storage.record.clone(), found: shown(storage), expected: shown(known) })
}

fn tensor(raw: &RawTensor, place: usize, storage: &Storage) -> Result<Tensor, TensorFault> {
    let all = |what, numbers: &[i64]| -> Result<Vec<u64>, TensorFault> {
        numbers.iter().map(|number| natural(what, *number)).collect()
    };
    let offset = natural("a tensor's offset", raw.offset)?;
    let sizes = all("a tensor's size", &raw.sizes)?;
    let strides = all("a tensor's stride", &raw.strides)?;
    let last = last(offset, &sizes, &strides);
    if let Some(last) = last.filter(|last| *last >= storage.numel) {
        return Err(TensorFault::OutOfBounds { found: last.saturating_add(1), expected: storage.numel });
    }
    Ok(Tensor { storage: place, kind: storage.kind, offset, sizes, strides, requires_grad: raw.requires_grad })
}

fn natural(what: &'static str, number: i64) -> Result<u64, TensorFault> {
    u64::try_from(number).map_err(|_| TensorFault::Negative { what, found: number })
}

/// The last element, saturated; `None` for an empty tensor.
fn last(offset: u64, sizes: &[u64], strides: &[u64]) -> Option<u64> {
    if sizes.contains(&0) {
        return None;
    }
    let reach = |(size, stride): (&u64, &u64)| (size - 1).saturating_mul(*stride);
    Some(sizes.iter().zip(strides).map(reach).fold(offset, u64::saturating_add))
}
