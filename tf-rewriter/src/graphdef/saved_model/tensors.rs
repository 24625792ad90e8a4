//! The tensors that a signature names.

use crate::graphdef::pb::signature_def::TensorInfoEntry;
use crate::graphdef::pb::{DataType, TensorInfo};

/// The tensors of a signature's side, by key. A sparse or composite one is several.
pub(crate) fn tensors(entries: &[TensorInfoEntry]) -> Vec<(String, TensorInfo)> {
    let mut found = Vec::new();
    for entry in entries {
        let Some(info) = entry.value.as_ref() else { continue };
        if info.has_coo_sparse() {
            let sparse = info.coo_sparse();
            let parts = [
                ("values", &sparse.values_tensor_name, info.dtype),
                ("indices", &sparse.indices_tensor_name, DataType::DT_INT64.into()),
                ("dense_shape", &sparse.dense_shape_tensor_name, DataType::DT_INT64.into()),
            ];
            for (part, name, dtype) in parts {
                let mut own = TensorInfo { dtype, ..TensorInfo::default() };
                own.set_name(name.clone());
                found.push((format!("{}/{part}", entry.key), own));
            }
        } else if info.has_composite_tensor() {
            let parts = info.composite_tensor().components.iter().enumerate();
            found.extend(parts.map(|(number, part)| (format!("{}/{number}", entry.key), part.clone())));
        } else {
            found.push((entry.key.clone(), info.clone()));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}
