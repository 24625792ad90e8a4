//! From float weights to quantized values and codes.

use crate::quantizers::dorefa;
use crate::weights::{AffineMap, ChannelLayout, Dequant, Storage};
use crate::{Affine, Grid, MathError, Rounding, simd};

/// How the weights of one tensor become quantized values; made by [`observe`](crate::weights::observe).
///
/// The methods take any stretch of the tensor: `offset` is the position of `src`'s first element in storage order, and `dst`
/// is as long as `src` (where it is not, the shorter one decides).
#[derive(Debug, Clone, PartialEq)]
pub enum WeightMap {
    /// Naive and QAT: scale and zero point per tensor or per channel.
    Affine(AffineMap),
    /// DoReFa with 2 to 8 bits.
    DoReFa {
        /// Bits of a code.
        bits: u32,
        /// `max|tanh w|` over the tensor, more than 0.
        max_abs_tanh: f32,
    },
    /// DoReFa with 1 bit.
    Sign {
        /// `E|w|` over the tensor.
        mean_abs: f32,
    },
    /// The weights stay as they are: DoReFa with 32 bits, or with all weights 0.
    Unchanged,
}

impl WeightMap {
    /// A map with the parameters of each channel of `layout`, all on `grid`; see [`AffineMap::new`].
    ///
    /// # Errors
    /// Those of [`AffineMap::new`].
    pub fn affine(
        layout: ChannelLayout,
        grid: Grid,
        rounding: Rounding,
        channels: Vec<Affine>,
    ) -> Result<Self, MathError> {
        AffineMap::new(layout, grid, rounding, channels).map(Self::Affine)
    }

    /// Bits of a code; 32 where the weights stay as they are.
    pub fn bits(&self) -> u32 {
        match self {
            Self::Affine(map) => map.grid().bits(),
            Self::DoReFa { bits, .. } => *bits,
            Self::Sign { .. } => 1,
            Self::Unchanged => 32,
        }
    }

    /// The smallest and the largest scale over the channels. `None` where no scale exists (DoReFa).
    pub fn scale_span(&self) -> Option<(f32, f32)> {
        let Self::Affine(map) = self else { return None };
        let scales = map.channels().iter().map(|affine| affine.scale());
        scales.map(|scale| (scale, scale)).reduce(|(low, high), (scale, _)| (low.min(scale), high.max(scale)))
    }

    /// The quantized weights, as float32.
    pub fn values_into(&self, offset: usize, src: &[f32], dst: &mut [f32]) {
        match self {
            Self::Affine(map) => map.values_into(offset, src, dst),
            Self::DoReFa { bits, max_abs_tanh } => dorefa::weights_into(*bits, *max_abs_tanh, src, dst),
            Self::Sign { mean_abs } => {
                let mean_abs = *mean_abs;
                simd::map(
                    src,
                    dst,
                    #[inline(always)]
                    |x| dorefa::sign(x) * mean_abs,
                );
            }
            Self::Unchanged => simd::zip(src, dst, |_, src, dst| dst.copy_from_slice(src)),
        }
    }

    /// The codes as they are stored in 8 bits: code − stored offset, so that the codes of every grid of at most 8 bits fit.
    ///
    /// The stored offset is 128 for the codes 0 to 255, else 0; [`Dequant`] accounts for it.
    ///
    /// # Errors
    ///
    /// [`MathError::NoCodes`] for more than 8 bits and for weights that stay as they are.
    pub fn codes_into(&self, offset: usize, src: &[f32], dst: &mut [i8]) -> Result<(), MathError> {
        if self.bits() > 8 {
            return Err(MathError::NoCodes { bits: self.bits(), expected: 8 });
        }
        let shift = self.stored_offset(Storage::BYTES);
        #[expect(clippy::cast_possible_truncation, reason = "at most 8 bits, shifted into −128..=127")]
        self.each_code(
            offset,
            src,
            dst,
            #[inline(always)]
            |code| (code - shift) as i8,
        );
        Ok(())
    }

