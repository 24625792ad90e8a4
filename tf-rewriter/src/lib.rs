//! Quantize TensorFlow graphs.

mod error;

pub use error::{At, Error};
