//! Tensors whose element type is known at run time only.

use half::f16;
use tensorflow::{DataType, FetchToken, Operation, SessionRunArgs, Tensor};

macro_rules! values {
    ($($variant:ident $rust:ident, $dtype:ident, $pb:ident, $descr:literal;)*) => {
        /// A tensor of one of the element types that data files and model inputs have.
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub enum Value {
            $(#[doc = concat!("Elements of type `", stringify!($rust), "`.")] $variant(Tensor<$rust>),)*
        }

        impl Value {
            /// The element type.
            pub fn dtype(&self) -> DataType {
                match self { $(Self::$variant(_) => DataType::$dtype,)* }
            }

            /// The tensor as a checkpoint has it.
            pub(crate) fn to_stored(&self) -> crate::graphdef::bundle::Tensor {
                let dtype = match self { $(Self::$variant(_) => crate::graphdef::pb::DataType::$pb,)* };
                crate::graphdef::bundle::Tensor { dtype, shape: self.shape().to_vec(), bytes: self.bytes().into_owned() }
            }

            /// The dimensions, outermost first.
            pub fn shape(&self) -> &[u64] {
                match self { $(Self::$variant(tensor) => tensor.dims(),)* }
            }

            /// A tensor of a NumPy type without its byte order (`f4`) from its little-endian elements; `None` where the type is none
            /// of these, or the bytes are not as many as the shape says.
            pub(crate) fn from_bytes(descr: &str, shape: &[u64], bytes: &[u8]) -> Option<Self> {
                match descr { $($descr => {
                    let mut tensor = Tensor::<$rust>::new(shape);
                    if size_of_val::<[$rust]>(&tensor) != bytes.len() {
                        return None;
                    }
                    values!(@fill $rust, tensor, bytes);
                    Some(Self::$variant(tensor))
                })* _ => None }
            }

            /// The elements, little-endian.
            pub fn bytes(&self) -> std::borrow::Cow<'_, [u8]> {
                match self { $(Self::$variant(tensor) => values!(@bytes $rust, tensor),)* }
            }

            /// Whether arrays of a NumPy type without its byte order are read.
            pub(crate) fn reads(descr: &str) -> bool {
                matches!(descr, $($descr)|*)
            }

            /// The NumPy type of an element type, without its byte order.
            pub(crate) fn descr(dtype: DataType) -> Option<&'static str> {
                match dtype { $(DataType::$dtype => Some($descr),)* _ => None }
            }

            pub(crate) fn feed<'a>(&'a self, run: &mut SessionRunArgs<'a>, op: &Operation, port: i32) {
                match self { $(Self::$variant(tensor) => run.add_feed(op, port, tensor),)* }
            }

            pub(crate) fn fetch(run: &mut SessionRunArgs<'_>, token: FetchToken, dtype: DataType) -> tensorflow::Result<Option<Self>> {
                Ok(match dtype { $(DataType::$dtype => Some(Self::$variant(run.fetch(token)?)),)* _ => None })
            }

            /// The elements as float64, for what is compared or looked at.
            pub fn to_f64(&self) -> Vec<f64> {
                match self { $(Self::$variant(tensor) => tensor.iter().map(|x| values!(@f64 $rust, *x)).collect(),)* }
            }

            /// The elements, each exactly.
            pub(crate) fn numbers(&self) -> Box<dyn Iterator<Item = Number> + '_> {
                match self { $(Self::$variant(tensor) => Box::new(tensor.iter().map(|x| values!(@number $rust, *x))),)* }
            }

            /// A tensor of a type from its elements, in float types the nearest of each; `Ok(None)` where the type is none of these.
            ///
            /// # Errors
            /// The position of the first element that has no value there.
            pub(crate) fn from_numbers(
                dtype: DataType,
                shape: &[u64],
                numbers: &mut dyn Iterator<Item = Number>,
            ) -> Result<Option<Self>, (usize, Number)> {
                match dtype { $(DataType::$dtype => {
                    let mut tensor = Tensor::<$rust>::new(shape);
                    for (at, (to, number)) in tensor.iter_mut().zip(numbers).enumerate() {
                        *to = values!(@taken $rust, number).ok_or((at, number))?;
                    }
                    Ok(Some(Self::$variant(tensor)))
                })* _ => Ok(None) }
            }

            /// The elements as float32.
            pub fn to_f32(&self) -> std::borrow::Cow<'_, [f32]> {
                match self {
                    Self::F32(tensor) => std::borrow::Cow::Borrowed(tensor),
                    #[expect(clippy::cast_possible_truncation, reason = "what is compared is compared in float32")]
                    other => other.to_f64().into_iter().map(|x| x as f32).collect(),
                }
            }
        }
    };
    (@bytes bool, $tensor:ident) => { $tensor.iter().map(|x| u8::from(*x)).collect() };
    (@bytes $rust:ident, $tensor:ident) => { std::borrow::Cow::Borrowed(bytemuck::cast_slice::<$rust, u8>($tensor)) };
    (@fill bool, $tensor:ident, $bytes:ident) => { $tensor.iter_mut().zip($bytes).for_each(|(to, from)| *to = *from != 0) };
    (@fill $rust:ident, $tensor:ident, $bytes:ident) => { bytemuck::cast_slice_mut::<$rust, u8>(&mut $tensor).copy_from_slice($bytes) };
    (@number bool, $x:expr) => { Number::Whole($x.into()) };
    (@number f16, $x:expr) => { Number::Real($x.into()) };
    (@number f32, $x:expr) => { Number::Real($x.into()) };
    (@number f64, $x:expr) => { Number::Real($x) };
    (@number $rust:ident, $x:expr) => { Number::Whole($x.into()) };
    (@taken bool, $number:expr) => { $number.whole().and_then(|x| match x { 0 => Some(false), 1 => Some(true), _ => None }) };
    (@taken f16, $number:expr) => { $number.real(|x| f16::from_f64(x).into()).map(f16::from_f64) };
    (@taken f32, $number:expr) => { $number.real(|x| f64::from(single(x))).map(single) };
    (@taken f64, $number:expr) => { $number.real(|x| x) };
    (@taken $rust:ident, $number:expr) => { $number.whole().and_then(|x| <$rust>::try_from(x).ok()) };
    (@f64 bool, $x:expr) => { f64::from(u8::from($x)) };
    (@f64 f64, $x:expr) => { $x };
    (@f64 i64, $x:expr) => { wide($x.into()) };
    (@f64 u64, $x:expr) => { wide($x.into()) };
    (@f64 $rust:ident, $x:expr) => { f64::from($x) };
}

