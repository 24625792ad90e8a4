//! Functions of the language and of `torch` that hand a tensor or an object on.

use std::sync::Arc;

use quant_math::weights::Storage;

use super::axes::View;
use super::value::{Elements, How, Made, Value, Weight};
use crate::find::injected::{HALVES, QUARTERS};
use crate::torchscript::code::ExprId;
use crate::torchscript::heap::ObjectId;

/// How the codes are stored that a function of the library separates.
pub(super) fn separates(path: &str) -> Option<Storage> {
    match path {
        HALVES => Some(Storage::HALVES),
        QUARTERS => Some(Storage::QUARTERS),
        _ => None,
    }
}

/// A builtin that needs the walker.
pub(super) enum Special {
    /// `getattr(object, "name")`.
    GetAttribute(ObjectId, Arc<str>),
    /// `fork(callee, …)`.
    Fork,
    /// A fake-quantization op of the framework.
    Quantize,
    /// The first argument as a view or a part; a list of parts where `list` says so.
    View { view: View, list: bool },
    /// It computes with its arguments.
    Reads(Box<Value>),
}

/// Functions of `torch` that ask about a tensor and read none of its elements.
pub(super) const ASKS: &[&str] = &[
    "__is__",
    "__isnot__",
    "dim",
    "element_size",
    "empty_like",
    "full_like",
    "get_device",
    "is_complex",
    "is_contiguous",
    "is_floating_point",
    "is_same_size",
    "len",
    "new_empty",
    "new_full",
    "new_ones",
    "new_zeros",
    "numel",
    "ones_like",
    "rand_like",
    "randn_like",
    "size",
    "stride",
    "sym_size",
    "zeros_like",
];

/// `torch.to`'s numbers of the floating-point types (`c10::ScalarType`): half, float, double, bfloat16.
const FLOATS: [i64; 4] = [5, 6, 7, 15];

/// Functions of a tensor that give a tensor with elements of the same kind.
const SAME: &[&str] = &[
    "abs",
    "adaptive_max_pool2d",
    "clamp",
    "clamp_",
    "clamp_max",
    "clamp_min",
    "constant_pad_nd",
    "copy_",
    "cumsum",
    "dropout",
    "dropout_",
    "flip",
    "gather",
    "index",
    "index_select",
    "masked_fill",
    "masked_fill_",
    "narrow",
    "neg",
    "pad",
    "pixel_shuffle",
    "pow",
    "reflection_pad2d",
    "repeat",
    "replication_pad2d",
    "roll",
    "square",
    "sum",
    "tile",
    "tril",
    "triu",
    "zeros_like",
    "ones_like",
];

/// Functions that give a tensor of floats, whatever tensor they get.
const FLOAT: &[&str] = &[
    "cos",
    "erf",
    "exp",
    "feature_dropout",
    "instance_norm",
    "group_norm",
    "log",
    "log_softmax",
    "rsqrt",
    "sin",
    "sqrt",
    "std",
    "var",
    "upsample_bilinear2d",
    "upsample_nearest2d",
    "upsample_bicubic2d",
    "layer_norm",
    "softmax",
    "norm",
];

/// The value of a call of `path`, or what the walker must do for it.
pub(super) fn call(path: &str, arguments: &[(ExprId, Value)]) -> Result<Value, Special> {
    let argument = |index: usize| arguments.get(index).map_or(&Value::Unknown, |(_, value)| value);
    let number = |index: usize| match argument(index) {
        Value::Int(number) => Some(*number),
        _ => None,
    };
    let view = |view: Option<View>| Special::View { view: view.unwrap_or(View::Other), list: false };
    Ok(match path {
        "getattr" => match (argument(0), argument(1)) {
            (Value::Object(object), Value::Str(name)) => return Err(Special::GetAttribute(*object, Arc::clone(name))),
            _ => Value::Unknown,
        },
        "fork" => return Err(Special::Fork),
        "uninitialized" => Value::Never,
        "unchecked_cast" | "annotate" => match argument(0) {
            Value::Path(ty) => argument(1).clone().declared(ty, Elements::Unknown),
            _ => argument(1).clone(),
        },
        "torch.to" | "torch._to_copy" => match (argument(0), argument(1)) {
            (Value::Result(call, elements), Value::Int(code)) if FLOATS.contains(code) => {
                Value::Result(*call, elements.to_float())
            }
            (Value::Tensor(elements), Value::Int(code)) if FLOATS.contains(code) => Value::Tensor(elements.to_float()),
            (Value::Quantized(elements), Value::Int(code)) if FLOATS.contains(code) => {
                Value::Quantized(Some(elements.map_or(Elements::Float, Elements::to_float)))
            }
            (Value::Tensor(_) | Value::Result(..) | Value::Quantized(_), Value::Int(_)) => {
                Value::Tensor(Elements::Unknown)
            }
            (tensor, _) => hand_on(tensor),
        },
        "ops.prim.unchecked_unwrap_optional"
        | "ops.prim.data"
        | "torch.detach"
        | "torch.contiguous"
        | "torch.alias"
        | "torch.clone"
        | "torch.type_as"
        | "torch.float"
        | "torch.half"
        | "torch.double"
        | "torch.requires_grad_" => hand_on(argument(0)),
        "torch.t" => return Err(view(Some(View::Swap(0, -1)))),
        "torch.mT" | "torch.mH" | "torch.adjoint" => return Err(view(Some(View::Swap(-2, -1)))),
        "torch.numpy_T" | "torch.matrix_H" => return Err(view(Some(View::Reverse))),
        "torch.transpose" | "torch.swapaxes" | "torch.swapdims" => {
            return Err(view(number(1).zip(number(2)).map(|(first, second)| View::Swap(first, second))));
        }
        "torch.permute" => return Err(view(numbers(argument(1)).map(View::Permute))),
        "torch.unsqueeze" => return Err(view(number(1).map(View::Insert))),
        "torch.select" => return Err(view(number(1).map(View::Remove))),
        "torch.slice" | "torch.narrow" | "torch.index_select" => return Err(view(Some(View::Cut))),
        "torch.view" | "torch.reshape" | "torch.flatten" | "torch.squeeze" | "torch.expand" => return Err(view(None)),
        "torch.unbind" => {
            let axis = if arguments.len() < 2 { Some(0) } else { number(1) };
            return Err(Special::View { view: axis.map_or(View::Other, View::Remove), list: true });
        }
        "torch.chunk"
        | "torch.split"
        | "torch.split_with_sizes"
        | "torch.tensor_split"
        | "torch.hsplit"
        | "torch.vsplit"
        | "torch.unsafe_chunk"
        | "torch.unsafe_split"
        | "torch.unsafe_split_with_sizes" => return Err(Special::View { view: View::Cut, list: true }),
        "torch.fake_quantize_per_tensor_affine" | "torch.fake_quantize_per_channel_affine" | "torch.dequantize" => {
            return Err(Special::Quantize);
        }
        "isinstance" => Value::Unknown,
        _ if path.starts_with("ops.prim.") => Value::Unknown,
        _ => {
            let name = path.strip_prefix("torch.");
            let value = name.map_or(Value::Unknown, |name| tensor(name, arguments));
            return if name.is_some_and(|name| ASKS.contains(&name)) {
                Ok(value)
            } else {
                Err(Special::Reads(Box::new(value)))
            };
        }
    })
}

