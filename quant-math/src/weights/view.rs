//! The same for `ndarray` views: any float type, any strides.

use std::borrow::Cow;

use half::{bf16, f16};
use ndarray::{ArrayD, ArrayViewD};

use crate::data::narrow;
use crate::plan::Settings;
use crate::weights::{ChannelLayout, WeightMap, observe};
use crate::{DType, MathError};

/// An element type that can be quantized. All arithmetic is float32, as [`WeightData`](crate::WeightData) says.
pub trait Element: Copy + Send + Sync + sealed::Sealed + 'static {
    /// The same as a value.
    const DTYPE: DType;

    /// Exact, or rounded to nearest even from float64.
    fn to_f32(self) -> f32;

    /// Rounded to nearest even where the type is narrower.
    fn from_f32(value: f32) -> Self;

    /// The slice itself where the type is float32.
    fn floats(slice: &[Self]) -> Option<&[f32]> {
        let _ = slice;
        None
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;

    fn to_f32(self) -> f32 {
        self
    }

    fn from_f32(value: f32) -> Self {
        value
    }

    fn floats(slice: &[Self]) -> Option<&[f32]> {
        Some(slice)
    }
}

impl Element for f64 {
    const DTYPE: DType = DType::F64;

    fn to_f32(self) -> f32 {
        narrow(self)
    }

    fn from_f32(value: f32) -> Self {
        value.into()
    }
}

impl Element for f16 {
    const DTYPE: DType = DType::F16;

    fn to_f32(self) -> f32 {
        self.into()
    }

    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl Element for bf16 {
    const DTYPE: DType = DType::BF16;

    fn to_f32(self) -> f32 {
        self.into()
    }

    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// [`observe`] for a view; one scale per index of `settings.channel_axis`, where that is set.
///
/// Positions in errors count in logical (row-major) order, whatever the strides are.
///
/// # Errors
/// Those of [`observe`], and [`MathError::Axis`] for a channel axis that the view does not have.
///
/// ```
/// use ndarray::array;
/// use quant_math::plan::{Quantizer, Settings};
/// use quant_math::weights::observe_view;
///
/// let weights = array![[0.5_f32, -1.0], [2.0, 0.25]].into_dyn();
/// let settings = Settings { channel_axis: Some(0), ..Settings::new(Quantizer::Naive, 8) };
/// let map = observe_view(&settings, &weights.view())?;
/// assert_eq!(map.scale_span(), Some((1.0 / 127.0, 2.0 / 127.0)));
/// # Ok::<(), quant_math::MathError>(())
/// ```
pub fn observe_view<T: Element>(settings: &Settings, view: &ArrayViewD<'_, T>) -> Result<WeightMap, MathError> {
    observe_floats(settings, view.shape(), &floats(view))
}

/// The quantized values of a view, as an array of its shape and type in row-major order.
///
/// # Errors
/// Those of [`observe_view`].
///
/// ```
/// use ndarray::array;
/// use quant_math::plan::{Quantizer, Settings};
/// use quant_math::weights::fake_quant_view;
///
/// let weights = array![1.0_f64, 0.2, -0.4].into_dyn();
/// let values = fake_quant_view(&Settings::new(Quantizer::Naive, 2), &weights.view())?;
/// assert_eq!(values, array![1.0, 0.0, 0.0].into_dyn());
/// # Ok::<(), quant_math::MathError>(())
/// ```
pub fn fake_quant_view<T: Element>(settings: &Settings, view: &ArrayViewD<'_, T>) -> Result<ArrayD<T>, MathError> {
    let data = floats(view);
    let map = observe_floats(settings, view.shape(), &data)?;
    let mut values = vec![0.0; data.len()];
    map.values_into(0, &data, &mut values);
    array(view.shape(), values.into_iter().map(T::from_f32).collect())
}

/// The codes of a view, on the grid itself, as an array of its shape in row-major order, and the map that explains them.
///
/// # Errors
/// Those of [`observe_view`], and [`MathError::NoCodes`] where the weights stay as they are.
///
/// ```
/// use ndarray::array;
/// use quant_math::plan::{Quantizer, Settings};
/// use quant_math::weights::codes_view;
///
/// let weights = array![1.0_f32, 0.2, -0.4].into_dyn();
/// let (codes, map) = codes_view(&Settings::new(Quantizer::Naive, 8), &weights.view())?;
/// assert_eq!(codes, array![127, 25, -51].into_dyn());
/// assert_eq!(map.scale_span(), Some((1.0 / 127.0, 1.0 / 127.0)));
/// # Ok::<(), quant_math::MathError>(())
/// ```
pub fn codes_view<T: Element>(
    settings: &Settings,
    view: &ArrayViewD<'_, T>,
) -> Result<(ArrayD<i32>, WeightMap), MathError> {
    let data = floats(view);
    let map = observe_floats(settings, view.shape(), &data)?;
    let mut codes = vec![0; data.len()];
    map.grid_codes_into(0, &data, &mut codes)?;
    Ok((array(view.shape(), codes)?, map))
}

fn observe_floats(settings: &Settings, shape: &[usize], data: &[f32]) -> Result<WeightMap, MathError> {
    let layout = match settings.channel_axis {
        Some(axis) => ChannelLayout::per_channel(shape, axis)?,
        None => ChannelLayout::per_tensor(data.len()),
    };
    observe(settings, layout, data)
}

/// All elements in logical order; borrowed where they are float32 and lie so.
fn floats<'a, T: Element>(view: &'a ArrayViewD<'_, T>) -> Cow<'a, [f32]> {
    match view.as_slice().and_then(T::floats) {
        Some(floats) => Cow::Borrowed(floats),
        None => view.iter().map(|x| x.to_f32()).collect(),
    }
}

fn array<T>(shape: &[usize], elements: Vec<T>) -> Result<ArrayD<T>, MathError> {
    let found = elements.len();
    // The view had this shape and as many elements.
    ArrayD::from_shape_vec(shape, elements).map_err(|_| MathError::Layout { expected: shape.iter().product(), found })
}
