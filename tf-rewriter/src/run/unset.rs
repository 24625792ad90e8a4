//! Variables: a graph holds their names, a session their values, and a session that begins has none.

use std::collections::BTreeSet;

use super::RunError;
use crate::graph::Graph;
use crate::index::{NodeId, Target};
use crate::ops::is_variable;

/// Refuse a graph whose outputs need the value of a variable, before anything of it runs.
///
/// A variable that gets a value on the way to the outputs, from a node that does not need the variable itself, is none of these.
///
/// # Errors
/// [`RunError::Variable`] with the first of the variables.
pub(super) fn check_values(graph: &Graph) -> Result<(), RunError> {
    let Some(scope) = graph.index().scope(0) else { return Ok(()) };
    let count = u32::try_from(scope.nodes.len()).unwrap_or(u32::MAX);
    let main = |node| NodeId { scope: 0, node };
    let variables: Vec<u32> = (0..count).filter(|node| is_variable(graph.op(main(*node)))).collect();
    if variables.is_empty() {
        return Ok(());
    }
    let outputs = (0..count).filter(|node| graph.is_sink(main(*node)) && !is_assignment(graph.op(main(*node))));
    let needed = upstream(graph, outputs.collect());
    let gets_value = |variable: u32| {
        let edges = scope.data_edges(variable).into_iter();
        let mut assigned = edges
            .filter(|(reader, input)| *input == 0 && needed.contains(reader) && is_assignment(graph.op(main(*reader))));
        assigned.any(|(reader, _)| {
            let value = graph.source(main(reader), 1).map(|value| value.node);
            !upstream(graph, value.into_iter().collect()).contains(&variable)
        })
    };
    let without: Vec<u32> = variables.into_iter().filter(|node| needed.contains(node) && !gets_value(*node)).collect();
    let Some(first) = without.first() else { return Ok(()) };
    // What `freeze` takes: a graph of `--emit training`.
    let by = if crate::freeze::stand_ins(graph).is_ok_and(|found| !found.is_empty()) {
        "`tf-rewriter freeze MODEL --checkpoint PREFIX -o FROZEN`"
    } else {
        "in Python with `tf.compat.v1.graph_util.convert_variables_to_constants`"
    };
    let help = format!("freeze it first, with the checkpoint that holds their values: {by}");
    Err(RunError::Variable {
        path: graph.path().map(ToOwned::to_owned),
        node: graph.name(main(*first)).to_owned(),
        op: String::from_utf8_lossy(graph.op(main(*first))).into_owned(),
        others: without.len() - 1,
        at: Box::new(scope.at(graph.bytes(), *first as usize)),
        help,
    })
}

fn is_assignment(op: &[u8]) -> bool {
    matches!(op, b"AssignVariableOp" | b"Assign")
}

/// These nodes of the main graph, and all that must run before them. Whether a variable has a value can be asked of one that has none.
fn upstream(graph: &Graph, mut open: Vec<u32>) -> BTreeSet<u32> {
    let Some(scope) = graph.index().scope(0) else { return BTreeSet::new() };
    let mut seen: BTreeSet<u32> = open.iter().copied().collect();
    while let Some(node) = open.pop() {
        let asks = matches!(graph.op(NodeId { scope: 0, node }), b"VarIsInitializedOp" | b"IsVariableInitialized");
        let Some(found) = scope.nodes.get(node as usize).filter(|_| !asks) else { continue };
        for input in scope.inputs(found) {
            let (Target::Data { node, .. } | Target::Control { node }) = input.target else { continue };
            if seen.insert(node) {
                open.push(node);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOAT: &str = "attr { key: 'dtype' value { type: DT_FLOAT } }";

    /// `x · w`, where `w` is a variable of some kind, beside a counter that no output needs.
    fn graph(kind: &str, also: &str) -> Graph {
        let variable = if kind == "VarHandleOp" {
            format!(
                "node {{ name: 'w' op: 'VarHandleOp' {FLOAT} }}
                 node {{ name: 'value' op: 'ReadVariableOp' input: 'w' {FLOAT} }}"
            )
        } else {
            format!("node {{ name: 'w' op: '{kind}' {FLOAT} }} node {{ name: 'value' op: 'Identity' input: 'w' }}")
        };
        let text = format!(
            "node {{ name: 'x' op: 'Placeholder' {FLOAT} }} {variable}
             node {{ name: 'y' op: 'MatMul' input: 'x' input: 'value' }}
             node {{ name: 'steps' op: 'VarHandleOp' }}
             node {{ name: 'zero' op: 'Const' }}
             node {{ name: 'begin' op: 'AssignVariableOp' input: 'steps' input: 'zero' }}
             node {{ name: 'init' op: 'NoOp' input: '^begin' }} {also}"
        );
        Graph::from_bytes(text.into_bytes()).unwrap()
    }

    #[test]
    fn a_variable_that_an_output_needs_is_named_with_its_place() {
        for kind in ["VarHandleOp", "VariableV2", "Variable"] {
            let error = check_values(&graph(kind, "")).unwrap_err();
            assert_eq!(error.code(), "E0808", "{kind}");
            let expected = format!("the variable `w` ({kind}) has no value in a graph by itself, expected constants");
            assert_eq!(error.to_string(), expected);
            let location = error.location().unwrap();
            assert!(location.starts_with("node `w` (number 1), offset 0x"), "{location}");
        }
    }

    #[test]
    fn others_are_counted() {
        let also = "node { name: 'b' op: 'VariableV2' } node { name: 'sum' op: 'Add' input: 'y' input: 'b' }";
        let error = check_values(&graph("VarHandleOp", also)).unwrap_err();
        assert!(error.to_string().contains("the variable `w` (VarHandleOp), and 1 more, has no value"), "{error}");
    }

    #[test]
    fn what_gets_a_value_on_the_way_or_is_only_asked_about_runs() {
        let assigned = "node { name: 'assign' op: 'AssignVariableOp' input: 'w' input: 'zero' }
             node { name: 'z' op: 'Identity' input: 'y' input: '^assign' }";
        check_values(&graph("VarHandleOp", assigned)).unwrap();
        // A value that needs the variable is none to begin with.
        let counted = "node { name: 'next' op: 'AddV2' input: 'value' input: 'zero' }
             node { name: 'assign' op: 'AssignVariableOp' input: 'w' input: 'next' }
             node { name: 'z' op: 'Identity' input: 'y' input: '^assign' }";
        assert_eq!(check_values(&graph("VarHandleOp", counted)).unwrap_err().code(), "E0808");
        // An initializer that nothing runs helps nobody.
        let apart = "node { name: 'assign' op: 'AssignVariableOp' input: 'w' input: 'zero' }";
        assert_eq!(check_values(&graph("VarHandleOp", apart)).unwrap_err().code(), "E0808");
        let text = "node { name: 'w' op: 'VarHandleOp' } node { name: 'is' op: 'VarIsInitializedOp' input: 'w' }";
        check_values(&Graph::from_bytes(text.as_bytes().to_vec()).unwrap()).unwrap();
    }
}
