//! Quantize TorchScript archives: what `torch.jit.save` writes goes in, what `torch.jit.load` reads comes out.
//!
//! ```text
//! archive (zip) ──▶ pickle (values, spans) ──▶ tensors ─┐
//!        └────────▶ code (class text) ────────▶ sites ──┴▶ plan ──▶ emit ──▶ archive edits
//! ```
//!
//! Nothing of a model is executed: pickles are walked as data and class text is read as text. [`run`] has a Python on this machine execute it,
//! where that is asked for.
//!
//! The feature `cli`, on by default, brings the binary; without it nothing of a terminal is built.

pub mod codes;
pub mod error;
mod find;
pub mod limits;
mod plan;
mod prepare;
mod quantizers;
mod rewrite;
pub mod run;
mod survey;
mod torchscript;

pub use error::{At, Error, RunError};
pub use find::model::Model;
pub use find::sites;
pub use limits::Limits;
pub use quant_math::fold::{Fold, FoldDecision, Folded};
pub use quant_math::plan::PlanOptions;
pub use quantizers::{DoReFaQuantizer, LsqQuantizer, NaiveQuantizer, QatQuantizer};
pub use rewrite::apply::write::Compressed;
pub use rewrite::observe::{Counting, SAMPLED};
pub use torchscript::{archive, code, pickle, tensors};
