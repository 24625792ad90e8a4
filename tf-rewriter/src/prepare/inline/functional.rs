//! Loops and branches that stay, and calls that must: their functions are copied, and a variable that they take becomes an argument with its value.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use protobuf::{EnumOrUnknown, Message};

use super::body::Body;
use super::instance::damaged;
use super::instance::{Instance, Made, Outer};
use super::node::plain_type;
use super::{Handle, Inliner, Value, lost};
use crate::error::{ContainerError, Error};
use crate::graphdef::attrs::{self, Set};
use crate::graphdef::index::{Input, NodeId, ScopeKind, fields, payload};
use crate::graphdef::pb::op_def::ArgDef;
use crate::graphdef::pb::{DataType, TensorShapeProto, attr_value, function_def};
use crate::graphdef::wire::put_bytes;
use crate::prepare::depth::MAX_DEPTH;

/// A function, and the arguments that are values of variables: their positions and types.
pub(super) type Key = (u32, BTreeMap<u32, i32>);

/// A copy of a function.
#[derive(Debug, Clone, Default)]
pub(super) struct Special {
    name: String,
    /// For each result the argument whose variable it hands on.
    results: Vec<Option<u32>>,
}

/// Attributes of a function that say how it was called, or what stands for it elsewhere.
const DROPPED: [&str; 5] =
    ["_input_shapes", "api_implements", "api_preferred_device", "forward_function_name", "backward_function_name"];