values! {
    Bool bool, Bool, DT_BOOL, "b1";
    F16 f16, Half, DT_HALF, "f2";
    F32 f32, Float, DT_FLOAT, "f4";
    F64 f64, Double, DT_DOUBLE, "f8";
    I8 i8, Int8, DT_INT8, "i1";
    I16 i16, Int16, DT_INT16, "i2";
    I32 i32, Int32, DT_INT32, "i4";
    I64 i64, Int64, DT_INT64, "i8";
    U8 u8, UInt8, DT_UINT8, "u1";
    U16 u16, UInt16, DT_UINT16, "u2";
    U32 u32, UInt32, DT_UINT32, "u4";
    U64 u64, UInt64, DT_UINT64, "u8";
}

/// An element of any type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// A bool is 0 or 1.
    Whole(i128),
    Real(f64),
}

impl Number {
    /// As a whole number, if it is one.
    fn whole(self) -> Option<i128> {
        match self {
            Self::Whole(x) => Some(x),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "checked to be whole, and beyond 64 bits no type takes it"
            )]
            Self::Real(x) => (x.fract().abs() <= 0.0 && x.abs() < 1e20).then_some(x as i128),
        }
    }

    /// As what is left of it when `round` made it a shorter number: a real number is rounded, but never to infinity; a whole number
    /// must stay what it is.
    fn real(self, round: impl Fn(f64) -> f64) -> Option<f64> {
        match self {
            Self::Whole(x) => {
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    reason = "checked on the way back"
                )]
                let (wide, back) = (x as f64, round(x as f64) as i128);
                (back == x).then_some(wide)
            }
            Self::Real(x) => (!x.is_finite() || round(x).is_finite()).then_some(x),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(x) => x.fmt(f),
            Self::Real(x) => x.fmt(f),
        }
    }
}

/// The nearest float32.
fn single(x: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "this is the rounding")]
    let single = x as f32;
    single
}

impl Value {
    /// The same numbers in another type, as TensorFlow's own feed takes them: real numbers are rounded to the nearest of a shorter
    /// float type, and what would become another number (a fraction as an integer, 300 as a uint8, 1e300 as a float32) is refused.
    /// `Ok(None)` where the type is none of these.
    ///
    /// # Errors
    /// The position and the number.
    pub(crate) fn converted(self, dtype: DataType) -> Result<Option<Self>, (usize, Number)> {
        if self.dtype() == dtype {
            return Ok(Some(self));
        }
        Self::from_numbers(dtype, self.shape(), &mut self.numbers())
    }

    /// The same elements in other dimensions.
    pub(crate) fn reshaped(&self, shape: &[u64]) -> Option<Self> {
        Self::from_bytes(Self::descr(self.dtype())?, shape, &self.bytes())
    }

    /// The position of the first NaN or infinity, and which it is.
    pub(crate) fn first_not_finite(&self) -> Option<(usize, f64)> {
        match self {
            Self::F16(tensor) => {
                tensor.iter().enumerate().find(|(_, x)| !x.is_finite()).map(|(at, x)| (at, f64::from(*x)))
            }
            Self::F32(tensor) => {
                tensor.iter().enumerate().find(|(_, x)| !x.is_finite()).map(|(at, x)| (at, f64::from(*x)))
            }
            Self::F64(tensor) => tensor.iter().enumerate().find(|(_, x)| !x.is_finite()).map(|(at, x)| (at, *x)),
            _ => None,
        }
    }

    /// The position of the first NaN.
    pub(crate) fn first_nan(&self) -> Option<usize> {
        match self {
            Self::F16(tensor) => tensor.iter().position(|x| x.is_nan()),
            Self::F32(tensor) => tensor.iter().position(|x| x.is_nan()),
            Self::F64(tensor) => tensor.iter().position(|x| x.is_nan()),
            _ => None,
        }
    }
}

/// Labels and indices, which are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "labels and indices are far below 2^53")]
fn wide(x: i128) -> f64 {
    x as f64
}

/// The dimensions of an input, for a person.
pub(super) fn dims(shape: Option<&[Option<i64>]>) -> String {
    match shape {
        None => "any shape".to_owned(),
        Some([]) => "a single number".to_owned(),
        Some(dims) => {
            let dim = |dim: &Option<i64>| dim.map_or("?".to_owned(), |dim| dim.to_string());
            format!("[{}]", dims.iter().map(dim).collect::<Vec<_>>().join(", "))
        }
    }
}

impl Value {
    /// Whether its elements are floating-point numbers.
    pub(super) fn is_float(&self) -> bool {
        matches!(self, Self::F16(_) | Self::F32(_) | Self::F64(_))
    }

    /// The same for a comparison, beside its elements as float32.
    pub(super) fn compared<'a>(&'a self, values: &'a [f32]) -> quant_math::evaluation::Tensor<'a> {
        quant_math::evaluation::Tensor { shape: self.shape(), values, is_float: self.is_float() }
    }
}
