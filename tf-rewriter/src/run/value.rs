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
            pub(crate) fn to_stored(&self) -> crate::bundle::Tensor {
                let dtype = match self { $(Self::$variant(_) => crate::pb::DataType::$pb,)* };
                crate::bundle::Tensor { dtype, shape: self.shape().to_vec(), bytes: self.bytes().into_owned() }
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

impl Value {
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
