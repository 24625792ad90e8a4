//! What needs a graph to execute: ranges for activations, numbers for accuracy, and training.
//!
//! TensorFlow's own library executes, through the [`tensorflow`] crate. The library is loaded when it is needed ([`load`]); nothing
//! else of this crate needs it.
//!
//! ```text
//! Graph ──session──▶ Model     data ──feeds──▶ Batch     Model × Batch ──▶ calibrate, evaluate, finetune
//! ```
//!
//! A service that holds a model of the `tensorflow` crate quantizes it as it is in memory:
//!
//! ```no_run
//! use std::collections::BTreeMap;
//!
//! use tensorflow::{DataType, Graph, Operation, SavedModelBundle, SessionOptions, SessionRunArgs};
//! use tf_rewriter::bundle::Tensor;
//! use tf_rewriter::{ModelOptions, NaiveQuantizer, pb, run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! run::load()?;
//! let mut graph = Graph::new();
//! let model = SavedModelBundle::load(&SessionOptions::new(), ["serve"], &mut graph, "my_model")?;
//! let signature = model.meta_graph_def().get_signature("serving_default")?;
//! let mut options = ModelOptions::default();
//! options.outputs = signature.outputs().values().map(|output| output.name().name.clone()).collect();
//!
//! // What the session holds now: of this model, float32 variables alone.
//! let bytes = graph.graph_def()?;
//! let is_variable = |node: &Operation| node.op_type().is_ok_and(|op| op == "VarHandleOp");
//! let variables: Vec<Operation> = graph.operation_iter().filter(is_variable).collect();
//! let mut values = BTreeMap::new();
//! for variable in variables {
//!     let name = variable.name()?;
//!     let mut read = graph.new_operation("ReadVariableOp", &format!("{name}/now"))?;
//!     read.add_input(variable);
//!     read.set_attr_type("dtype", DataType::Float)?;
//!     let read = read.finish()?;
//!     let mut fetched = SessionRunArgs::new();
//!     let value = fetched.request_fetch(&read, 0);
//!     model.session.run(&mut fetched)?;
//!     let value = fetched.fetch::<f32>(value)?;
//!     let elements = value.iter().flat_map(|element| element.to_le_bytes()).collect();
//!     values.insert(name, Tensor { dtype: pb::DataType::DT_FLOAT, shape: value.dims().to_vec(), bytes: elements });
//! }
//!
//! let flat = tf_rewriter::Graph::from_model_bytes(bytes, |name| Ok(values.get(name).cloned()), &options)?;
//! let mut quantized = Vec::new();
//! NaiveQuantizer::new(flat).compress()?.write(&mut quantized)?;
//! # Ok(())
//! # }
//! ```

mod calibrate;
mod data;
mod evaluate;
mod feeds;
mod finetune;
mod fixed;
pub mod labels;
mod library;
mod locate;
mod moments;
mod nodes;
mod quantizers;
mod refused;
mod sensitivity;
mod session;
mod unset;
mod value;

pub use crate::error::{INSTALL, RunError};
pub use calibrate::Calibrator;
pub use data::{Batch, Data};
pub use evaluate::{EvaluateOptions, Evaluator};
pub use feeds::Feeds;
pub use finetune::{Epoch, FinetuneOptions, Finetuner, Loss, Objective, Optimizer};
pub use fixed::Fixed;
pub use library::load;
pub use locate::{Folder, Place, Search, VARIABLE};
pub use moments::MomentsMeter;
pub use quantizers::{DoReFaQuantizer, GraphRef, NaiveQuantizer, QatQuantizer};
pub use sensitivity::{Mix, SensitivityMeter, SensitivityOptions};
pub use session::{Input, Model, RunOptions};
pub use value::Value;

pub use quant_math::evaluation::{Accuracy, Agreement, Entrance, Evaluation, Layer, OutputReport};
