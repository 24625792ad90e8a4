//! Quantize TensorFlow graphs.

mod error;
pub mod pb;

pub use error::{At, Error};
