//! What goes in and out: signatures, and the names under which their tensors are found afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use protobuf::EnumOrUnknown;

use super::body::{Body, Node};
use super::instance::{Instance, Made, Outer};
use super::{Inliner, Value, lost};
use crate::error::Error;
use crate::find::ops::{is_table, is_variable};
use crate::graphdef::attrs;
use crate::graphdef::graph::{Endpoint, Interface};
use crate::graphdef::index::{Input, NodeId};
use crate::graphdef::pb::{SignatureDef, TensorInfo, attr_value};
use crate::graphdef::saved_model::tensors;

/// Whose names the nodes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// Those of the function that the signature calls, as `convert_variables_to_constants_v2` of TensorFlow 2 has them: inputs are called like its
    /// arguments, outputs `Identity`, `Identity_1` …
    #[default]
    Function,
    /// Those of the main graph, as TensorFlow 1, Serving and `saved_model_cli` have them: `serving_default_x`, `StatefulPartitionedCall`.
    Main,
}

impl Inliner<'_> {
    /// Make what a signature needs.
    pub(in crate::prepare) fn signature(&mut self, signature: &SignatureDef, names: Names) -> Result<Interface, Error> {
        let inputs = tensors(&signature.inputs);
        let outputs = tensors(&signature.outputs);
        match self.wrapper(&outputs)?.filter(|_| names == Names::Function) {
            Some(call) => self.function_names(call, &inputs, &outputs),
            None => self.main_names(&inputs, &outputs),
        }
    }

    /// Make what tensors of the main graph need.
    pub(in crate::prepare) fn outputs(&mut self, outputs: &[String]) -> Result<Interface, Error> {
        let info = |name: &String| {
            let mut info = TensorInfo::new();
            info.set_name(name.clone());
            (name.clone(), info)
        };
        self.main_names(&[], &outputs.iter().map(info).collect::<Vec<_>>())
    }

    /// Make what fills the lookup tables of what was made so far, where there are any: the node that has to run first.
    pub(in crate::prepare) fn initializer(&mut self, name: Option<&str>) -> Result<Option<String>, Error> {
        let Some(main) = self.bodies.first() else { return Ok(None) };
        let has_tables = main.nodes.iter().any(|node| is_table(node.op.as_bytes()));
        let Some((source, _)) = name.filter(|_| has_tables).and_then(|name| self.source(name)) else { return Ok(None) };
        let base = self.waiting.len();
        self.waiting.push((0, source.node));
        self.drive(base)?;
        self.close_loops(0)?;
        match self.instance(0)?.made(source.node) {
            Some(Made::Node { node, .. } | Made::Only { node, .. }) => {
                let node = *node;
                Ok(Some(self.name_of(0, node)?.to_string()))
            }
            _ => Ok(None),
        }
    }

    /// The one call that all outputs are results of.
    fn wrapper(&mut self, outputs: &[(String, TensorInfo)]) -> Result<Option<NodeId>, Error> {
        let calls: BTreeSet<Option<NodeId>> =
            outputs.iter().map(|(_, info)| self.source(info.name()).map(|(id, _)| id)).collect();
        let mut calls = calls.into_iter();
        let (Some(Some(call)), None) = (calls.next(), calls.next()) else { return Ok(None) };
        Ok(self.is_inlined(call)?.then_some(call))
    }

    /// The node and port of the main graph that a tensor's name means.
    fn source(&self, tensor: &str) -> Option<(NodeId, u32)> {
        let (name, port) = tensor.split_once(':').unwrap_or((tensor, "0"));
        Some((self.graph.named(name).filter(|id| id.scope == 0)?, port.parse().ok()?))
    }

    fn required(&self, key: &str, tensor: &str) -> Result<(NodeId, u32), Error> {
        self.source(tensor).ok_or_else(|| Error::NoSuchNode {
            name: if tensor.is_empty() { key.to_owned() } else { tensor.to_owned() },
        })
    }

    fn function_names(
        &mut self,
        call: NodeId,
        inputs: &[(String, TensorInfo)],
        outputs: &[(String, TensorInfo)],
    ) -> Result<Interface, Error> {
        let graph = self.graph;
        let callee = graph.callee(call)?.ok_or_else(|| lost("a function"))?;
        let scope = graph.index().scope(callee).ok_or_else(|| lost("a scope"))?;
        let (_, own) = graph.signature(callee)?.ok_or_else(|| lost("a signature"))?;
        let mut taken: BTreeSet<String> =
            scope.nodes.iter().map(|node| node.name.text(graph.bytes()).to_owned()).collect();
        taken.extend(own.input_arg.iter().map(|argument| argument.name.clone()));
        if let Some(body) = self.bodies.first_mut() {
            *body = Body::new(false, taken);
        }
        // The main graph's nodes have no names of their own here.
        if let Some(main) = self.instances.first_mut() {
            main.is_root = false;
        }
        let root = self.instances.len();
        let outer = Outer::Call { instance: 0, node: call };
        self.instances.push(Instance::new(callee, String::new(), 0, outer));
        self.calls += 1;
        if let Some(main) = self.instances.first_mut() {
            main.adopt(call.node, root);
        }
        let mut interface = Interface::default();
        let mut placed: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (key, info) in inputs {
            let (source, port) = self.required(key, info.name())?;
            let node = if let Some(node) = placed.get(&source) {
                *node
            } else {
                let argument = own.input_arg.iter().enumerate();
                let mut argument = argument.filter(|(position, _)| graph.source(call, *position) == Some(source));
                let is_plain = port == 0 && graph.op(source).starts_with(b"Placeholder");
                let name = argument.next().filter(|_| is_plain).map(|(_, argument)| argument.name.as_str());
                let node = self.placeholder(source, info, name)?;
                placed.insert(source, node);
                node
            };
            let name = self.name_of(0, node)?;
            interface.inputs.push(Endpoint::new(key, info, &name));
        }
        for (key, info) in outputs {
            let (source, port) = self.required(key, info.name())?;
            let input = Input::of_output(source.node, port);
            let value = self.settle(0, &input)?;
            let text = self.tensor_of(0, &value)?;
            interface.outputs.push(Endpoint::new(key, info, &text));
        }
        self.close_loops(0)?;
        Ok(interface)
    }

    /// The input of a signature, whether something reads it or not: under the name of the function's argument, or the one that it has.
    fn placeholder(&mut self, source: NodeId, info: &TensorInfo, argument: Option<&str>) -> Result<usize, Error> {
        let Some(argument) = argument else {
            let input = Input::of_output(source.node, 0);
            self.settle(0, &input)?;
            return match self.instance(0)?.made(source.node) {
                Some(Made::Node { node, .. } | Made::Only { node, .. }) => Ok(*node),
                _ => Err(self.refuse(source, "a signature has it for an input", "save the model again")),
            };
        };
        let mut set = vec![("dtype", attr_value::Value::Type(info.dtype))];
        if let Some(shape) = info.tensor_shape.as_ref() {
            set.push(("shape", attr_value::Value::Shape(shape.clone())));
        }
        self.take_nodes(1)?;
        let body = self.body(0)?;
        let node = Node {
            name: argument.into(),
            op: "Placeholder".to_owned(),
            inputs: Vec::new(),
            fields: attrs::entries(&set),
        };
        body.nodes.push(node);
        let node = body.nodes.len() - 1;
        if let Some(main) = self.instances.first_mut() {
            main.done(source.node, Made::Only { node, output: "output" });
        }
        Ok(node)
    }

    fn main_names(
        &mut self,
        inputs: &[(String, TensorInfo)],
        outputs: &[(String, TensorInfo)],
    ) -> Result<Interface, Error> {
        let mut interface = Interface::default();
        for (key, info) in inputs {
            let text = self.main_tensor(key, info.name())?;
            interface.inputs.push(Endpoint::new(key, info, &text));
        }
        for (key, info) in outputs {
            let text = self.main_tensor(key, info.name())?;
            interface.outputs.push(Endpoint::new(key, info, &text));
        }
        self.close_loops(0)?;
        // What is no node any more goes on under its name.
        for (_, info) in outputs {
            let (source, _) = self.required("", info.name())?;
            self.named_again(source)?;
        }
        Ok(interface)
    }

    /// A tensor of the main graph, made, under the name that it had.
    fn main_tensor(&mut self, key: &str, tensor: &str) -> Result<Rc<str>, Error> {
        let (source, port) = self.required(key, tensor)?;
        let input = Input::of_output(source.node, port);
        self.settle(0, &input)?;
        let name = self.graph.name(source);
        Ok(if port == 0 { name.into() } else { format!("{name}:{port}").into() })
    }

    /// Give a call that was inlined, or what stands for a value, a node of its name: `Identity`, or `IdentityN` for several results.
    fn named_again(&mut self, source: NodeId) -> Result<(), Error> {
        let graph = self.graph;
        let name: Rc<str> = graph.name(source).into();
        if is_variable(graph.op(source)) && self.body(0)?.constants.contains_key(&source.node)
            || self.body(0)?.nodes.iter().any(|node| node.name == name)
        {
            return Ok(());
        }
        let count = match graph.callee(source)?.map(|callee| graph.signature(callee)).transpose()?.flatten() {
            Some((_, signature)) => signature.output_arg.iter().map(|result| result.type_).collect::<Vec<_>>(),
            None => Vec::new(),
        };
        let mut texts = Vec::new();
        let ports = if self.is_inlined(source)? { count.len() } else { 1 };
        let mut types = Vec::new();
        for port in 0..u32::try_from(ports).unwrap_or(0) {
            let input = Input::of_output(source.node, port);
            let value = self.settle(0, &input)?;
            let dtype = match &value {
                Value::Variable(handle) => EnumOrUnknown::from_i32(super::node::plain_type(handle.dtype)),
                Value::Tensor(_) => count.get(port as usize).copied().unwrap_or_default(),
            };
            texts.push(self.tensor_of(0, &value)?);
            types.push(dtype);
        }
        self.close_loops(0)?;
        let (op, set) = match types.as_slice() {
            [one] => ("Identity", attr_value::Value::Type(*one)),
            several => {
                let mut list = attr_value::ListValue::new();
                list.type_ = several.to_vec();
                ("IdentityN", attr_value::Value::List(list))
            }
        };
        self.take_nodes(1)?;
        let node = Node { name, op: op.to_owned(), inputs: texts, fields: attrs::entries(&[("T", set)]) };
        self.body(0)?.nodes.push(node);
        Ok(())
    }
}
