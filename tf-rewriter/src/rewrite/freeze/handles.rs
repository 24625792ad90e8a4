//! Handles of variables that branches, loops and functions pass on, as the values that they stand for.
//!
//! A `VarHandleOp` that `ReadVariableOp`s alone read is gone once they are constants. Where its handle passes through other nodes, the
//! handle itself becomes the value: what passes it on has another element type, in a function also the argument, and what reads the
//! variable there passes it on too.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use protobuf::{Enum, EnumOrUnknown, Message};

use super::gather::{gather, gathers};
use super::kept::Kept;
use crate::error::Error;
use crate::find::ops::writes_variables;
use crate::graphdef::attrs;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Return, Target};
use crate::graphdef::pb::{DataType, attr_value};
use crate::graphdef::wire::put_bytes;
use crate::rewrite::emit::{Editor, NewNode};

/// A tensor that is a handle: an output of a node (`None`: every output), or an argument of a function, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Tensor {
    Output(NodeId, Option<u32>),
    Argument(u32, String),
}

/// New element types, by their place where the attribute is a list.
type Retyped = BTreeMap<Option<usize>, DataType>;

/// What changes where handles become values.
#[derive(Debug, Default)]
pub(super) struct Handles {
    /// Variables whose handle becomes the value.
    pub(super) variables: BTreeSet<NodeId>,
    /// What reads a variable whose handle became a value, or looks something up in it, and the value's type.
    reads: BTreeMap<NodeId, DataType>,
    /// Element types in attributes: of the node, under the key, at the position in the list if it is one.
    types: BTreeMap<(NodeId, &'static str), Retyped>,
    /// Types of arguments and results, by function: results are those whose text is the handle's.
    arguments: BTreeMap<(u32, String), DataType>,
    results: BTreeMap<(u32, String), DataType>,
    /// Assignments in functions.
    writers: BTreeSet<NodeId>,
}

/// Follow the handles of all variables that stay.
pub(super) fn follow(graph: &Graph, kept: &Kept) -> Result<Handles, Error> {
    let mut walk = Walk {
        graph,
        kept,
        found: Handles::default(),
        inside: BTreeMap::new(),
        outputs: BTreeMap::new(),
        called: BTreeMap::new(),
        ordered: BTreeMap::new(),
    };
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
    found: Handles,
    /// By function: who reads its arguments, and what it returns. Looked at once, since many handles can pass through it.
    inside: BTreeMap<u32, Inside<'g>>,
    /// By node: who reads which of its outputs.
    outputs: BTreeMap<NodeId, BTreeMap<u32, Vec<(NodeId, usize)>>>,
    /// The functions that a node calls, by the attributes that name them.
    called: BTreeMap<NodeId, Vec<(&'g str, u32)>>,
    /// The names of a function's arguments, in order.
    ordered: BTreeMap<u32, Vec<String>>,
}

/// What is inside of a function.
#[derive(Debug, Default)]
struct Inside<'g> {
    readers: BTreeMap<&'g str, Vec<(NodeId, usize)>>,
    /// By the node, or by the argument.
    returns: BTreeMap<(Option<u32>, &'g str), Vec<&'g Return>>,
}

impl<'g> Inside<'g> {
    fn of(graph: &'g Graph, scope: u32) -> Self {
        let (mut found, bytes) = (Self::default(), graph.bytes());
        let Some(function) = graph.index().scope(scope) else { return found };
        for (node, id) in function.nodes.iter().zip(0u32..) {
            for (at, input) in function.inputs(node).iter().enumerate() {
                if input.target == Target::Argument {
                    let readers = found.readers.entry(input.text.text(bytes)).or_default();
                    readers.push((NodeId { scope, node: id }, at));
                }
            }
        }
        for returned in &function.returns {
            let from = match returned.target {
                Target::Data { node, .. } | Target::Control { node } => (Some(node), ""),
                Target::Argument => (None, returned.text.text(bytes)),
            };
            found.returns.entry(from).or_default().push(returned);
        }
        found
    }
}

/// The data edges out of a node, by the number of the output.
fn edges_by_port(graph: &Graph, id: NodeId) -> BTreeMap<u32, Vec<(NodeId, usize)>> {
    let mut found: BTreeMap<u32, Vec<(NodeId, usize)>> = BTreeMap::new();
    let edges = graph.index().scope(id.scope).into_iter().flat_map(|scope| scope.edges(id.node));
    for (node, input, target) in edges {
        if let Target::Data { port, .. } = target {
            found.entry(port).or_default().push((NodeId { scope: id.scope, node }, input));
        }
    }
    found
}

impl<'g> Walk<'g> {
    fn inside(&mut self, scope: u32) -> &Inside<'g> {
        self.inside.entry(scope).or_insert_with(|| Inside::of(self.graph, scope))
    }

    /// The data edges that read a tensor.
    fn readers(&mut self, tensor: &Tensor) -> Vec<(NodeId, usize)> {
        match tensor {
            Tensor::Output(id, wanted) => {
                let graph = self.graph;
                let by_port = self.outputs.entry(*id).or_insert_with(|| edges_by_port(graph, *id));
                match wanted {
                    Some(port) => by_port.get(port).cloned().unwrap_or_default(),
                    None => by_port.values().flatten().copied().collect(),
                }
            }
            Tensor::Argument(scope, name) => {
                self.inside(*scope).readers.get(name.as_str()).cloned().unwrap_or_default()
            }
        }
    }

    /// Results of the function that are this very tensor: loops hand on the handles that they are given.
    fn results(&mut self, tensor: &Tensor, dtype: DataType) {
        let bytes = self.graph.bytes();
        let (scope, from, wanted) = match tensor {
            Tensor::Output(id, wanted) => (id.scope, (Some(id.node), ""), *wanted),
            Tensor::Argument(scope, name) => (*scope, (None, name.as_str()), None),
        };
        let is_it = |returned: &&&Return| match returned.target {
            Target::Data { port, .. } => wanted.is_none_or(|wanted| wanted == port),
            Target::Control { .. } | Target::Argument => true,
        };
        let results = self.inside(scope).returns.get(&from).into_iter().flatten().filter(is_it);
        let keys: Vec<String> = results.map(|returned| returned.key.text(bytes).to_owned()).collect();
        self.found.results.extend(keys.into_iter().map(|key| ((scope, key), dtype)));
    }

    fn reader(
        &mut self,
        id: NodeId,
        input: usize,
        dtype: DataType,
        open: &mut Vec<(Tensor, DataType)>,
    ) -> Result<(), Error> {
        let mut retype = |key: &'static str, at: Option<usize>| {
            self.found.types.entry((id, key)).or_default().insert(at, dtype);
        };
        let op = self.graph.op(id);
        match op {
            b"ReadVariableOp" | b"ResourceGather" | b"ResourceGatherNd" if input == 0 => {
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
            _ => match self.graph.index().function(self.graph.bytes(), op) {
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
        let (graph, bytes) = (self.graph, self.graph.bytes());
        if let Entry::Vacant(called) = self.called.entry(id) {
            let named = graph.index().node(id).map(|node| node.functions(bytes)).transpose()?.unwrap_or_default();
            let named = named
                .into_iter()
                .filter_map(|(key, name)| Some((key.text(bytes), graph.index().function(bytes, name.of(bytes))?)));
            // Branches can be one function many times.
            let named: BTreeSet<(&str, u32)> = named.collect();
            called.insert(named.into_iter().collect());
        }
        let called = self.called.get(&id).map(Vec::as_slice).unwrap_or_default();
        let functions: Vec<u32> =
            called.iter().filter(|(key, _)| keys.contains(key)).map(|(_, function)| *function).collect();
        for function in functions {
            open.extend(self.argument(function, at, dtype)?);
        }
        Ok(())
    }

    fn argument(&mut self, function: u32, at: usize, dtype: DataType) -> Result<Option<(Tensor, DataType)>, Error> {
        if let Entry::Vacant(ordered) = self.ordered.entry(function) {
            let signature = self.graph.signature(function)?.map(|(_, signature)| signature).unwrap_or_default();
            ordered.insert(signature.input_arg.into_iter().map(|argument| argument.name).collect());
        }
        let Some(name) = self.ordered.get(&function).and_then(|names| names.get(at)) else { return Ok(None) };
        self.found.arguments.insert((function, name.clone()), dtype);
        Ok(self.kept.functions.contains(&function).then(|| (Tensor::Argument(function, name.clone()), dtype)))
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
            if gathers(editor.graph.op(*id)) {
                gather(editor, *id, *dtype)?;
            } else {
                read(editor, *id, *dtype);
            }
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
fn retype(editor: &mut Editor<'_>, id: NodeId, key: &str, types: &Retyped) -> Result<(), Error> {
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
        (Some(dtype), _) => attrs::of_type(dtype),
        (None, Some(list)) => attr_value::Value::List(list),
        (None, None) => return Ok(()),
    };
    editor.patch(id, attr.entry, vec![crate::rewrite::splice::Segment::Bytes(attrs::entry(key, value))]);
    Ok(())
}
