//! Apply: a plan and a model in, a quantized archive out.
//!
//! ```text
//! Plan ──▶ one wrap per site (naive, qat, dorefa) ──editor──▶ changes per object ──rewrite──▶ texts and classes
//!                                                     └──────▶ new attributes ──────────────▶ pickle splices, records
//! ```

mod class_edit;
mod dorefa;
mod editor;
mod fake_quant;
pub mod library;
mod naive;
mod qat;
mod rewrite;
mod value;
