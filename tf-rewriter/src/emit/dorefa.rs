//! DoReFa after Zhou et al. 2016, in stock ops. The constants that depend on the weight alone (`max|tanh w|`, `E|w|`) are the
//! reference's; TensorFlow's own `Tanh` may differ from the reference by a level on few values.

use quant_math::MathError;
use quant_math::weights::WeightMap;

use super::node::{NewNode, attr_text};
use super::qat::on_edge;
use super::{ActivationWork, Editor, WeightWork};
use crate::index::{NodeId, ScopeKind};
use crate::mark;
use crate::pb::DataType;

/// `2·quantize_k(tanh(w) / (2·max|tanh w|) + 1/2) − 1` (eq. 9), or `sign(w)·E|w|` (eq. 7) for one bit; returns the constants' bytes.
///
/// # Errors
/// Weights that TensorFlow takes for 0.
pub(super) fn weight(editor: &mut Editor<'_>, work: &WeightWork) -> Result<u64, MathError> {
    let how = format!("dorefa {}", work.slot);
    let from = editor.reads(work.op, work.input);
    if let Some(made) = editor.already_made(work.op.scope, &from, &how) {
        editor.reroute(work.op, work.input, made);
        return Ok(0);
    }
    let base = editor.unique(work.op.scope, &format!("{}/weight_quant", editor.graph.name(work.op)));
    let mut ops = Ops::new(editor, work.op, &base, &from);
    match *work.map {
        WeightMap::DoReFa { bits, max_abs_tanh } => {
            let levels = levels(bits);
            if max_abs_tanh < f32::MIN_POSITIVE {
                // TensorFlow flushes such numbers to 0 and would divide 0 by 0.
                return Err(MathError::RangeUnderflow { min: -max_abs_tanh, max: max_abs_tanh });
            }
            let tanh = ops.unary(editor, "Tanh", "tanh", &from);
            let span = ops.float(editor, "span", 2.0 * max_abs_tanh);
            let unit = ops.binary(editor, "RealDiv", "unit", &tanh, &span);
            let half = ops.float(editor, "half", 0.5);
            let shifted = ops.binary(editor, "AddV2", "shifted", &unit, &half);
            let quantized = ops.quantize_k(editor, levels, &shifted);
            let two = ops.float(editor, "two", 2.0);
            let doubled = ops.binary(editor, "Mul", "doubled", &quantized, &two);
            let one = ops.float(editor, "one", 1.0);
            ops.last("Sub", &doubled, &one, &mark::text(&work.settings));
        }
        WeightMap::Sign { mean_abs } => {
            let zero = ops.float(editor, "zero", 0.0);
            let positive = ops.binary(editor, "GreaterEqual", "positive", &from, &zero);
            let plus = ops.float(editor, "plus", mean_abs);
            let minus = ops.float(editor, "minus", -mean_abs);
            ops.select(&positive, &plus, &minus, &mark::text(&work.settings));
        }
        WeightMap::Affine(_) | WeightMap::Unchanged => return Ok(0),
    }
    let (nodes, result, bytes) = ops.done();
    editor.insert(work.op, nodes);
    editor.remember(work.op.scope, &from, &how, &result);
    editor.reroute(work.op, work.input, result);
    Ok(bytes)
}

/// `quantize_k(clip(x, 0, 1))` (§2.5 of the paper).
pub(super) fn activation(editor: &mut Editor<'_>, work: &ActivationWork) {
    let bits = work.settings.bits;
    on_edge(editor, work, &format!("dorefa activation {bits}"), |editor, name, from, anchor| {
        let mut ops = Ops::new(editor, work.op, name, anchor);
        let zero = ops.float(editor, "zero", 0.0);
        let one = ops.float(editor, "one", 1.0);
        let positive = ops.binary(editor, "Maximum", "positive", from, &zero);
        // The first node is marked too: it is the one that a second run finds behind the op.
        ops.mark(&mark::text(&work.settings));
        let clipped = ops.binary(editor, "Minimum", "clipped", &positive, &one);
        let n = ops.float(editor, "n", levels(bits));
        let scaled = ops.binary(editor, "Mul", "scaled", &clipped, &n);
        let rounded = ops.unary(editor, "Round", "rounded", &scaled);
        ops.last("RealDiv", &rounded, &n, &mark::text(&work.settings));
        let (nodes, result, _) = ops.done();
        (nodes, result)
    });
}

