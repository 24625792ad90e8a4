//! Variables: a graph holds their names, a session their values, and a session that begins has none.

use std::collections::{BTreeMap, BTreeSet};

use super::RunError;
use crate::find::ops::is_variable;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Target};

/// Refuse a graph whose outputs need the value of a variable, before anything of it runs.
///
/// A variable that gets a value on the way to the outputs, from what needs no variable without one, is none of these.
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
    let computed = computed(graph, &needed);
    let without: Vec<u32> =
        variables.into_iter().filter(|node| needed.contains(node) && !computed.contains(node)).collect();
    let Some(first) = without.first() else { return Ok(()) };
    // What `freeze` takes: a graph of `--emit training`.
    let by = if crate::find::trained::stand_ins(graph).is_ok_and(|found| !found.is_empty()) {
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
        let asks = asks(graph.op(NodeId { scope: 0, node }));
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

/// Those of the `needed` nodes that can run, and the variables that have a value then: from the nodes that need nothing on to those all of
/// whose inputs can run. A `Merge` waits for one of its data inputs alone; an assignment does not wait for its variable.
fn computed(graph: &Graph, needed: &BTreeSet<u32>) -> BTreeSet<u32> {
    let Some(scope) = graph.index().scope(0) else { return BTreeSet::new() };
    let op = |node: u32| graph.op(NodeId { scope: 0, node });
    let mut waits: BTreeMap<u32, usize> = BTreeMap::new();
    let mut open = Vec::new();
    for &node in needed {
        let inputs = scope.nodes.get(node as usize).map(|node| scope.inputs(node)).unwrap_or_default();
        let data = inputs.iter().filter(|input| matches!(input.target, Target::Data { .. })).count();
        let all = if asks(op(node)) { 0 } else { inputs.len() };
        let waiting = match op(node) {
            b"Merge" | b"RefMerge" => all - data + data.min(1),
            assignment if is_assignment(assignment) => all.saturating_sub(1),
            variable if is_variable(variable) => usize::MAX,
            _ => all,
        };
        if waiting == 0 {
            open.push(node);
        }
        waits.insert(node, waiting);
    }
    let (mut done, mut merged) = (BTreeSet::new(), BTreeSet::new());
    while let Some(node) = open.pop() {
        if !done.insert(node) {
            continue;
        }
        let own = NodeId { scope: 0, node };
        if is_assignment(op(node)) {
            open.extend(graph.source(own, 0).map(|source| source.node).filter(|source| is_variable(op(*source))));
        }
        for (reader, input, target) in scope.edges(node) {
            let is_data = matches!(target, Target::Data { .. });
            let is_assigned = is_data && input == 0 && is_assignment(op(reader));
            let is_second = is_data && matches!(op(reader), b"Merge" | b"RefMerge") && !merged.insert(reader);
            let Some(left) = waits.get_mut(&reader).filter(|_| !is_assigned && !is_second) else { continue };
            *left = left.saturating_sub(1);
            if *left == 0 {
                open.push(reader);
            }
        }
    }
    done
}

/// Ops that ask whether a variable has a value.
fn asks(op: &[u8]) -> bool {
    matches!(op, b"VarIsInitializedOp" | b"IsVariableInitialized")
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
        // Nor is one that needs another variable without one.
        let other = "node { name: 'b' op: 'VariableV2' }
             node { name: 'assign' op: 'AssignVariableOp' input: 'w' input: 'b' }
             node { name: 'z' op: 'Identity' input: 'y' input: '^assign' }";
        let error = check_values(&graph("VarHandleOp", other)).unwrap_err();
        assert!(error.to_string().contains("the variable `w` (VarHandleOp), and 1 more, has no value"), "{error}");
        // One of two branches gives it one.
        let chosen = "node { name: 'asked' op: 'VarIsInitializedOp' input: 'w' }
             node { name: 'old' op: 'Switch' input: 'value' input: 'asked' }
             node { name: 'new' op: 'Switch' input: 'zero' input: 'asked' }
             node { name: 'first' op: 'Merge' input: 'old:1' input: 'new' }
             node { name: 'assign' op: 'AssignVariableOp' input: 'w' input: 'first' }
             node { name: 'z' op: 'Identity' input: 'y' input: '^assign' }";
        check_values(&graph("VarHandleOp", chosen)).unwrap();
        // An initializer that nothing runs helps nobody.
        let apart = "node { name: 'assign' op: 'AssignVariableOp' input: 'w' input: 'zero' }";
        assert_eq!(check_values(&graph("VarHandleOp", apart)).unwrap_err().code(), "E0808");
        let text = "node { name: 'w' op: 'VarHandleOp' } node { name: 'is' op: 'VarIsInitializedOp' input: 'w' }";
        check_values(&Graph::from_bytes(text.as_bytes().to_vec()).unwrap()).unwrap();
    }
}
