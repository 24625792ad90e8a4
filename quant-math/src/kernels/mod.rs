//! Fake-quant kernels of the frameworks, each named after op and version: the same bits, element for element.
//!
//! There is no unnamed fake-quant. On the same data the kernels here differ by a whole step in places: TensorFlow rounds ties
//! up, PyTorch to even; TensorFlow's `Vars` divides where its `Args` and `PerChannel` multiply by an inverse.

pub mod tensorflow;
pub mod torch;

#[cfg(test)]
mod width_tests;
