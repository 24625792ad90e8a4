//! Handles of variables that branches, loops and functions pass on, as the values that they stand for.
//!
//! A `VarHandleOp` that `ReadVariableOp`s alone read is gone once they are constants. Where its handle passes through other nodes, the
//! handle itself becomes the value: what passes it on has another element type, in a function also the argument, and what reads the
//! variable there passes it on too.

use std::collections::{BTreeMap, BTreeSet};

use protobuf::{Enum, EnumOrUnknown, Message};

use super::kept::Kept;
use crate::Error;
use crate::emit::{Editor, NewNode, attr_entry};
use crate::graph::Graph;
use crate::index::{NodeId, Target};
use crate::ops::writes_variables;
use crate::pb::{AttrValue, DataType, attr_value};
use crate::wire::put_bytes;

/// A tensor that is a handle: an output of a node (`None`: every output), or an argument of a function, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Tensor {
    Output(NodeId, Option<u32>),
    Argument(u32, String),
}

/// A new element type, and its place where the attribute is a list.
type Retyped = (Option<usize>, DataType);

/// What changes where handles become values.
#[derive(Debug, Default)]
pub(super) struct Handles {
    /// Variables whose handle becomes the value.
    pub(super) variables: BTreeSet<NodeId>,
    /// What reads a variable whose handle became a value, and the value's type.
    reads: BTreeMap<NodeId, DataType>,
    /// Element types in attributes: of the node, under the key, at the position in the list if it is one.
    types: BTreeMap<(NodeId, &'static str), Vec<Retyped>>,
    /// Types of arguments and results, by function: results are those whose text is the handle's.
    arguments: BTreeMap<(u32, String), DataType>,
    results: BTreeMap<(u32, String), DataType>,
    /// Assignments in functions.
    writers: BTreeSet<NodeId>,
}

/// Follow the handles of all variables that stay.
pub(super) fn follow(graph: &Graph, kept: &Kept) -> Result<Handles, Error> {
    let mut walk = Walk { graph, kept, by_name: graph.index().functions(graph.bytes()), found: Handles::default() };
    let mut open = Vec::new();
    for id in kept.nodes.iter().copied().filter(|id| graph.op(*id) == b"VarHandleOp") {
        let passed_on =
            |(reader, _): &(NodeId, usize)| kept.contains(*reader) && graph.op(*reader) != b"ReadVariableOp";
        if walk.readers(&Tensor::Output(id, Some(0))).iter().any(passed_on) {
            let number =
                graph.index().node(id).map(|node| node.attr_type(graph.bytes(), "dtype")).transpose()?.flatten();
            let dtype = number.and_then(|number| DataType::from_i32(i32::try_from(number).ok()?)).unwrap_or_default();
            walk.found.variables.insert(id);
            open.push((Tensor::Output(id, Some(0)), dtype));
        }
    }
    let mut seen: BTreeMap<Tensor, DataType> = BTreeMap::new();
    while let Some((tensor, dtype)) = open.pop() {
        if let Some(known) = seen.get(&tensor) {
            if *known != dtype {
                return Err(mixed(graph, &tensor));
            }
            continue;
        }
        seen.insert(tensor.clone(), dtype);
        walk.results(&tensor, dtype);
        for (reader, input) in walk.readers(&tensor) {
            if kept.contains(reader) {
                walk.reader(reader, input, dtype, &mut open)?;
            }
        }
    }
    Ok(walk.found)
}

fn mixed(graph: &Graph, tensor: &Tensor) -> Error {
    let name = match tensor {
        Tensor::Output(id, _) => graph.full_name(*id),
        Tensor::Argument(scope, name) => graph.name_in(*scope, name),
    };
    Error::NotTraining { found: format!("`{name}` is the handle of variables of different types") }
}

struct Walk<'g> {
    graph: &'g Graph,
    kept: &'g Kept,
    by_name: BTreeMap<&'g [u8], u32>,
    found: Handles,
}

