//! What a signature calls the inputs and outputs of a graph.

use protobuf::EnumOrUnknown;

use crate::graphdef::index::node_of;
use crate::graphdef::pb::signature_def::TensorInfoEntry;
use crate::graphdef::pb::{DataType, SignatureDef, TensorInfo, TensorShapeProto};
use crate::graphdef::saved_model::tensors;

/// A tensor of a signature.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// What the signature calls it.
    pub key: String,
    /// What the graph calls it: `node:port`.
    pub tensor: String,
    /// Its element type.
    pub dtype: EnumOrUnknown<DataType>,
    /// Its shape, as far as the signature says it.
    pub shape: Option<TensorShapeProto>,
}

/// Inputs and outputs of a model's signature, sorted by key.
#[derive(Debug, Clone, Default)]
pub struct Interface {
    /// What is fed.
    pub inputs: Vec<Endpoint>,
    /// What is fetched.
    pub outputs: Vec<Endpoint>,
    /// The node that fills lookup tables, which has to run before anything else.
    pub initializer: Option<String>,
}

impl Interface {
    /// What a signature says, in the names that it has.
    pub(crate) fn of(signature: &SignatureDef) -> Self {
        let side = |entries: &[TensorInfoEntry]| {
            tensors(entries).iter().map(|(key, info)| Endpoint::new(key, info, info.name())).collect()
        };
        Self { inputs: side(&signature.inputs), outputs: side(&signature.outputs), initializer: None }
    }
}

impl Endpoint {
    /// The tensor `text` (`node`, or `node:port`).
    pub(crate) fn new(key: &str, info: &TensorInfo, text: &str) -> Self {
        let tensor = if text.contains(':') { text.to_owned() } else { format!("{text}:0") };
        Self { key: key.to_owned(), tensor, dtype: info.dtype, shape: info.tensor_shape.as_ref().cloned() }
    }

    /// The node that makes it.
    pub(crate) fn node(&self) -> &str {
        node_of(&self.tensor)
    }
}
