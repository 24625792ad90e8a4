//! Surveys: what is in a graph, and what differs between two.

mod diff;
mod fold;
mod folded;
mod inspect;
mod model_info;
mod outputs;
mod separated;
mod weights;

pub use model_info::{
    AssetInfo, CheckpointInfo, Container, DataFile, MetaGraphInfo, ModelInfo, NotFlat, SignatureInfo, SignatureTensor,
    TableInfo, VariableInfo,
};