impl Walk<'_> {
    /// The data edges that read a tensor.
    fn readers(&self, tensor: &Tensor) -> Vec<(NodeId, usize)> {
        let bytes = self.graph.bytes();
        match tensor {
            Tensor::Output(id, wanted) => {
                let Some(scope) = self.graph.index().scope(id.scope) else { return Vec::new() };
                let edges = scope.data_edges(id.node).into_iter();
                let edges = edges.map(|(node, input)| (NodeId { scope: id.scope, node }, input));
                let reads = |(reader, input): &(NodeId, usize)| {
                    let target = self.graph.input(*reader, *input).map(|input| input.target);
                    matches!(target, Some(Target::Data { port, .. }) if wanted.is_none_or(|wanted| wanted == port))
                };
                edges.filter(reads).collect()
            }
            Tensor::Argument(scope, name) => {
                let Some(found) = self.graph.index().scope(*scope) else { return Vec::new() };
                let mut edges = Vec::new();
                for (node, id) in found.nodes.iter().zip(0u32..) {
                    for (at, input) in found.inputs(node).iter().enumerate() {
                        if input.target == Target::Argument && input.text.text(bytes) == name {
                            edges.push((NodeId { scope: *scope, node: id }, at));
                        }
                    }
                }
                edges
            }
        }
    }

    /// Results of the function that are this very tensor: loops hand on the handles that they are given.
    fn results(&mut self, tensor: &Tensor, dtype: DataType) {
        let bytes = self.graph.bytes();
        let scope = match tensor {
            Tensor::Output(id, _) => id.scope,
            Tensor::Argument(scope, _) => *scope,
        };
        let Some(found) = self.graph.index().scope(scope) else { return };
        for returned in &found.returns {
            let text = returned.text.text(bytes);
            let is_it = match tensor {
                Tensor::Output(id, _) => text.split(':').next() == Some(self.graph.name(*id)),
                Tensor::Argument(_, name) => text == name,
            };
            if is_it {
                self.found.results.insert((scope, returned.key.text(bytes).to_owned()), dtype);
            }
        }
    }

    fn reader(
        &mut self,
        id: NodeId,
        input: usize,
        dtype: DataType,
        open: &mut Vec<(Tensor, DataType)>,
    ) -> Result<(), Error> {
        let mut retype = |key: &'static str, at: Option<usize>| {
            let types = self.found.types.entry((id, key)).or_default();
            if !types.contains(&(at, dtype)) {
                types.push((at, dtype));
            }
        };
        let op = self.graph.op(id);
        match op {
            b"ReadVariableOp" => {
                self.found.reads.insert(id, dtype);
            }
            b"Identity" | b"Switch" | b"Enter" | b"Exit" | b"NextIteration" => {
                retype("T", None);
                open.push((Tensor::Output(id, None), dtype));
            }
            b"Merge" => {
                retype("T", None);
                open.push((Tensor::Output(id, Some(0)), dtype));
            }
            b"If" | b"StatelessIf" | b"Case" | b"StatelessCase" if input > 0 => {
                retype("Tin", Some(input - 1));
                self.arguments(id, &["then_branch", "else_branch", "branches"], input - 1, dtype, open)?;
            }
            b"While" | b"StatelessWhile" => {
                retype("T", Some(input));
                open.push((Tensor::Output(id, u32::try_from(input).ok()), dtype));
                self.arguments(id, &["cond", "body"], input, dtype, open)?;
            }
            b"PartitionedCall" | b"StatefulPartitionedCall" => {
                retype("Tin", Some(input));
                self.arguments(id, &["f"], input, dtype, open)?;
            }
            _ if writes_variables(op) && id.scope != 0 => {
                self.found.writers.insert(id);
            }
            _ => match self.by_name.get(op).copied() {
                Some(function) => open.extend(self.argument(function, input, dtype)?),
                None => return Err(uses(self.graph, id)),
            },
        }
        Ok(())
    }

    /// The arguments number `at` of the functions that `id` calls by the attributes `keys`.
    fn arguments(
        &mut self,
        id: NodeId,
        keys: &[&str],
        at: usize,
        dtype: DataType,
        open: &mut Vec<(Tensor, DataType)>,
    ) -> Result<(), Error> {
        let bytes = self.graph.bytes();
        let Some(node) = self.graph.index().node(id) else { return Ok(()) };
        for (key, name) in node.functions(bytes)? {
            let function = self.by_name.get(name.of(bytes)).copied();
            if let Some(function) = function.filter(|_| keys.contains(&key.text(bytes))) {
                open.extend(self.argument(function, at, dtype)?);
            }
        }
        Ok(())
    }

    fn argument(&mut self, function: u32, at: usize, dtype: DataType) -> Result<Option<(Tensor, DataType)>, Error> {
        let Some((_, signature)) = self.graph.signature(function)? else { return Ok(None) };
        let Some(argument) = signature.input_arg.get(at) else { return Ok(None) };
        self.found.arguments.insert((function, argument.name.clone()), dtype);
        Ok(self.kept.functions.contains(&function).then(|| (Tensor::Argument(function, argument.name.clone()), dtype)))
    }
}

