//! Functions inlined and variables made constants: what a signature needs, as one flat graph.
//!
//! ```text
//! outputs ──▶ value of an edge ──▶ through calls and arguments ──▶ node ──▶ its inputs … ──▶ made behind them
//! ```
//!
//! Everything is made on demand, from the outputs on. A body is seen once for each call of it (`instance`); what it makes goes into the main graph,
//! or into the copy of a function that has to stay (`functional`: bodies of loops and branches). A variable is a handle until an op reads it;
//! then it is one constant. Nothing here calls itself for each node: what is asked for and not there yet waits on a list.
//!
//! Names and results are those of TensorFlow 2.21's `convert_variables_to_constants_v2` where it has them.

mod body;
mod control;
mod effects;
mod functional;
mod instance;
mod interface;
mod library;
mod node;
mod outcome;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::error::{At, ContainerError, Error};
use crate::find::ops::is_variable;
use crate::graphdef::bundle::Bundle;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{Input, NodeId, Target};
use crate::graphdef::types::flat_port;

use super::values::Constants;
use super::variables::Variables;
use body::Body;
use effects::Effects;
use functional::Special;
use instance::{Instance, Made, Outer, State};

pub use interface::Names;

/// A value while the graph is made.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A tensor, as the nodes of the body that is made read it.
    Tensor(Rc<str>),
    /// A variable: not read yet.
    Variable(Handle),
}

/// A variable's handle.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    /// The number of its node in the main graph; not known where a function is made for several.
    variable: Option<u32>,
    /// The number of its element type.
    dtype: i32,
    /// Which argument of the function that is made it is.
    argument: Option<u32>,
    /// A tensor with its value; else it is a constant that is made when it is needed.
    at: Option<Rc<str>>,
    /// Whether ops read it as a tensor (variables of TF1).
    is_ref: bool,
}

/// What makes the graph.
pub(super) struct Inliner<'g> {
    graph: &'g Graph,
    variables: &'g Variables,
    bundle: Option<&'g Bundle>,
    effects: Effects,
    /// Whether there are loops and branches of TF1, whose frames every node has to be in.
    has_frames: bool,
    instances: Vec<Instance>,
    bodies: Vec<Body>,
    /// Nodes that have to be made first, by instance.
    waiting: Vec<(usize, u32)>,
    /// Nodes that stand before their inputs do: what closes a loop.
    loops: Vec<(usize, NodeId, usize)>,
    specials: BTreeMap<functional::Key, Special>,
    /// Functions whose copy is being made.
    open: BTreeSet<u32>,
    /// Functions that are kept as they are, by scope.
    kept: BTreeSet<u32>,
    /// Encoded FunctionDefs that were made.
    functions: Vec<Vec<u8>>,
    function_names: BTreeSet<String>,
    pub(super) constants: Constants<'g>,
    /// Constants of the model that are in the main graph, by their numbers there.
    copied: Vec<(usize, NodeId)>,
    /// Calls that were inlined.
    calls: usize,
}

/// What the nodes that are made take, besides their bytes.
const NODE: usize = 256;

impl<'g> Inliner<'g> {
    pub(super) fn new(
        graph: &'g Graph,
        variables: &'g Variables,
        bundle: Option<&'g Bundle>,
        constants: Constants<'g>,
    ) -> Result<Self, Error> {
        let frames = |op: &[u8]| matches!(op, b"Enter" | b"Switch" | b"RefEnter" | b"RefSwitch");
        let names = |scope: u32| {
            let nodes = graph.index().scope(scope).map(|scope| scope.nodes.as_slice()).unwrap_or_default();
            nodes.iter().map(|node| node.name.text(graph.bytes()).to_owned()).collect::<BTreeSet<String>>()
        };
        let functions = graph.index().scopes.iter().enumerate().skip(1);
        let function_names =
            functions.map(|(scope, _)| graph.function_name(u32::try_from(scope).unwrap_or(0)).to_owned());
        Ok(Self {
            graph,
            variables,
            bundle,
            effects: Effects::of(graph)?,
            has_frames: graph.all_nodes().any(|id| frames(graph.op(id))),
            instances: vec![Instance::main(graph)],
            bodies: vec![Body::new(false, names(0))],
            waiting: Vec::new(),
            loops: Vec::new(),
            specials: BTreeMap::new(),
            open: BTreeSet::new(),
            kept: BTreeSet::new(),
            functions: Vec::new(),
            function_names: function_names.collect(),
            constants,
            copied: Vec::new(),
            calls: 0,
        })
    }

    fn instance(&self, at: usize) -> Result<&Instance, Error> {
        self.instances.get(at).ok_or_else(|| lost("an instance"))
    }

