//! Weights of any quantizer: observe the float values once, then map them, chunk by chunk.
//!
//! ```text
//! Settings + ChannelLayout + WeightData ──observe──▶ WeightMap ──▶ values (float32) or codes (int8)
//! ```

mod affine_map;
mod dequant;
mod layout;
mod map;
mod observe;

pub use affine_map::AffineMap;
pub use dequant::Dequant;
pub use layout::ChannelLayout;
pub use map::WeightMap;
pub use observe::{CHUNK, observe};

#[cfg(test)]
mod tests;
