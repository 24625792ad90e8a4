//! Functions of the language and of `torch` that hand a tensor or an object on.

use std::sync::Arc;

use super::heap::ObjectId;
use super::value::{Axes, Value};
use crate::code::ExprId;

/// A builtin that needs the walker.
pub(super) enum Special {
    /// `getattr(object, "name")`.
    GetAttribute(ObjectId, Arc<str>),
    /// `fork(callee, …)`.
    Fork(Value, Vec<(ExprId, Value)>),
    /// A fake-quantization op of the framework.
    Quantize(Value),
}

/// The value of a call of `path`, or what the walker must do for it.
pub(super) fn call(path: &str, arguments: &[(ExprId, Value)]) -> Result<Value, Special> {
    let argument = |index: usize| arguments.get(index).map_or(&Value::Unknown, |(_, value)| value);
    Ok(match path {
        "getattr" => match (argument(0), argument(1)) {
            (Value::Object(object), Value::Str(name)) => return Err(Special::GetAttribute(*object, Arc::clone(name))),
            _ => Value::Unknown,
        },
        "fork" => return Err(Special::Fork(argument(0).clone(), arguments.get(1..).unwrap_or_default().to_vec())),
        "uninitialized" => Value::Never,
        "unchecked_cast" | "annotate" => argument(1).clone(),
        "ops.prim.unchecked_unwrap_optional"
        | "torch.detach"
        | "torch.contiguous"
        | "torch.alias"
        | "torch.clone"
        | "torch.to"
        | "torch._to_copy"
        | "torch.type_as"
        | "torch.float"
        | "torch.half"
        | "torch.double"
        | "torch.requires_grad_" => match argument(0) {
            Value::Result(call) => Value::Result(*call),
            other => other.with_axes(|axes| axes),
        },
        "torch.t" | "torch.numpy_T" | "torch.transpose" => argument(0).with_axes(|axes| match axes {
            Axes::Same => Axes::Transposed,
            Axes::Transposed => Axes::Same,
            Axes::Other => Axes::Other,
        }),
        "torch.view" | "torch.reshape" | "torch.flatten" | "torch.permute" | "torch.unsqueeze" | "torch.squeeze"
        | "torch.expand" | "torch.select" | "torch.slice" => argument(0).with_axes(|_| Axes::Other),
        "torch.chunk"
        | "torch.split"
        | "torch.split_with_sizes"
        | "torch.tensor_split"
        | "torch.unsafe_chunk"
        | "torch.unsafe_split" => match argument(0) {
            // Without a third argument the parts are cut along the first axis.
            Value::Weight(weight) => {
                let mut weight = weight.clone();
                weight.axes = if arguments.len() <= 2 { weight.axes } else { Axes::Other };
                Value::Parts(weight)
            }
            _ => Value::Unknown,
        },
        "torch.fake_quantize_per_tensor_affine" | "torch.fake_quantize_per_channel_affine" | "torch.dequantize" => {
            return Err(Special::Quantize(argument(0).clone()));
        }
        _ => Value::Unknown,
    })
}
