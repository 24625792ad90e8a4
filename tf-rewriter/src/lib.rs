//! Quantize TensorFlow graphs.

mod error;
pub mod io;
pub mod pb;
pub mod tensor;
pub mod text;
pub mod wire;

pub use error::{At, Error};
