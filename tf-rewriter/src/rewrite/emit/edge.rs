//! Where a site's nodes go: between a weight and its op, or on the edges of an activation.

use quant_math::{MathError, QuantType};

use super::maker::Maker;
use super::whole::{Edge, Pieces};
use super::{ActivationWork, Editor};
use crate::graphdef::index::ScopeKind;

/// Put the nodes that `make(editor, maker, from)` makes between a weight and its op, or what cuts a piece of it off for its op; they read
/// `from`, and their last one is the result. Ops that read the same tensor and want the same share them. Returns the bytes of the numbers
/// that were added.
///
/// `how` says in what way they quantize.
///
/// # Errors
/// Those of `make`.
pub(super) fn on_weight<'g, 'w>(
    editor: &mut Editor<'g>,
    (edge, pieces): (Edge<'w>, &mut Pieces<'w>),
    how: &str,
    make: impl FnOnce(&mut Editor<'g>, &mut Maker<'g>, &str) -> Result<(), MathError>,
) -> Result<u64, MathError> {
    let (op, scope) = (edge.op, edge.op.scope);
    let from = edge.float(editor);
    if let Some(made) = editor.already_made(scope, &from, how) {
        pieces.read(editor, edge, made);
        return Ok(0);
    }
    let base = editor.unique(scope, &format!("{}/weight_quant", editor.graph.name(op)));
    // The weight itself may stand outside of the op's function: what is read of it is in its frame.
    let mut maker = Maker::new(editor, op, &base, &from);
    make(editor, &mut maker, &from)?;
    let (nodes, result, bytes) = maker.done();
    editor.insert(op, nodes);
    editor.remember(scope, &from, how, &result);
    pieces.read(editor, edge, result);
    Ok(bytes)
}

/// Put the nodes that `make(editor, maker, from)` makes on an activation's edges; they read `from`, and their last one is the result.
/// `how` says in what way they quantize: a tensor that is quantized so already gets no second set.
///
/// * input: the op's edges read the new node.
/// * output of a node that others read: their edges read the new node.
/// * output of a node that leaves the graph: the new node takes its name, so that fetching the old name gives the quantized tensor.
///
/// # Errors
/// Those of `make`.
pub(super) fn on_activation<'g>(
    editor: &mut Editor<'g>,
    work: &ActivationWork,
    how: &str,
    make: impl FnOnce(&mut Editor<'g>, &mut Maker<'g>, &str) -> Result<(), MathError>,
) -> Result<(), MathError> {
    let graph = editor.graph;
    let own = graph.name(work.op).to_owned();
    let scope = work.op.scope;
    if work.kind == QuantType::Input {
        let Some(from) = work.inputs.first().map(|input| editor.reads(work.op, *input)) else { return Ok(()) };
        let reference = if let Some(known) = editor.already_made(scope, &from, how) {
            known
        } else {
            let name = editor.unique(scope, &format!("{own}/input_quant"));
            put(editor, work, how, (&name, &from, &from), make)?
        };
        for input in &work.inputs {
            editor.reroute(work.op, *input, reference.clone());
        }
        return Ok(());
    }
    let (edges, _) = crate::find::sites::output_edges(graph, work.op);
    let in_function = matches!(editor.scope_kind(scope), ScopeKind::Function { .. });
    if crate::find::sites::leaves_graph(graph, work.op, &edges) {
        let from = editor.rename_to_float(work.op);
        put(editor, work, how, (&own, &from, &from), make)?;
        return Ok(());
    }
    let from = if in_function { graph.edge_text(work.op).unwrap_or_else(|| own.clone()) } else { own.clone() };
    let name = editor.unique(scope, &format!("{own}/output_quant"));
    let result = put(editor, work, how, (&name, &from, &own), make)?;
    editor.return_instead(scope, &from, &result);
    for (reader, input) in edges {
        editor.reroute(reader, input, result.clone());
    }
    Ok(())
}

/// Make the nodes of an activation and put them behind its op; `(base, from, anchor)`: the last one's name, what they read, and
/// something in the same frame.
fn put<'g>(
    editor: &mut Editor<'g>,
    work: &ActivationWork,
    how: &str,
    (base, from, anchor): (&str, &str, &str),
    make: impl FnOnce(&mut Editor<'g>, &mut Maker<'g>, &str) -> Result<(), MathError>,
) -> Result<String, MathError> {
    let mut maker = Maker::new(editor, work.op, base, anchor);
    make(editor, &mut maker, from)?;
    let (nodes, result, _) = maker.done();
    editor.insert(work.op, nodes);
    editor.remember(work.op.scope, from, how, &result);
    Ok(result)
}