impl Inliner<'_> {
    /// Whether a node runs functions of which it says what they take.
    pub(super) fn is_functional(&self, id: NodeId) -> Result<bool, Error> {
        let op = self.graph.op(id);
        let known: [&[u8]; 6] = [b"While", b"StatelessWhile", b"If", b"StatelessIf", b"Case", b"StatelessCase"];
        Ok(known.contains(&op) || self.graph.callee(id)?.is_some())
    }

    /// Make a node that runs functions, over copies of them that take values.
    pub(super) fn functional(
        &mut self,
        at: usize,
        id: NodeId,
        inputs: &[Value],
        controls: Vec<Rc<str>>,
    ) -> Result<Made, Error> {
        let graph = self.graph;
        let op = graph.op(id);
        // Behind what chooses among branches.
        let first = usize::from(matches!(op, b"If" | b"StatelessIf" | b"Case" | b"StatelessCase"));
        let is_loop = matches!(op, b"While" | b"StatelessWhile");
        let arguments = inputs.get(first..).ok_or_else(|| self.too_few(id))?;
        let handles: Vec<Option<&Handle>> = arguments
            .iter()
            .map(|argument| match argument {
                Value::Variable(handle) => Some(handle),
                Value::Tensor(_) => None,
            })
            .collect();
        let bound: BTreeMap<u32, i32> = (0u32..)
            .zip(&handles)
            .filter_map(|(position, handle)| Some((position, plain_type((*handle)?.dtype))))
            .collect();
        let is_direct = graph.index().function(graph.bytes(), op).is_some();
        if is_direct && !bound.is_empty() {
            return Err(self.refuse(
                id,
                "it hands a variable to a function that has to stay",
                "save the model again with TensorFlow 2",
            ));
        }
        let mut results: Vec<Option<u32>> = Vec::new();
        let mut set: Vec<(String, attr_value::Value)> = Vec::new();
        if is_direct {
            self.keep_functions_of(id)?;
        } else {
            self.copies(id, &bound, &mut results, &mut set)?;
        }
        let handed = self.handed(id, is_loop, &handles, &results)?;
        let node = graph.index().node(id).ok_or_else(|| lost("a node"))?;
        let types = if is_loop { "T" } else { "Tin" };
        if !bound.is_empty() {
            let mut list = node.attr_list(graph.bytes(), types)?.unwrap_or_default();
            for (position, dtype) in &bound {
                if let Some(slot) = list.type_.get_mut(*position as usize) {
                    *slot = EnumOrUnknown::from_i32(*dtype);
                }
            }
            set.push((types.to_owned(), attr_value::Value::List(list)));
        }
        if let (true, Some(mut list)) = (is_loop && !bound.is_empty(), node.attr_list(graph.bytes(), "output_shapes")?)
        {
            for position in bound.keys() {
                if let Some(slot) = list.shape.get_mut(*position as usize) {
                    *slot = TensorShapeProto { unknown_rank: true, ..TensorShapeProto::default() };
                }
            }
            set.push(("output_shapes".to_owned(), attr_value::Value::List(list)));
        }
        if let (false, Some(mut list)) = (is_loop || is_direct, node.attr_list(graph.bytes(), "Tout")?) {
            for (slot, handle) in list.type_.iter_mut().zip(&handed) {
                if let Some(handle) = handle {
                    *slot = EnumOrUnknown::from_i32(plain_type(handle.dtype));
                }
            }
            set.push(("Tout".to_owned(), attr_value::Value::List(list)));
        }
        let borrowed: Vec<Set<'_>> = set.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        // It counts arguments that are variables.
        let left_out: &[&str] = if bound.is_empty() { &[] } else { &["_read_only_resource_inputs"] };
        let fields = self.fields(id, &borrowed, left_out)?;
        let texts = self.texts(at, inputs)?;
        let node =
            self.push(at, id, std::str::from_utf8(op).unwrap_or_default(), [texts, controls].concat(), fields)?;
        Ok(Made::Node { node, handles: handed })
    }

    /// The copies of the functions that a node names, as what its attributes are set to; and what all of them hand on.
    fn copies(
        &mut self,
        id: NodeId,
        bound: &BTreeMap<u32, i32>,
        results: &mut Vec<Option<u32>>,
        set: &mut Vec<(String, attr_value::Value)>,
    ) -> Result<(), Error> {
        let graph = self.graph;
        let node = graph.index().node(id).ok_or_else(|| lost("a node"))?;
        let mut walk = fields(graph.bytes(), node.body, "NodeDef");
        let mut is_first = true;
        while let Some(field) = walk.next()? {
            if field.number != 5 {
                continue;
            }
            let span = payload(&field, "NodeDef.attr")?;
            let entry = crate::graphdef::pb::node_def::AttrEntry::parse_from_bytes(span.of(graph.bytes()));
            let entry = entry.map_err(|error| damaged(&error, span.start()))?;
            let Some(mut value) = entry.value.into_option().and_then(|value| value.value) else { continue };
            let functions: Vec<&mut crate::graphdef::pb::NameAttrList> = match &mut value {
                attr_value::Value::Func(function) => vec![function],
                attr_value::Value::List(list) if !list.func.is_empty() => list.func.iter_mut().collect(),
                _ => continue,
            };
            let is_condition = entry.key == "cond";
            for function in functions {
                let Some(scope) = graph.index().function(graph.bytes(), function.name.as_bytes()) else {
                    let why = format!("it runs the function `{}`, which is not in the model", function.name);
                    return Err(self.refuse(id, why, "make the model again"));
                };
                let copy = self.copy_of(scope, bound)?;
                function.name.clone_from(&copy.name);
                if is_condition {
                    continue;
                }
                // What all branches hand on alike.
                if is_first {
                    results.clone_from(&copy.results);
                } else if *results != copy.results {
                    return Err(self.refuse(
                        id,
                        "its branches give different variables",
                        "choose a signature without it",
                    ));
                }
                is_first = false;
            }
            set.push((entry.key, value));
        }
        Ok(())
    }

    /// The variables that a node's outputs are.
    fn handed(
        &self,
        id: NodeId,
        is_loop: bool,
        handles: &[Option<&Handle>],
        results: &[Option<u32>],
    ) -> Result<Vec<Option<Handle>>, Error> {
        let of = |position: Option<u32>| handles.get(position? as usize).copied().flatten().cloned();
        if !is_loop {
            return Ok(results.iter().map(|result| of(*result)).collect());
        }
        let position = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
        let changes = handles
            .iter()
            .enumerate()
            .any(|(own, handle)| handle.is_some() && results.get(own).copied().flatten() != Some(position(own)));
        if changes {
            return Err(self.refuse(id, "the loop changes which variable it reads", "choose a signature without it"));
        }
        Ok(handles.iter().map(|handle| handle.cloned()).collect())
    }

    /// A copy of a function that takes the values of variables, and in which calls are inlined. A function that needs neither stays as it is.
    fn copy_of(&mut self, scope: u32, bound: &BTreeMap<u32, i32>) -> Result<Special, Error> {
        let key = (scope, bound.clone());
        if let Some(known) = self.specials.get(&key) {
            return Ok(known.clone());
        }
        let name = self.graph.function_name(scope).to_owned();
        if bound.is_empty() && !self.has_calls(scope)? {
            self.keep(scope)?;
            let special = Special { name, results: Vec::new() };
            self.specials.insert(key, special.clone());
            return Ok(special);
        }
        if !self.open.insert(scope) {
            return Err(ContainerError::Calls { function: name, what: "runs itself".to_owned() }.into());
        }
        if self.open.len() > MAX_DEPTH {
            let what = format!("is run by more than {MAX_DEPTH} functions, one in another");
            return Err(ContainerError::Calls { function: name, what }.into());
        }
        let made = self.copy(scope, &name, bound)?;
        self.open.remove(&scope);
        self.specials.insert(key, made.clone());
        Ok(made)
    }

    fn copy(&mut self, scope: u32, name: &str, bound: &BTreeMap<u32, i32>) -> Result<Special, Error> {
        let graph = self.graph;
        let found = graph.index().scope(scope).ok_or_else(|| lost("a scope"))?;
        let (_, mut signature) = graph.signature(scope)?.ok_or_else(|| lost("a signature"))?;
        let mut taken: BTreeSet<String> =
            found.nodes.iter().map(|node| node.name.text(graph.bytes()).to_owned()).collect();
        taken.extend(signature.input_arg.iter().map(|argument| argument.name.clone()));
        let body = self.bodies.len();
        self.bodies.push(Body::new(true, taken));
        let mut arguments = Vec::new();
        for (position, argument) in (0u32..).zip(&mut signature.input_arg) {
            let text: Rc<str> = argument.name.as_str().into();
            arguments.push(match bound.get(&position) {
                None => Value::Tensor(text),
                Some(dtype) => {
                    holds_value(argument, *dtype);
                    let handle = Handle {
                        variable: None,
                        dtype: *dtype,
                        argument: Some(position),
                        at: Some(text),
                        is_ref: false,
                    };
                    Value::Variable(handle)
                }
            });
        }
        let at = self.instances.len();
        self.instances.push(Instance::new(scope, String::new(), body, Outer::Function(arguments)));
        self.take_nodes(1)?;
        let loops = self.loops.len();
        let (mut results, mut returns) = (Vec::new(), Vec::new());
        for result in &mut signature.output_arg {
            let returned = found.returns.iter().find(|returned| returned.key.text(graph.bytes()) == result.name);
            let returned = returned.ok_or_else(|| lost("a function's result"))?;
            let input = Input { field: returned.field, text: returned.text, target: returned.target };
            let value = self.settle(at, &input)?;
            if let Value::Variable(handle) = &value {
                holds_value(result, plain_type(handle.dtype));
            }
            results.push(match &value {
                Value::Variable(handle) => handle.argument,
                Value::Tensor(_) => None,
            });
            returns.push((result.name.clone(), self.tensor_of(body, &value)?));
        }
        let controls = self.effects_of(at, scope)?;
        self.close_loops(loops)?;
        let mut own = format!("{name}_frozen");
        let mut number = 0;
        while !self.function_names.insert(own.clone()) {
            number += 1;
            own = format!("{name}_frozen_{number}");
        }
        signature.name.clone_from(&own);
        signature.control_output = controls.iter().map(|(key, _)| key.clone()).collect();
        let bytes = self.encode(scope, body, &signature, &returns, &controls, bound)?;
        self.functions.push(bytes);
        Ok(Special { name: own, results })
    }

    /// What a function does besides its results, as its control outputs.
    fn effects_of(&mut self, at: usize, scope: u32) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::new();
        for node in self.control_results(scope)? {
            let id = NodeId { scope, node };
            if self.effects.is_pure(id) {
                continue;
            }
            let texts = loop {
                let base = self.waiting.len();
                if let Some(texts) = self.waits_for(at, id)? {
                    break texts;
                }
                self.drive(base)?;
            };
            for text in texts {
                let name = text.trim_start_matches('^').to_owned();
                found.push((name.clone(), name));
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// FunctionDef: signature = 1, node_def = 3, ret = 4, attr = 5, control_ret = 6, arg_attr = 7.
    fn encode(
        &self,
        scope: u32,
        body: usize,
        signature: &crate::graphdef::pb::OpDef,
        returns: &[(String, Rc<str>)],
        controls: &[(String, String)],
        bound: &BTreeMap<u32, i32>,
    ) -> Result<Vec<u8>, Error> {
        let graph = self.graph;
        let mut bytes = Vec::new();
        // A message in memory without required fields always encodes.
        put_bytes(&mut bytes, 1, &signature.write_to_bytes().unwrap_or_default());
        self.bodies.get(body).ok_or_else(|| lost("a body"))?.encode(3, &mut bytes);
        let mut entry = |number: u32, key: &str, value: &str| {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, key.as_bytes());
            put_bytes(&mut entry, 2, value.as_bytes());
            put_bytes(&mut bytes, number, &entry);
        };
        for (key, text) in returns {
            entry(4, key, text);
        }
        for (key, node) in controls {
            entry(6, key, node);
        }
        let Some(ScopeKind::Function { function, .. }) = graph.index().scope(scope).map(|scope| scope.kind) else {
            return Ok(bytes);
        };
        let mut walk = fields(graph.bytes(), function.1, "FunctionDef");
        while let Some(field) = walk.next()? {
            let whole = graph.bytes().get(field.span.clone()).unwrap_or_default();
            match field.number {
                5 => {
                    let key = attrs::key_of(payload(&field, "FunctionDef.attr")?.of(graph.bytes()))?;
                    if !DROPPED.contains(&key) {
                        bytes.extend_from_slice(whole);
                    }
                }
                7 => {
                    let span = payload(&field, "FunctionDef.arg_attr")?;
                    let entry = function_def::ArgAttrEntry::parse_from_bytes(span.of(graph.bytes()));
                    let entry = entry.map_err(|error| damaged(&error, span.start()))?;
                    // What is said of an argument was said of a handle.
                    if !bound.contains_key(&entry.key) {
                        bytes.extend_from_slice(whole);
                    }
                }
                _ => {}
            }
        }
        Ok(bytes)
    }

    /// Whether a body calls functions.
    fn has_calls(&self, scope: u32) -> Result<bool, Error> {
        let count = self.graph.index().scope(scope).map_or(0, |scope| scope.nodes.len());
        for node in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            if self.graph.callee(NodeId { scope, node })?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Let an argument or result hold a value, where it was a variable.
fn holds_value(argument: &mut ArgDef, dtype: i32) {
    argument.type_ = EnumOrUnknown::<DataType>::from_i32(dtype);
    argument.handle_data.clear();
    argument.experimental_full_type.clear();
}