    fn body(&mut self, at: usize) -> Result<&mut Body, Error> {
        self.bodies.get_mut(at).ok_or_else(|| lost("a body"))
    }

    /// The value of an edge of an instance. `None` where a node has to be made first, which then waits.
    fn value(&mut self, instance: usize, input: &Input) -> Result<Option<Value>, Error> {
        let graph = self.graph;
        let (mut at, mut input) = (instance, *input);
        loop {
            let own = self.instance(at)?;
            match input.target {
                Target::Control { .. } => return Err(lost("data behind a control edge")),
                Target::Argument => {
                    let scope = graph.index().scope(own.scope).ok_or_else(|| lost("a scope"))?;
                    let argument = scope.argument(graph.bytes(), input.text.of(graph.bytes()));
                    let argument = argument.ok_or_else(|| lost("an argument"))?;
                    match &own.outer {
                        Outer::Main => return Err(lost("an argument of the main graph")),
                        Outer::Function(arguments) => {
                            return Ok(Some(
                                arguments.get(argument as usize).ok_or_else(|| lost("an argument"))?.clone(),
                            ));
                        }
                        Outer::Call { instance: outer, node } => {
                            let (outer, node) = (*outer, *node);
                            let given = graph.input(node, argument as usize);
                            input = *given.ok_or_else(|| self.too_few(node))?;
                            at = outer;
                        }
                    }
                }
                Target::Data { node, port } => {
                    let id = NodeId { scope: own.scope, node };
                    if let Some(made) = own.made(node) {
                        let made = made.clone();
                        return self.read(at, id, &made, &input, port).map(Some);
                    }
                    let Some(child) = self.child(at, id)? else {
                        self.waiting.push((at, node));
                        return Ok(None);
                    };
                    input = self.returned(child, id, &input, port)?;
                    at = child;
                }
            }
        }
    }

    /// The value of an edge, whatever has to be made for it.
    fn settle(&mut self, instance: usize, input: &Input) -> Result<Value, Error> {
        loop {
            let base = self.waiting.len();
            if let Some(value) = self.value(instance, input)? {
                return Ok(value);
            }
            self.drive(base)?;
        }
    }

    /// Make what waits, down to `base`.
    fn drive(&mut self, base: usize) -> Result<(), Error> {
        while self.waiting.len() > base {
            let Some((instance, node)) = self.waiting.last().copied() else { break };
            let id = NodeId { scope: self.instance(instance)?.scope, node };
            let known = self.waiting.len();
            match self.instance(instance)?.state(node) {
                State::Done => {
                    self.waiting.pop();
                    continue;
                }
                State::New | State::Open => {}
            }
            if let Some(own) = self.instances.get_mut(instance) {
                own.open(node);
            }
            let made = self.make(instance, id)?;
            match made {
                Some(made) => {
                    if let Some(own) = self.instances.get_mut(instance) {
                        own.done(node, made);
                    }
                    self.waiting.truncate(known - 1);
                }
                None => self.refuse_cycle(known)?,
            }
        }
        Ok(())
    }

    /// Make a node of an instance. `None` where something has to be made first, which then waits.
    fn make(&mut self, at: usize, id: NodeId) -> Result<Option<Made>, Error> {
        let op = self.graph.op(id);
        if is_variable(op) {
            return self.variable(at, id);
        }
        if matches!(op, b"Merge" | b"NextIteration" | b"RefMerge" | b"RefNextIteration") {
            return self.closing_loop(at, id).map(Some);
        }
        // All that is missing waits at once.
        let inputs = self.inputs(at, id)?;
        let Some(controls) = self.controls(at, id)? else { return Ok(None) };
        let Some(inputs) = inputs else { return Ok(None) };
        let handle = inputs.iter().find_map(|input| match input {
            Value::Variable(handle) => Some(handle.clone()),
            Value::Tensor(_) => None,
        });
        if self.is_functional(id)? {
            return self.functional(at, id, &inputs, controls).map(Some);
        }
        match handle {
            Some(handle) => self.over_variable(at, id, &inputs, controls, &handle).map(Some),
            None => self.plain(at, id, &inputs, controls).map(Some),
        }
    }

    /// A node that waits for itself would wait forever.
    fn refuse_cycle(&self, known: usize) -> Result<(), Error> {
        let added = self.waiting.get(known..).unwrap_or_default();
        let cycle = added.iter().find(|(instance, node)| {
            self.instances.get(*instance).is_none_or(|own| matches!(own.state(*node), State::Open))
        });
        let Some((instance, node)) = cycle.copied().or_else(|| added.is_empty().then_some((0, 0))) else {
            return Ok(());
        };
        let id = NodeId { scope: self.instance(instance)?.scope, node };
        let name = self.graph.full_name(id);
        Err(Error::Cycle { path: name.clone(), node: name, at: Box::new(At::default()) })
    }

