//! What differs between two models.

use std::collections::BTreeMap;

use quant_math::difference::Difference;

use super::values::{Named, named};
use crate::error::Error;
use crate::find::model::Model;

impl Model {
    /// What changes from this model to `other`: values of tensors (packed ones are decoded), tensors that only one has, source
    /// files that differ.
    ///
    /// # Errors
    ///
    /// Damaged records of either.
    pub fn diff(&self, other: &Self) -> Result<Difference, Error> {
        let found = self.compare(other);
        self.in_file(Ok(()))?;
        other.in_file(Ok(()))?;
        found
    }

    fn compare(&self, other: &Self) -> Result<Difference, Error> {
        let (first, second) = (named(self), named(other));
        let twins: BTreeMap<&str, &Named> = second.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut found = Difference::between(self.archive().len() as u64, other.archive().len() as u64);
        for tensor in &first {
            match twins.get(tensor.name.as_str()).filter(|twin| twin.shape == tensor.shape) {
                None => found.only_in_first.push(tensor.name.clone()),
                Some(twin) => {
                    let (a, b) = (self.in_file(tensor.values(self))?, other.in_file(twin.values(other))?);
                    found.hold(&tensor.name, &tensor.shape, a.as_slice(), b.as_slice());
                }
            }
        }
        let known: BTreeMap<&str, &Named> = first.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let new = second
            .iter()
            .filter(|tensor| known.get(tensor.name.as_str()).is_none_or(|twin| twin.shape != tensor.shape));
        found.only_in_second.extend(new.map(|tensor| tensor.name.clone()));
        let files = |model: &Self| -> BTreeMap<String, String> {
            model.program().files().iter().map(|file| (file.record.clone(), file.text.clone())).collect()
        };
        let (mut before, after) = (files(self), files(other));
        for (record, text) in after {
            match before.remove(&record) {
                None => found.only_in_second.push(record),
                Some(old) if old != text => found.changed.push(record),
                Some(_) => {}
            }
        }
        found.only_in_first.extend(before.into_keys());
        Ok(found)
    }
}
