//! What needs a graph to execute: ranges for activations, numbers for accuracy, and training.
//!
//! TensorFlow's own library executes, through the [`tensorflow`] crate. The library is loaded when it is needed ([`load`]); nothing
//! else of this crate needs it.
//!
//! ```text
//! Graph ──session──▶ Model     data ──feeds──▶ Batch     Model × Batch ──▶ calibrate, evaluate, finetune
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
mod nan;
mod nodes;
mod quantizers;
mod session;
mod unset;
mod value;

pub use crate::error::{INSTALL, RunError};
pub use calibrate::Calibrator;
pub use data::{Batch, Data};
pub use evaluate::{Accuracy, Agreement, Entrance, EvaluateOptions, Evaluation, Evaluator, Layer, OutputReport};
pub use feeds::Feeds;
pub use finetune::{Epoch, FinetuneOptions, Finetuner, Loss, Objective, Optimizer};
pub use fixed::Fixed;
pub use library::load;
pub use locate::{Folder, Place, Search, VARIABLE};
pub use quantizers::{DoReFaQuantizer, GraphRef, NaiveQuantizer, QatQuantizer};
pub use session::{Input, Model, RunOptions};
pub use value::Value;
