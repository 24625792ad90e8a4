//! Quantize TorchScript archives: what `torch.jit.save` writes goes in, what `torch.jit.load` reads comes out.
//!
//! ```text
//! archive (zip) ──▶ pickle (values, spans) ──▶ tensors ─┐
//!        └────────▶ code (class text) ────────▶ sites ──┴▶ plan ──▶ emit ──▶ archive edits
//! ```
//!
//! Nothing of a model is executed: pickles are walked as data and class text is read as text.

#![forbid(unsafe_code)]

pub mod code;
pub mod error;

pub use error::{At, Error};
