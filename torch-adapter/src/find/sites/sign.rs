//! Tensors that hold no number below 0, whatever the model gets.

use super::value::Value;
use crate::torchscript::code::{Argument, ExprId, ExprKind, Function, text_of};

/// Of the functions of `torch` and `torch.nn.functional`, those that make no number below 0.
const NEVER: &[&str] =
    &["abs", "exp", "hardsigmoid", "relu", "relu6", "rsqrt", "sigmoid", "softmax", "softplus", "sqrt", "square"];

/// Those that make none where their first argument has none.
const OF_FIRST: &[&str] = &[
    "_max_pool2d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "amax",
    "amin",
    "avg_pool2d",
    "cumsum",
    "dropout",
    "feature_dropout",
    "flip",
    "gather",
    "index",
    "index_select",
    "max_pool2d",
    "mean",
    "narrow",
    "pixel_shuffle",
    "reflection_pad2d",
    "repeat",
    "replication_pad2d",
    "roll",
    "sum",
    "tile",
    "tril",
    "triu",
    "upsample_bilinear2d",
    "upsample_nearest2d",
];

/// Those that make none where none of the tensors has any that they work on.
const OF_ALL: &[&str] = &["add", "cat", "concat", "concatenate", "maximum", "minimum", "mul", "stack"];

/// Those for which a number decides: the position of the least value that there can be, and of the value that is put in.
const LEAST: &[(&str, usize)] = &[("clamp", 1), ("clamp_min", 1), ("hardtanh", 1)];
const FILLED: &[(&str, usize)] = &[("constant_pad_nd", 2), ("masked_fill", 2), ("pad", 3)];

/// Whether the call `call` of `path` makes no number below 0.
pub(super) fn never_negative(
    (function, text): (&Function, &str),
    path: &str,
    arguments: &[(ExprId, Value)],
    call: ExprId,
) -> bool {
    let name = path.strip_prefix("torch.").or_else(|| path.strip_prefix("__torch__.torch.nn.functional."));
    let Some(name) = name.map(|name| name.trim_end_matches('_')) else { return false };
    let first = || arguments.first().is_some_and(|(_, value)| value.is_never_negative());
    let number = |at: usize| {
        let (expr, _) = arguments.get(at)?;
        text_of(text, &function.expr(*expr)?.span).parse::<f64>().ok()
    };
    let position = |table: &[(&str, usize)]| table.iter().find(|(known, _)| *known == name).map(|(_, at)| *at);
    if NEVER.contains(&name) {
        return true;
    }
    if let Some(at) = position(LEAST) {
        return number(at).is_some_and(|least| least >= 0.0);
    }
    if let Some(at) = position(FILLED) {
        return first() && (arguments.len() <= at || number(at).is_some_and(|value| value >= 0.0));
    }
    if OF_ALL.contains(&name) {
        return is_plain_sum(function, text, arguments, call) && all(arguments);
    }
    OF_FIRST.contains(&name) && first()
}

/// Whether all tensors, those of a list one by one, hold no number below 0.
fn all(arguments: &[(ExprId, Value)]) -> bool {
    let tensors = match arguments {
        [(_, Value::List(items)), ..] => return !items.is_empty() && items.iter().all(Value::is_never_negative),
        arguments => arguments.get(..2),
    };
    tensors.is_some_and(|tensors| tensors.iter().all(|(_, value)| value.is_never_negative()))
}

/// Whether no factor is written (`alpha`) that could turn the sign of the second tensor.
fn is_plain_sum(function: &Function, text: &str, arguments: &[(ExprId, Value)], call: ExprId) -> bool {
    let written = |argument: &Argument| argument.keyword.is_some();
    let is_one = |id: ExprId| function.expr(id).is_some_and(|expr| text_of(text, &expr.span) == "1");
    let ExprKind::Call { arguments: all, .. } = (match function.expr(call) {
        Some(expr) => &expr.kind,
        None => return false,
    }) else {
        return false;
    };
    let named = all.iter().filter(|argument| written(argument)).map(|argument| argument.value);
    let third = arguments.get(2).map(|(id, _)| *id);
    named.chain(third).all(is_one)
}