    /// How an edge reads what was made of a node.
    fn read(&mut self, at: usize, id: NodeId, made: &Made, input: &Input, port: u32) -> Result<Value, Error> {
        let graph = self.graph;
        let body = self.instance(at)?.body;
        let (node, output) = match made {
            Made::Value(value) => return Ok(value.clone()),
            Made::Nothing => return Err(lost("an output of a node without one")),
            Made::Only { node, output } => {
                let name = self.name_of(body, *node)?;
                return Ok(Value::Tensor(self.body(body)?.first_output(&name, output)));
            }
            Made::Node { node, handles } => {
                if let Some(Some(handle)) = handles.get(port as usize) {
                    return Ok(Value::Variable(handle.clone()));
                }
                (*node, input.text.text(graph.bytes()).split(':').nth(1).filter(|_| id.scope != 0))
            }
        };
        let name = self.name_of(body, node)?;
        if self.body(body)?.is_function {
            let output = output.ok_or_else(|| lost("the name of an output"))?;
            return Ok(Value::Tensor(format!("{name}:{output}:{port}").into()));
        }
        let flat = match output {
            None => port,
            Some(output) => self.flat(id, output, port)?,
        };
        Ok(Value::Tensor(if flat == 0 { name } else { format!("{name}:{flat}").into() }))
    }

    /// The number of what a function body calls `output:index` of a node.
    fn flat(&self, id: NodeId, output: &str, index: u32) -> Result<u32, Error> {
        let graph = self.graph;
        let node = graph.index().node(id).ok_or_else(|| lost("a node"))?;
        if let Some(flat) = flat_port(graph, node, output, index)? {
            return Ok(flat);
        }
        // A function that stays and is called by its name: results by theirs.
        if let Some(scope) =
            graph.index().function(graph.bytes(), node.op.of(graph.bytes())).and_then(|id| graph.index().scope(id))
        {
            let named = scope.returns.iter().find(|returned| returned.key.text(graph.bytes()) == output);
            if let Some(result) = named.and_then(|returned| scope.result(graph.bytes(), returned)) {
                return Ok(result);
            }
        }
        Err(self.refuse(
            id,
            format!("which of its outputs `{output}` is, is not known: TensorFlow 2.21 has no such op, or none with such an output"),
            "freeze the model with the library that has this op",
        ))
    }

    fn name_of(&self, body: usize, node: usize) -> Result<Rc<str>, Error> {
        let made = self.bodies.get(body).and_then(|body| body.nodes.get(node));
        made.map(|node| Rc::clone(&node.name)).ok_or_else(|| lost("a node that was made"))
    }

    /// The tensor with the value of a variable.
    fn tensor_of(&mut self, body: usize, value: &Value) -> Result<Rc<str>, Error> {
        let handle = match value {
            Value::Tensor(text) => return Ok(Rc::clone(text)),
            Value::Variable(handle) => handle,
        };
        if let Some(at) = &handle.at {
            return Ok(Rc::clone(at));
        }
        let variable = handle.variable.ok_or_else(|| lost("a variable"))?;
        if let Some(known) = self.body(body)?.constants.get(&variable) {
            return Ok(Rc::clone(known));
        }
        let fields = self.constants.variable(self.graph, self.variables, self.bundle, variable)?;
        let wanted = self.graph.name(NodeId { scope: 0, node: variable });
        // The variable's own node is not made: where names are those of the main graph, the constant has its name.
        let is_free = body == 0 && self.instance(0)?.is_root;
        let body = self.body(body)?;
        let name: Rc<str> = if is_free { wanted.into() } else { body.unique(wanted) };
        body.nodes.push(body::Node { name: Rc::clone(&name), op: "Const".to_owned(), inputs: Vec::new(), fields });
        let text = body.first_output(&name, "output");
        body.constants.insert(variable, Rc::clone(&text));
        Ok(text)
    }

    /// The refusal of a node.
    fn refuse(&self, id: NodeId, why: impl Into<String>, help: &'static str) -> Error {
        let op = String::from_utf8_lossy(self.graph.op(id)).into_owned();
        ContainerError::Freeze { node: self.graph.full_name(id), op, why: why.into(), help: help.into() }.into()
    }

    fn too_few(&self, id: NodeId) -> Error {
        self.refuse(id, "it calls a function with fewer inputs than the function has arguments", "make the model again")
    }
}

/// What cannot be: every edge was resolved when the graph was opened.
fn lost(what: &str) -> Error {
    Error::Verify { message: format!("while functions are inlined, {what} is missing") }
}
