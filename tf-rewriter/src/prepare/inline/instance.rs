//! A body as one call of it sees it.

use std::collections::BTreeMap;

use super::{Inliner, Value, lost};
use protobuf::Message;

use crate::error::{At, ContainerError, Error};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{Input, NodeId, Return, ScopeKind, fields, payload};
use crate::graphdef::pb::function_def;
use crate::prepare::depth::check_depth;

/// What became of a node.
#[derive(Debug, Clone)]
pub(super) enum Made {
    /// A node with the same outputs, by its number in the body. Some of them are variables that it hands on.
    Node { node: usize, handles: Vec<Option<super::Handle>> },
    /// A node whose only output has this name.
    Only { node: usize, output: &'static str },
    /// What it stands for.
    Value(Value),
    /// Nothing that could be read.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    New,
    /// Its inputs are being made.
    Open,
    Done,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    New,
    Open,
    Done(Made),
}

/// Where the arguments of a body come from.
#[derive(Debug)]
pub(super) enum Outer {
    /// The main graph has none.
    Main,
    /// A call that is inlined: argument n is its input n.
    Call { instance: usize, node: NodeId },
    /// Arguments of the function that is made.
    Function(Vec<Value>),
}

/// A body as one call of it sees it.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) scope: u32,
    /// In front of the names of its nodes.
    pub(super) prefix: String,
    /// Where its nodes go.
    pub(super) body: usize,
    pub(super) outer: Outer,
    /// Whether its nodes keep their names: those of the body that it is made for are reserved.
    pub(super) is_root: bool,
    slots: BTreeMap<u32, Slot>,
    children: BTreeMap<u32, usize>,
    depth: usize,
}

impl Instance {
    pub(super) fn main(_: &Graph) -> Self {
        Self::new(0, String::new(), 0, Outer::Main)
    }

    /// One whose nodes have the names of the body that is made.
    pub(super) fn new(scope: u32, prefix: String, body: usize, outer: Outer) -> Self {
        Self { scope, prefix, body, outer, is_root: true, slots: BTreeMap::new(), children: BTreeMap::new(), depth: 0 }
    }

    pub(super) fn made(&self, node: u32) -> Option<&Made> {
        match self.slots.get(&node) {
            Some(Slot::Done(made)) => Some(made),
            _ => None,
        }
    }

    pub(super) fn state(&self, node: u32) -> State {
        match self.slots.get(&node) {
            None | Some(Slot::New) => State::New,
            Some(Slot::Open) => State::Open,
            Some(Slot::Done(_)) => State::Done,
        }
    }

    pub(super) fn open(&mut self, node: u32) {
        self.slots.insert(node, Slot::Open);
    }

    /// Let `child` be the body that a node calls.
    pub(super) fn adopt(&mut self, node: u32, child: usize) {
        self.children.insert(node, child);
    }

    pub(super) fn done(&mut self, node: u32, made: Made) {
        self.slots.insert(node, Slot::Done(made));
    }
}

