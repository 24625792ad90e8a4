//! Apply: a plan and a model in, a quantized archive out.
//!
//! ```text
//! Plan ──▶ one wrap per site (naive, qat, dorefa) ──editor──▶ changes per object ──rewrite──▶ texts and classes
//!                                                     └──────▶ new attributes ──────────────▶ pickle splices, records
//! ```

mod apply;
mod calls;
mod class_edit;
mod compressed;
mod copy;
mod dorefa;
mod editor;
mod fake_quant;
mod freeze;
mod freeze_plan;
mod function;
mod index;
pub(crate) mod library;
mod naive;
mod names;
mod observer;
mod output;
mod packed;
pub(crate) mod packed_lists;
mod qat;
mod read_back;
mod rewrite;
mod stem;
mod stream;
mod thaw;
mod value;
mod weights;

pub use compressed::Compressed;
pub(crate) use observer::Observer;
pub(crate) use value::CPU;
pub(crate) use weights::bytes;