/// `n = 2^k − 1`.
fn levels(bits: u32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "at most 255")]
    let n = ((1u32 << bits.min(8)) - 1) as f32;
    n
}

/// Makes the nodes of one site, all float32.
struct Ops<'g> {
    scope: u32,
    kind: ScopeKind,
    device: &'g str,
    base: String,
    control: Option<String>,
    nodes: Vec<NewNode>,
    bytes: u64,
}

impl<'g> Ops<'g> {
    fn new(editor: &mut Editor<'g>, op: NodeId, base: &str, anchor: &str) -> Self {
        Self {
            scope: op.scope,
            kind: editor.scope_kind(op.scope),
            device: editor.device(op),
            base: base.to_owned(),
            control: editor.frame_control(op, anchor),
            nodes: Vec::new(),
            bytes: 0,
        }
    }

    fn push(&mut self, node: NewNode) -> String {
        let reference = node.output(self.kind);
        self.nodes.push(node);
        reference
    }

    fn part(&self, editor: &mut Editor<'_>, part: &str) -> String {
        editor.unique(self.scope, &format!("{}/{part}", self.base))
    }

    fn float(&mut self, editor: &mut Editor<'_>, part: &str, value: f32) -> String {
        self.bytes += 4;
        let name = self.part(editor, part);
        let node = NewNode::floats(name, self.device, &[], &[value]).with_inputs(self.control.clone());
        self.push(node)
    }

    fn unary(&mut self, editor: &mut Editor<'_>, op: &str, part: &str, x: &str) -> String {
        let name = self.part(editor, part);
        self.push(NewNode::new(op, name, vec![x.to_owned()], self.device).typed("T", DataType::DT_FLOAT))
    }

    fn binary(&mut self, editor: &mut Editor<'_>, op: &str, part: &str, a: &str, b: &str) -> String {
        let name = self.part(editor, part);
        self.push(NewNode::new(op, name, vec![a.to_owned(), b.to_owned()], self.device).typed("T", DataType::DT_FLOAT))
    }

    /// `rne(n·x) / n`; TensorFlow's Round is half to even.
    fn quantize_k(&mut self, editor: &mut Editor<'_>, levels: f32, x: &str) -> String {
        let n = self.float(editor, "n", levels);
        let scaled = self.binary(editor, "Mul", "scaled", x, &n);
        let rounded = self.unary(editor, "Round", "rounded", &scaled);
        self.binary(editor, "RealDiv", "quantized", &rounded, &n)
    }

    /// Leave our mark on the newest node.
    fn mark(&mut self, mark: &str) {
        if let Some(node) = self.nodes.pop() {
            self.nodes.push(node.taking_over(attr_text(mark::ATTR, mark)));
        }
    }

    /// The last node, which has the site's name.
    fn last(&mut self, op: &str, a: &str, b: &str, mark: &str) {
        let node = NewNode::new(op, self.base.clone(), vec![a.to_owned(), b.to_owned()], self.device)
            .typed("T", DataType::DT_FLOAT)
            .taking_over(attr_text(mark::ATTR, mark));
        self.push(node);
    }

    fn select(&mut self, condition: &str, a: &str, b: &str, mark: &str) {
        let inputs = vec![condition.to_owned(), a.to_owned(), b.to_owned()];
        let node = NewNode::new("SelectV2", self.base.clone(), inputs, self.device)
            .typed("T", DataType::DT_FLOAT)
            .taking_over(attr_text(mark::ATTR, mark));
        self.push(node);
    }

    fn done(self) -> (Vec<NewNode>, String, u64) {
        let reference = self.nodes.last().map(|n| n.output(self.kind)).unwrap_or_default();
        (self.nodes, reference, self.bytes)
    }
}
