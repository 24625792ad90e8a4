//! Tensors inside a graph, read where they lie.
//!
//! A [`TensorView`] checks dtype, shape and payload against each other without decoding the payload; [`FloatData`] and
//! [`TensorView::int_values`] read it. [`encode_tensor`] writes new ones.

mod data;
mod encode;
mod layout;
#[cfg(test)]
mod tests;
mod view;

pub use data::FloatData;
pub use encode::{encode_splat, encode_tensor, header};
pub use layout::{dtype_name, dtype_size};
pub(crate) use layout::{float_type, pb_type};
pub use view::{Payload, TensorView};