/// The numbers of a list.
pub(super) fn numbers(list: &Value) -> Option<Vec<i64>> {
    let Value::List(items) = list else { return None };
    let number = |item: &Value| match item {
        Value::Int(number) => Some(*number),
        _ => None,
    };
    items.iter().map(number).collect()
}

/// The same tensor, whatever copies or casts are between.
fn hand_on(value: &Value) -> Value {
    match value {
        Value::Result(..)
        | Value::Made(_)
        | Value::AnyWeight(_)
        | Value::Weight(_)
        | Value::Quantized(_)
        | Value::Tensor(_) => value.clone(),
        _ => Value::Unknown,
    }
}

/// What another function of `torch` gives.
fn tensor(name: &str, arguments: &[(ExprId, Value)]) -> Value {
    let first = arguments.first().map(|(_, value)| value);
    match first.and_then(Value::activation) {
        Some(elements) if SAME.contains(&name) => return Value::Tensor(elements.of_any_sign()),
        // With a dimension these have two results, of which the second one is indices.
        Some(elements) if matches!(name, "max" | "min" | "amax" | "amin") => {
            let value = Value::Tensor(elements.of_any_sign());
            let both = arguments.len() > 1 && matches!(name, "max" | "min");
            return if both { Value::List([value, Value::Unknown].into()) } else { value };
        }
        Some(_) if FLOAT.contains(&name) => return Value::Tensor(Elements::Float),
        _ => {}
    }
    made(name, arguments).map_or(Value::Unknown, Value::Made)
}

/// What is computed of tensors of the model and numbers alone.
fn made(name: &str, arguments: &[(ExprId, Value)]) -> Option<Made> {
    let mut products: Vec<usize> = Vec::new();
    let mut of: Vec<Weight> = Vec::new();
    let mut hows = Vec::new();
    for (_, value) in arguments {
        match value {
            Value::Int(_) | Value::Float | Value::None => {}
            Value::Weight(weight) => {
                hows.push(None);
                of.push(weight.clone());
            }
            Value::Made(made) => {
                hows.push(Some(&made.how));
                of.extend(made.of.iter().cloned());
                products.extend(made.products.iter());
            }
            _ => return None,
        }
    }
    let how = match (name.trim_end_matches('_'), hows.as_slice()) {
        (_, []) => return None,
        (
            "mul" | "div" | "true_divide",
            [Some(How::Product)] | [Some(How::Product), None] | [None, Some(How::Product)],
        ) => How::Product,
        ("add" | "sub", [None, Some(How::Product)] | [Some(How::Product), None]) => How::LowRankSum,
        _ => How::Call(name.into()),
    };
    if how == How::LowRankSum
        && let Some((_, Value::Weight(weight))) = arguments.iter().find(|(_, value)| matches!(value, Value::Weight(_)))
    {
        // It stands for the sum, on whichever side it is.
        of.retain(|other| other != weight);
        of.insert(0, weight.clone());
    }
    (of.len() <= MAX_PARTS).then(|| Made { how, of: of.into(), products: products.into(), quantized: false })
}

/// The most tensors that a computed one is said to be made of.
const MAX_PARTS: usize = 64;
