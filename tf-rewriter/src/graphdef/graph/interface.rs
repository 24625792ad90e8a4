//! What a signature calls the inputs and outputs of a graph.

use protobuf::EnumOrUnknown;

use crate::graphdef::pb::{DataType, TensorShapeProto};

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
