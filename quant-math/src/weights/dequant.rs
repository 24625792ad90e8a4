//! From stored codes back to values, with nothing but operations that every framework has.

use crate::weights::ChannelLayout;

/// The arithmetic that turns stored 8-bit codes into exactly the bits of
/// [`WeightMap::values_into`](crate::weights::WeightMap::values_into).
///
/// Every step is one float32 operation, in the order written; the conversion of a code to float32 is exact.
#[derive(Debug, Clone, PartialEq)]
pub enum Dequant {
    /// `(float(code) − float(zero_point)) · scale`, with the parameters of the element's channel.
    Affine {
        /// Where the channels lie.
        layout: ChannelLayout,
        /// The scale of each channel.
        scale: Vec<f32>,
        /// The stored code of each channel that means 0.
        zero_point: Vec<i32>,
    },
    /// `2 · ((float(code) + float(offset)) / levels) − 1`.
    DoReFa {
        /// `n = 2^k − 1`.
        levels: f32,
        /// Added to a stored code: 128 for 8 bits, else 0.
        offset: i32,
    },
    /// `float(code) · mean_abs`.
    Sign {
        /// `E|w|`.
        mean_abs: f32,
    },
}

impl Dequant {
    /// The values of the stored codes `codes`, the first of which is element `offset` of the tensor; `dst` is as long as
    /// `codes` (where it is not, the shorter one decides).
    pub fn values_into(&self, offset: usize, codes: &[i8], dst: &mut [f32]) {
        match self {
            Self::Affine { layout, scale, zero_point } => {
                for (i, (code, y)) in codes.iter().zip(dst).enumerate() {
                    let channel = layout.channel(offset + i);
                    let (Some(scale), Some(zero_point)) = (scale.get(channel), zero_point.get(channel)) else { return };
                    *y = (f32::from(*code) - small(*zero_point)) * scale;
                }
            }
            Self::DoReFa { levels, offset } => {
                let offset = small(*offset);
                codes.iter().zip(dst).for_each(|(c, y)| *y = 2.0 * ((f32::from(*c) + offset) / levels) - 1.0);
            }
            Self::Sign { mean_abs } => codes.iter().zip(dst).for_each(|(c, y)| *y = f32::from(*c) * mean_abs),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a zero point or offset of 8-bit codes, at most 255 in size")]
fn small(x: i32) -> f32 {
    x as f32
}
