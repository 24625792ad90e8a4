//! Tensors inside a graph, read where they lie.
//!
//! A [`TensorView`] checks dtype, shape and payload against each other without decoding the payload; [`FloatData`] and
//! [`TensorView::int_values`] read it. [`encode_tensor`] writes new ones.

mod broadcast;
mod data;
mod elements;
mod encode;
mod layout;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use broadcast::positions;
pub use data::FloatData;
pub(crate) use elements::{Elements, Source};
pub(crate) use encode::shape_and_type;
pub use encode::{encode_splat, encode_tensor, header};
pub use layout::{dtype_name, dtype_size};
pub(crate) use layout::{float_type, pb_type};
pub use view::{Payload, TensorView};

/// The number of a field of ours in TensorProto, one that TensorFlow does not use: the elements are elsewhere, under the number that stands in it. In
/// memory alone; no file has it.
pub(crate) const MARK: u32 = 15_423;
