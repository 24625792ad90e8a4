//! From stored codes back to values, with nothing but operations that every framework has.

use crate::weights::ChannelLayout;

/// The arithmetic that turns stored codes, each in 8 bits again, into exactly the bits of
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
    /// `(float(code) − float(zero_point)) · mean_abs`.
    Sign {
        /// `E|w|`.
        mean_abs: f32,
        /// The stored code that would mean 0: 0 for codes of their own bytes, 1 for those that share one.
        zero_point: i32,
    },
}

impl Dequant {
    /// What is subtracted from stored codes, as float32: nothing where no code that means 0 is another one than 0; one number where that is
    /// the same in all channels; else one for each. DoReFa's offset is none.
    pub fn zero_points(&self) -> Vec<f32> {
        let all = match self {
            Self::Affine { zero_point, .. } => zero_point.as_slice(),
            Self::Sign { zero_point, .. } => std::slice::from_ref(zero_point),
            Self::DoReFa { .. } => &[],
        };
        let first = all.first().copied().unwrap_or(0);
        let distinct =
            if all.iter().all(|zero_point| *zero_point == first) { all.get(..1).unwrap_or_default() } else { all };
        if distinct.iter().all(|zero_point| *zero_point == 0) {
            return Vec::new();
        }
        distinct.iter().map(|zero_point| small(*zero_point)).collect()
    }

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
            Self::Sign { mean_abs, zero_point } => {
                let zero_point = small(*zero_point);
                codes.iter().zip(dst).for_each(|(c, y)| *y = (f32::from(*c) - zero_point) * mean_abs);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a zero point or offset of 8-bit codes, at most 255 in size")]
fn small(x: i32) -> f32 {
    x as f32
}
