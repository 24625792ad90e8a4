//! Parameters: what is made from constants and variables alone, computed or not, and is no activation.

use std::collections::BTreeMap;

use super::flow;
use crate::error::Error;
use crate::find::mark;
use crate::find::ops::is_quantizer;
use crate::graphdef::graph::{Graph, Marked, Place};
use crate::graphdef::index::NodeId;

const WHAT: &str = "the parameters of its nodes";

/// What of a graph is no parameter; `arguments` of functions whose callers are not known are taken for parameters or for activations. How
/// many nodes a parameter is made by does not matter: a quantized one is one too.
///
/// # Errors
/// Damaged nodes.
fn activations(graph: &Graph, arguments: bool) -> Result<&Marked, Error> {
    graph.activations_or(arguments, || Activations::of(graph, arguments))
}

fn is_parameter_at(graph: &Graph, place: Place, arguments: bool) -> Result<bool, Error> {
    Ok(activations(graph, arguments)?.is_marked(place) == Some(false))
}

/// Found by going forward from what is fed, drawn, or not known.
struct Activations<'g> {
    graph: &'g Graph,
    marked: Marked,
    open: Vec<Place>,
}

impl<'g> Activations<'g> {
    fn of(graph: &'g Graph, arguments: bool) -> Result<Marked, Error> {
        let scopes = &graph.index().scopes;
        let mut found = Self { graph, marked: Marked::default(), open: Vec::new() };
        for scope in scopes {
            graph.budget().take_all::<bool>(scope.nodes.len() + scope.argument_count(), WHAT)?;
            found.marked.extend(scope);
        }
        for id in graph.all_nodes() {
            if begins(graph, id) {
                found.add(Place::Output(id, 0));
            }
        }
        let mut handed_on: BTreeMap<Place, Vec<Place>> = BTreeMap::new();
        for (id, scope) in (0u32..).zip(scopes) {
            for number in (0u32..).take(scope.argument_count()) {
                let argument = Place::Argument(id, number);
                match flow::sources(graph, argument)? {
                    Some(sources) => {
                        graph.budget().take_all::<(Place, Place)>(2 * sources.len(), WHAT)?;
                        for source in sources {
                            handed_on.entry(whole(source)).or_default().push(argument);
                        }
                    }
                    None if arguments => {}
                    None => found.add(argument),
                }
            }
        }
        found.spread(&handed_on)?;
        Ok(found.marked)
    }

    fn add(&mut self, place: Place) {
        if self.marked.mark(place) {
            self.open.push(place);
        }
    }

    fn spread(&mut self, handed_on: &BTreeMap<Place, Vec<Place>>) -> Result<(), Error> {
        let graph = self.graph;
        while let Some(place) = self.open.pop() {
            for argument in handed_on.get(&place).into_iter().flatten() {
                self.add(*argument);
            }
            let edges: Vec<(NodeId, usize)> = match place {
                Place::Output(id, _) => {
                    let edges = graph.index().scope(id.scope).map(|scope| scope.data_edges(id.node));
                    let edges = edges.unwrap_or_default().into_iter();
                    edges.map(|(node, input)| (NodeId { scope: id.scope, node }, input)).collect()
                }
                Place::Argument(scope, number) => graph.calls()?.reading(scope, number).to_vec(),
            };
            for (reader, input) in edges {
                if counts(graph.op(reader), input) {
                    self.add(Place::Output(reader, 0));
                }
            }
        }
        Ok(())
    }
}

/// All outputs of a node are one thing here.
fn whole(place: Place) -> Place {
    match place {
        Place::Output(id, _) => Place::Output(id, 0),
        argument @ Place::Argument(..) => argument,
    }
}

/// Whether a node makes an activation whatever it reads: it is fed, random, the state of a loop, or of a kind that is not known. What
/// quantization put into a training graph is as what it quantizes: whether a pass trains can be fed, and a weight is one all the same.
fn begins(graph: &Graph, id: NodeId) -> bool {
    let op = graph.op(id);
    let begins = !is_source(op) && (!is_function_of_inputs(op) || flow::data_inputs(graph, id) == 0);
    begins && mark::part(graph, id).is_none()
}

/// Whether an op holds parameters itself.
fn is_source(op: &[u8]) -> bool {
    matches!(op, b"Const" | b"StatelessRandomGetAlg") || crate::find::ops::is_variable(op)
}

/// Whether an activation at this input makes the op's output one: what a tensor is reshaped, permuted, chosen or accompanied by does not.
fn counts(op: &[u8], input: usize) -> bool {
    !is_source(op) && (input == 0 || !matches!(op, b"Reshape" | b"Transpose" | b"Switch" | b"Print"))
}

/// Whether a node's value is made from constants and variables (and `arguments` of functions whose callers are not known) alone: a
/// parameter, computed or not, and no activation.
///
/// # Errors
/// Damaged nodes.
pub(crate) fn is_parameter(graph: &Graph, id: NodeId, arguments: bool) -> Result<bool, Error> {
    is_parameter_at(graph, Place::Output(id, 0), arguments)
}

/// Whether what `op` reads at `input` is made from constants and variables alone, in its own scope or by all who call its function.
///
/// # Errors
/// Damaged nodes.
pub(crate) fn reads_parameter(graph: &Graph, op: NodeId, input: usize) -> Result<bool, Error> {
    let Some(place) = flow::read(graph, op, input) else { return Ok(false) };
    is_parameter_at(graph, place, false)
}