impl Inliner<'_> {
    /// The instance of the function that a node calls, where the call is one that is inlined.
    pub(super) fn child(&mut self, at: usize, id: NodeId) -> Result<Option<usize>, Error> {
        let own = self.instance(at)?;
        if let Some(child) = own.children.get(&id.node) {
            return Ok(Some(*child));
        }
        let Some(callee) = self.inlined(id)? else { return Ok(None) };
        let own = self.instance(at)?;
        let (depth, body) = (own.depth + 1, own.body);
        let prefix = format!("{}{}/", own.prefix, self.graph.name(id));
        self.refuse_recursion(at, callee)?;
        check_depth(self.graph, callee, depth)?;
        self.take_nodes(1)?;
        self.calls += 1;
        let child = self.instances.len();
        let outer = Outer::Call { instance: at, node: id };
        self.instances.push(Instance { is_root: false, depth, ..Instance::new(callee, prefix, body, outer) });
        if let Some(own) = self.instances.get_mut(at) {
            own.children.insert(id.node, child);
        }
        Ok(Some(child))
    }

    fn refuse_recursion(&self, at: usize, callee: u32) -> Result<(), Error> {
        let mut next = Some(at);
        while let Some(own) = next.map(|at| self.instance(at)).transpose()? {
            if own.scope == callee {
                let function = self.graph.function_name(callee).to_owned();
                return Err(ContainerError::Calls { function, what: "calls itself".to_owned() }.into());
            }
            next = match own.outer {
                Outer::Call { instance, .. } => Some(instance),
                Outer::Main | Outer::Function(_) => None,
            };
        }
        Ok(())
    }

    /// Whether a call goes, and its function's nodes stand in its place.
    pub(super) fn is_inlined(&self, id: NodeId) -> Result<bool, Error> {
        Ok(self.inlined(id)?.is_some())
    }

    /// The function that a node calls, where nothing says that the call has to stay.
    fn inlined(&self, id: NodeId) -> Result<Option<u32>, Error> {
        let graph = self.graph;
        let Some(callee) = graph.callee(id)? else { return Ok(None) };
        let Some(node) = graph.index().node(id) else { return Ok(None) };
        for key in ["_XlaMustCompile", "_xla_compile_id", "_tpu_replicate"] {
            if node.attr_bool(graph.bytes(), key)?
                || node.attr_bytes(graph.bytes(), key)?.is_some_and(|text| text.len() > 0)
            {
                return Ok(None);
            }
        }
        let stays = self.functional_attrs(callee)?.iter().any(|attr| {
            let value = attr.value.as_ref();
            let is_set = value.is_some_and(|value| value.b() || !value.s().is_empty());
            is_set
                && matches!(attr.key.as_str(), "_noinline" | "_XlaMustCompile" | "_xla_compile_id" | "_tpu_replicate")
        });
        Ok((!stays).then_some(callee))
    }

    /// What a function returns as the output that an edge reads of its call.
    pub(super) fn returned(&self, child: usize, call: NodeId, input: &Input, port: u32) -> Result<Input, Error> {
        let graph = self.graph;
        let scope = self.instance(child)?.scope;
        let scope = graph.index().scope(scope).ok_or_else(|| lost("a scope"))?;
        let name = input.text.text(graph.bytes()).split(':').nth(1).filter(|_| call.scope != 0);
        let by_number = |number: u32| {
            let found = scope.returns.iter().find(|returned| scope.result(graph.bytes(), returned) == Some(number));
            found.map(Return::as_input)
        };
        // The call of a function by its own name has the function's results as outputs.
        let by_name = |name: &str| {
            let found = scope.returns.iter().find(|returned| returned.key.text(graph.bytes()) == name);
            found.map(Return::as_input)
        };
        let is_direct = graph.index().function(graph.bytes(), graph.op(call)).is_some();
        let found = match name.filter(|_| is_direct) {
            Some(name) => by_name(name),
            None => by_number(port),
        };
        found.ok_or_else(|| {
            self.refuse(
                call,
                format!("its function has no result for `{}`", input.text.text(graph.bytes())),
                "make the model again",
            )
        })
    }

    /// The attributes of a function.
    fn functional_attrs(&self, scope: u32) -> Result<Vec<function_def::AttrEntry>, Error> {
        let graph = self.graph;
        let Some(ScopeKind::Function { function, .. }) = graph.index().scope(scope).map(|scope| scope.kind) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut walk = fields(graph.bytes(), function.1, "FunctionDef");
        while let Some(field) = walk.next()? {
            if field.number == 5 {
                let span = payload(&field, "FunctionDef.attr")?;
                let entry = function_def::AttrEntry::parse_from_bytes(span.of(graph.bytes()));
                found.push(entry.map_err(|error| damaged(&error, span.start()))?);
            }
        }
        Ok(found)
    }

    /// Count nodes that are made.
    pub(super) fn take_nodes(&self, count: usize) -> Result<(), Error> {
        Ok(self.graph.budget().take((count * super::NODE) as u64, "the nodes of inlined functions")?)
    }
}

/// An attribute that is no message.
pub(super) fn damaged(error: &protobuf::Error, offset: usize) -> Error {
    Error::Wire {
        what: "an attribute".into(),
        found: error.to_string().into(),
        expected: "a name and a value".into(),
        at: At::offset(offset),
    }
}
