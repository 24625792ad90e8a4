#![doc = include_str!("../README.md")]

pub mod codes;
mod error;
mod find;
mod graphdef;
mod model;
mod plan;
mod prepare;
mod quantizers;
mod rewrite;
#[cfg(feature = "run")]
pub mod run;
mod survey;

pub use error::{At, ContainerError, Error};
pub use graphdef::bundle::Bundle;
pub use graphdef::graph::{Endpoint, Graph, Interface};
pub use graphdef::{bundle, io, pb, tensor, text, wire};
pub use model::{ModelOptions, inspect_model};
pub use prepare::Names;
pub use quant_math::fold::{Fold, FoldDecision, Folded};
pub use quant_math::plan::{Gradient, PlanOptions};
pub use quantizers::{DoReFaQuantizer, LsqQuantizer, NaiveQuantizer, QatQuantizer};
pub use rewrite::apply::Compressed;
pub use rewrite::for_trainers as training;
pub use rewrite::saved_model::{ModelOutput, WeightPlace};
pub use rewrite::thaw::{Kept, Trainable, TrainableGraph, VARIABLES_INIT};
pub use survey::{
    AssetInfo, CheckpointInfo, Container, DataFile, MetaGraphInfo, ModelInfo, NotFlat, SignatureInfo, SignatureTensor,
    TableInfo, VariableInfo,
};
