//! Weights of any quantizer: observe the float values once, then map them, chunk by chunk.
//!
//! ```text
//! Settings + ChannelLayout + WeightData ──observe──▶ WeightMap ──▶ values (float32) or codes (one, two or four a byte)
//! ```

mod abs_sum;
mod affine_map;
mod alike;
mod dequant;
mod floor;
mod map;
mod measure;
mod observe;
mod spread;
mod storage;
mod stream;
#[cfg(feature = "ndarray")]
mod view;

pub use affine_map::AffineMap;
pub use alike::{Look, Seen, Way, look_once};
pub use dequant::Dequant;
pub use floor::{Biases, LEAST_OF_BIAS, LEAST_OF_LARGEST, has_floor, least_width_of_bias, weight_ranges};
pub use map::WeightMap;
pub use measure::{Form, measure};
pub use observe::{observe, observe_beside, observe_ranges, observe_with_spread};
pub use spread::channel_spread;
pub use storage::Storage;
pub use stream::{Errors, WeightStream};
#[cfg(feature = "ndarray")]
pub use view::{Element, codes_view, fake_quant_view, observe_view};

use abs_sum::mean_abs;

pub use crate::layout::ChannelLayout;
pub use crate::simd::CHUNK;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod width_tests;
