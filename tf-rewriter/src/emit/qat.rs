//! QAT after Jacob et al. 2018: fake-quant ops on weights and activations.

use quant_math::{MathError, QuantType};

use super::node::NewNode;
use super::{ActivationWork, Editor, WeightWork, fake_quant};
use crate::index::ScopeKind;

/// The ops between a weight and its op.
pub(super) fn weight(editor: &mut Editor<'_>, work: &WeightWork) -> Result<u64, MathError> {
    fake_quant::weight(editor, work)
}

/// The ops on an activation; its scale.
pub(super) fn activation(editor: &mut Editor<'_>, work: &ActivationWork) -> Result<Option<f32>, MathError> {
    match work.range {
        Some(range) => fake_quant::activation(editor, work, range).map(Some),
        // The plan refuses activations without a range.
        None => Ok(None),
    }
}

/// Put nodes on an activation's edges. `make(editor, name, from, anchor)` makes them: the last one is to be called `name` and reads
/// `from`; `anchor` is a node of the same `while` frame. It returns them with the last one's reference.
///
/// * input: the op's edges read the new node.
/// * output of a node that others read: their edges read the new node.
/// * output of a node that leaves the graph: the new node takes its name, so that fetching the old name gives the quantized tensor.
pub(super) fn on_edge<'g>(
    editor: &mut Editor<'g>,
    work: &ActivationWork,
    how: &str,
    make: impl FnOnce(&mut Editor<'g>, &str, &str, &str) -> (Vec<NewNode>, String),
) {
    let graph = editor.graph;
    let own = graph.name(work.op).to_owned();
    let scope = work.op.scope;
    if work.kind == QuantType::Input {
        let Some(from) = work.inputs.first().map(|input| editor.reads(work.op, *input)) else { return };
        let reference = editor.already_made(scope, &from, how).unwrap_or_else(|| {
            let name = editor.unique(scope, &format!("{own}/input_quant"));
            let anchor = from.clone();
            let (nodes, result) = make(editor, &name, &from, &anchor);
            editor.insert(work.op, nodes);
            editor.remember(scope, &from, how, &result);
            result
        });
        for input in &work.inputs {
            editor.reroute(work.op, *input, reference.clone());
        }
        return;
    }
    let (edges, _) = crate::sites::output_edges(graph, work.op);
    let in_function = matches!(editor.scope_kind(scope), ScopeKind::Function { .. });
    if crate::sites::leaves_graph(graph, work.op, &edges) {
        let from = editor.rename_to_float(work.op);
        let (nodes, result) = make(editor, &own, &from, &from);
        editor.insert(work.op, nodes);
        editor.remember(scope, &from, how, &result);
        return;
    }
    let from =
        if in_function { crate::plan::edge_text(graph, work.op).unwrap_or_else(|| own.clone()) } else { own.clone() };
    let name = editor.unique(scope, &format!("{own}/output_quant"));
    let (nodes, result) = make(editor, &name, &from, &own);
    editor.insert(work.op, nodes);
    editor.remember(scope, &from, how, &result);
    editor.return_instead(scope, &from, &result);
    for (reader, input) in edges {
        editor.reroute(reader, input, result.clone());
    }
}
