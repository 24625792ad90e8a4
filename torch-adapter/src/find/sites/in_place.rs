//! Calls that write into their first argument: who else sees what they write.
//!
//! A quantizer gives a new tensor. Where a tensor that was written into is read again under another name, a quantizer around the call's
//! argument would hide the write, and one around its value would not be seen.

use std::collections::BTreeMap;

use quant_math::plan::Reason;

use crate::codes;
use crate::torchscript::code::{ExprId, ExprKind, Function, StatementKind, Target, text_of};

/// Functions whose value can share memory with their first argument; those that write into it give it back.
const VIEWS: &[&str] = &[
    "torch.alias",
    "torch.as_strided",
    "torch.chunk",
    "torch.contiguous",
    "torch.detach",
    "torch.diagonal",
    "torch.dropout",
    "torch.expand",
    "torch.flatten",
    "torch.narrow",
    "torch.numpy_T",
    "torch.permute",
    "torch.reshape",
    "torch.select",
    "torch.slice",
    "torch.split",
    "torch.split_with_sizes",
    "torch.squeeze",
    "torch.t",
    "torch.to",
    "torch.transpose",
    "torch.type_as",
    "torch.unbind",
    "torch.unfold",
    "torch.unsafe_chunk",
    "torch.unsafe_split",
    "torch.unsqueeze",
    "torch.view",
    "annotate",
    "unchecked_cast",
];

/// The most steps from a name to the tensor behind it.
const MAX_STEPS: usize = 64;

/// Where each name of a function is bound, and where it is read last.
pub(super) struct Names<'a> {
    function: &'a Function,
    text: &'a str,
    bound: BTreeMap<&'a str, ExprId>,
    last_read: BTreeMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    pub(super) fn new(function: &'a Function, text: &'a str) -> Self {
        let mut bound = BTreeMap::new();
        let mut targets = Vec::new();
        for statement in &function.body {
            let StatementKind::Assign { targets: names, value, .. } = &statement.kind else { continue };
            for target in names {
                if let Target::Name(span) = target {
                    bound.insert(text_of(text, span), *value);
                    targets.push(span.start);
                }
            }
        }
        targets.sort_unstable();
        let mut last_read = BTreeMap::new();
        for (index, expr) in function.exprs.iter().enumerate() {
            if expr.kind == ExprKind::Name && targets.binary_search(&expr.span.start).is_err() {
                last_read.insert(text_of(text, &expr.span), index);
            }
        }
        Self { function, text, bound, last_read }
    }

    /// Why the tensors of the call `call` of `callee` cannot be exchanged; `None` where the call writes nowhere, or nobody else sees it.
    pub(super) fn bound_to_memory(&self, callee: &str, call: ExprId) -> Option<Reason> {
        if !callee.ends_with('_') {
            return None;
        }
        let ExprKind::Call { arguments, .. } = &self.function.expr(call)?.kind else { return None };
        let mut at = arguments.first()?.value;
        for _ in 0..MAX_STEPS {
            let expr = self.function.expr(at)?;
            match &expr.kind {
                ExprKind::Name => {
                    let name = text_of(self.text, &expr.span);
                    if self.last_read.get(name).is_some_and(|last| *last > call.index()) {
                        let text = format!("`{callee}` writes into `{name}`, which is read again");
                        return Some(Reason::new(codes::IN_PLACE, text));
                    }
                    at = *self.bound.get(name)?;
                }
                ExprKind::Group(inner) | ExprKind::Subscript { base: inner, .. } => at = *inner,
                ExprKind::Call { callee, arguments, .. } => {
                    let callee = self.function.expr(*callee).map_or("", |callee| text_of(self.text, &callee.span));
                    if !VIEWS.contains(&callee) && !callee.ends_with('_') {
                        return None;
                    }
                    let inner = if matches!(callee, "annotate" | "unchecked_cast") {
                        arguments.last()
                    } else {
                        arguments.first()
                    };
                    at = inner?.value;
                }
                _ => return None,
            }
        }
        None
    }
}
