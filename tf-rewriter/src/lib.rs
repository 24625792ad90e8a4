//! Quantize TensorFlow graphs.

mod error;
pub mod io;
pub mod pb;
pub mod tensor;
pub mod wire;

pub use error::{At, Error};
