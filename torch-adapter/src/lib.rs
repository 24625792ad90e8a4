//! Quantize TorchScript archives: what `torch.jit.save` writes goes in, what `torch.jit.load` reads comes out.
//!
//! ```text
//! archive (zip) ──▶ pickle (values, spans) ──▶ tensors ─┐
//!        └────────▶ code (class text) ────────▶ sites ──┴▶ plan ──▶ emit ──▶ archive edits
//! ```
//!
//! Nothing of a model is executed: pickles are walked as data and class text is read as text.
//!
//! The feature `cli`, on by default, brings the binary; without it nothing of a terminal is built.

mod agree;
pub mod archive;
mod by_name;
pub mod code;
pub mod codes;
mod emit;
pub mod error;
mod expand;
mod heap_reader;
pub mod limits;
mod mark;
mod model;
pub mod pickle;
mod plan;
mod quantizers;
mod readers;
pub mod sites;
mod storable;
mod survey;
pub mod tensors;
mod uses;

pub use emit::Compressed;
pub use error::{At, Error};
pub use limits::Limits;
pub use model::Model;
pub use quant_math::plan::PlanOptions;
pub use quantizers::{DoReFaQuantizer, NaiveQuantizer, QatQuantizer};