    /// The codes as `storage` has them, as bytes: [`codes_into`](Self::codes_into) for codes of their own bytes; else code − the grid's lowest,
    /// several of which share a byte. `offset` is a multiple of [`Storage::per_byte`], and `dst` as long as [`Storage::bytes`] says.
    ///
    /// # Errors
    ///
    /// [`MathError::NoCodes`] for codes of more bits than `storage` has for them, and for weights that stay as they are.
    pub fn stored_into(&self, storage: Storage, offset: usize, src: &[f32], dst: &mut [u8]) -> Result<(), MathError> {
        if !storage.is_shared() {
            return self.codes_into(offset, src, bytemuck::cast_slice_mut(dst));
        }
        if self.bits() > storage.bits() {
            return Err(MathError::NoCodes { bits: self.bits(), expected: storage.bits() });
        }
        let shift = self.stored_offset(storage);
        let mut codes = vec![0_u8; src.len()];
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 4 bits, counted from the lowest"
        )]
        self.each_code(
            offset,
            src,
            &mut codes,
            #[inline(always)]
            |code| (code - shift) as u8,
        );
        storage.pack(&codes, dst);
        Ok(())
    }

    /// The codes of the grid itself, for every number of bits up to 16.
    ///
    /// DoReFa: `rne(n·u)`, 0 to n, for more than one bit; −1 and 1 for one.
    ///
    /// # Errors
    ///
    /// [`MathError::NoCodes`] for weights that stay as they are.
    pub fn grid_codes_into(&self, offset: usize, src: &[f32], dst: &mut [i32]) -> Result<(), MathError> {
        if matches!(self, Self::Unchanged) {
            return Err(MathError::NoCodes { bits: 32, expected: 16 });
        }
        self.each_code(
            offset,
            src,
            dst,
            #[inline(always)]
            |code| code,
        );
        Ok(())
    }

    /// How the codes of [`codes_into`](Self::codes_into) become values again. `None` where it has none.
    pub fn dequant(&self) -> Option<Dequant> {
        self.dequant_of(Storage::BYTES)
    }

    /// How the codes of [`stored_into`](Self::stored_into), taken out of their bytes, become values again. `None` where it has none.
    pub fn dequant_of(&self, storage: Storage) -> Option<Dequant> {
        if self.bits() > storage.bits() {
            return None;
        }
        let offset = self.stored_offset(storage);
        match self {
            Self::Affine(map) => Some(Dequant::Affine {
                layout: map.layout(),
                scale: map.scale(),
                zero_point: map.zero_point().into_iter().map(|z| z - offset).collect(),
            }),
            Self::DoReFa { bits, .. } => Some(Dequant::DoReFa { levels: dorefa::levels(*bits), offset }),
            Self::Sign { mean_abs } => Some(Dequant::Sign { mean_abs: *mean_abs, zero_point: -offset }),
            Self::Unchanged => None,
        }
    }

    /// What is subtracted from a code before it is stored. In a byte of its own: 128 for the codes 0 to 255, else 0; where codes share bytes:
    /// the lowest code.
    fn stored_offset(&self, storage: Storage) -> i32 {
        match self {
            Self::Affine(map) if storage.is_shared() => map.grid().quant_min(),
            Self::Affine(map) => (map.grid().quant_max() - i32::from(i8::MAX)).max(0),
            Self::DoReFa { bits: 8, .. } => 128,
            Self::Sign { .. } if storage.is_shared() => -1,
            Self::DoReFa { .. } | Self::Sign { .. } | Self::Unchanged => 0,
        }
    }

    #[inline(always)]
    fn each_code<C: Send>(&self, offset: usize, src: &[f32], dst: &mut [C], code: impl Fn(i32) -> C + Copy + Sync) {
        match self {
            Self::Affine(map) => map.codes_into(offset, src, dst, code),
            Self::DoReFa { bits, max_abs_tanh } => dorefa::weight_codes_into(*bits, *max_abs_tanh, src, dst, code),
            Self::Sign { .. } => simd::map(
                src,
                dst,
                #[inline(always)]
                |x| code(simd::small_int(dorefa::sign(x))),
            ),
            Self::Unchanged => {}
        }
    }
}