pub(super) fn uses(graph: &Graph, id: NodeId) -> Error {
    let op = String::from_utf8_lossy(graph.op(id));
    Error::NotTraining {
        found: format!("`{}` ({op}) uses a variable otherwise than by reading it", graph.full_name(id)),
    }
}

impl Handles {
    /// Change all nodes and functions through which handles pass. The edges of nodes that stay are the caller's.
    pub(super) fn change(&self, editor: &mut Editor<'_>) -> Result<(), Error> {
        for (id, dtype) in &self.reads {
            read(editor, *id, *dtype);
        }
        for ((id, key), types) in &self.types {
            retype(editor, *id, key, types)?;
        }
        for id in &self.writers {
            // Others may wait for it, and a function may say that it has to run.
            let controls = controls(editor.graph, *id);
            let nothing = NewNode::new("NoOp", editor.graph.name(*id).to_owned(), controls, editor.device(*id));
            editor.replace(*id, vec![nothing]);
        }
        let functions: BTreeSet<u32> =
            self.arguments.keys().chain(self.results.keys()).map(|(scope, _)| *scope).collect();
        for function in functions {
            self.signature(editor, function)?;
        }
        Ok(())
    }

    /// Whether a node's edges are changed here.
    pub(super) fn replaces(&self, id: NodeId) -> bool {
        self.reads.contains_key(&id) || self.writers.contains(&id)
    }

    fn signature(&self, editor: &mut Editor<'_>, function: u32) -> Result<(), Error> {
        let Some((span, mut signature)) = editor.graph.signature(function)? else { return Ok(()) };
        let sides = [(&mut signature.input_arg, &self.arguments), (&mut signature.output_arg, &self.results)];
        for (list, types) in sides {
            for argument in list {
                if let Some(dtype) = types.get(&(function, argument.name.clone())) {
                    argument.type_ = EnumOrUnknown::new(*dtype);
                    argument.handle_data.clear();
                    argument.experimental_full_type.clear();
                }
            }
        }
        let mut field = Vec::new();
        put_bytes(&mut field, 1, &signature.write_to_bytes().unwrap_or_default());
        editor.in_function(function, span, field);
        Ok(())
    }
}

/// What a node waits for.
fn controls(graph: &Graph, id: NodeId) -> Vec<String> {
    let Some((scope, node)) = graph.index().scope(id.scope).zip(graph.index().node(id)) else { return Vec::new() };
    let texts = scope.inputs(node).iter().map(|input| input.text.text(graph.bytes()));
    texts.filter(|text| text.starts_with('^')).map(str::to_owned).collect()
}

/// What reads a variable passes its value on.
fn read(editor: &mut Editor<'_>, id: NodeId, dtype: DataType) {
    let graph = editor.graph;
    let name = graph.name(id).to_owned();
    // Assignments, for which it may have waited, change nothing any more.
    let node = NewNode::new("Identity", name.clone(), vec![editor.reads(id, 0)], editor.device(id));
    let node = node.typed("T", dtype);
    let to = node.output(editor.scope_kind(id.scope));
    editor.replace(id, vec![node]);
    if id.scope == 0 {
        return;
    }
    // In a function, edges say what an op calls its output.
    let edges = graph.index().scope(id.scope).map(|scope| scope.data_edges(id.node)).unwrap_or_default();
    for (reader, input) in edges {
        editor.reroute(NodeId { scope: id.scope, node: reader }, input, to.clone());
    }
    editor.return_instead(id.scope, &format!("{name}:value:0"), &to);
}

/// Put element types into an attribute.
fn retype(editor: &mut Editor<'_>, id: NodeId, key: &str, types: &[Retyped]) -> Result<(), Error> {
    let (graph, bytes) = (editor.graph, editor.graph.bytes());
    let Some(node) = graph.index().node(id) else { return Ok(()) };
    let Some(attr) = node.attr(bytes, key)? else { return Ok(()) };
    let mut list = node.attr_list(bytes, key)?;
    let mut single = None;
    for (at, dtype) in types {
        match (at, &mut list) {
            (Some(at), Some(list)) => {
                if let Some(slot) = list.type_.get_mut(*at) {
                    *slot = EnumOrUnknown::new(*dtype);
                }
            }
            _ => single = Some(*dtype),
        }
    }
    let value = match (single, list) {
        (Some(dtype), _) => attr_value::Value::Type(EnumOrUnknown::new(dtype)),
        (None, Some(list)) => attr_value::Value::List(list),
        (None, None) => return Ok(()),
    };
    let value = AttrValue { value: Some(value), ..AttrValue::default() };
    editor.patch(id, attr.entry, vec![crate::splice::Segment::Bytes(attr_entry(key, value))]);
    Ok(())
}
