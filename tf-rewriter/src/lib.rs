#![doc = include_str!("../README.md")]

mod apply;
pub mod bundle;
pub mod codes;
mod emit;
mod error;
mod freeze;
mod graph;
mod index;
pub mod io;
mod mark;
mod ops;
pub mod pb;
mod plan;
mod quantizers;
#[cfg(feature = "run")]
pub mod run;
mod sites;
mod splice;
mod survey;
pub mod tensor;
pub mod text;
mod trainable;
pub mod training;
mod types;
pub mod wire;

pub use apply::Compressed;
pub use bundle::Bundle;
pub use error::{At, Error};
pub use graph::Graph;
pub use quant_math::plan::{Gradient, PlanOptions};
pub use quantizers::{DoReFaQuantizer, NaiveQuantizer, QatQuantizer};
pub use trainable::{Kept, Trainable, TrainableGraph, VARIABLES_INIT};