#[cfg(feature = "run")]
impl Graph {
    /// Whether a node of the main graph is made from constants and variables alone. In a graph that runs no node is damaged.
    pub(crate) fn is_parameter_named(&self, name: &str) -> bool {
        let node = self.index().scope(0).and_then(|scope| scope.find(self.bytes(), name.as_bytes()));
        node.is_some_and(|node| is_parameter(self, NodeId { scope: 0, node }, false).unwrap_or(false))
    }
}

/// Whether an op gives the same for the same inputs, as far as is known: no random number, no state of a loop, nothing that is fed.
fn is_function_of_inputs(op: &[u8]) -> bool {
    let others = [
        &b"Bitcast"[..],
        b"BitwiseAnd",
        b"BroadcastTo",
        b"Cast",
        b"CheckNumerics",
        b"CheckNumericsV2",
        b"DecodeRaw",
        b"EnsureShape",
        b"Enter",
        b"Fill",
        b"Greater",
        b"GreaterEqual",
        b"GuaranteeConst",
        b"IdentityN",
        b"Merge",
        b"PreventGradient",
        b"Print",
        b"ReadVariableOp",
        b"ReverseV2",
        b"RightShift",
        b"Round",
        b"Select",
        b"SelectV2",
        b"Sign",
        b"Snapshot",
        b"Split",
        b"SplitV",
        b"StopGradient",
        b"Switch",
        b"Unpack",
    ];
    let seeded = op.starts_with(b"StatelessRandom");
    (crate::find::ops::info(op).is_some() && op != b"PlaceholderWithDefault")
        || is_quantizer(op)
        || seeded
        || others.contains(&op)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(text: &str) -> Graph {
        Graph::from_bytes(crate::graphdef::text::parse(text.as_bytes()).unwrap()).unwrap()
    }

    fn node(name: &str, op: &str, inputs: &[&str]) -> String {
        let inputs: Vec<_> = inputs.iter().map(|input| format!("input: '{input}'")).collect();
        format!("node {{ name: '{name}' op: '{op}' {} }}\n", inputs.join(" "))
    }

    #[test]
    fn the_length_of_a_chain_does_not_matter() {
        for (first, expected) in [("Const", true), ("VarHandleOp", true), ("Placeholder", false)] {
            let mut nodes = node("0", first, &[]) + &node("c", "Const", &[]);
            for (before, number) in (1..200).enumerate() {
                nodes += &node(&number.to_string(), "Mul", &["c", &before.to_string()]);
            }
            let graph = graph(&nodes);
            assert_eq!(is_parameter(&graph, graph.named("199").unwrap(), false).unwrap(), expected, "{first}");
        }
    }

    #[test]
    fn what_is_fed_drawn_or_kept_by_a_loop_is_an_activation() {
        let nodes = [
            node("c", "Const", &[]),
            node("x", "Placeholder", &[]),
            node("given", "PlaceholderWithDefault", &["c"]),
            node("random", "RandomUniform", &["c"]),
            node("entered", "Enter", &["c"]),
            node("merged", "Merge", &["entered", "next"]),
            node("next", "NextIteration", &["added"]),
            node("added", "Add", &["merged", "c"]),
            node("shaped", "Reshape", &["c", "x"]),
            node("chosen", "Select", &["x", "c", "c"]),
        ];
        let graph = graph(&nodes.concat());
        let found = |name: &str| is_parameter(&graph, graph.named(name).unwrap(), false).unwrap();
        for name in ["x", "given", "random", "merged", "next", "added", "chosen"] {
            assert!(!found(name), "{name}");
        }
        for name in ["c", "entered", "shaped"] {
            assert!(found(name), "{name}");
        }
    }

    #[test]
    fn an_argument_is_what_all_callers_give_it() {
        let function = |name: &str| {
            format!(
                "function {{ signature {{ name: '{name}' input_arg {{ name: 'a' type: DT_FLOAT }} }}
                    node_def {{ name: 'y' op: 'Relu' input: 'a' }} ret {{ key: 'r' value: 'y:activations:0' }} }}"
            )
        };
        let call = |name: &str, function: &str, input: &str| {
            format!(
                "node {{ name: '{name}' op: 'PartitionedCall' input: '{input}' attr {{ key: 'f' value {{ func {{ name: '{function}' }} }} }} }}"
            )
        };
        let nodes = [
            node("c", "Const", &[]),
            node("x", "Placeholder", &[]),
            call("one", "of_constants", "c"),
            call("two", "of_both", "c"),
            call("three", "of_both", "x"),
            format!("library {{ {} {} {} }}", function("of_constants"), function("of_both"), function("unknown")),
        ];
        let graph = graph(&nodes.concat());
        for (name, without, with) in [
            ("of_constants::y", true, true),
            ("of_both::y", false, false),
            ("unknown::y", false, true),
            ("one", false, false),
        ] {
            let id = graph.named(name).unwrap();
            assert_eq!(is_parameter(&graph, id, false).unwrap(), without, "{name}");
            assert_eq!(is_parameter(&graph, id, true).unwrap(), with, "{name}");
        }
        for (name, expected) in
            [("of_constants::y", true), ("of_both::y", false), ("unknown::y", false), ("two", true), ("three", false)]
        {
            assert_eq!(reads_parameter(&graph, graph.named(name).unwrap(), 0).unwrap(), expected, "{name}");
        }
    }
}
