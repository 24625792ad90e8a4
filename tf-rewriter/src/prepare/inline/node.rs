//! One node: its inputs are there, and it is made.

use super::body::Node;
use super::instance::Made;
use super::{Handle, Inliner, Value, lost};
use crate::error::Error;
use crate::find::ops::writes_variables;
use crate::graphdef::attrs::{self, Set, of_type, of_type_number};
use crate::graphdef::index::{Input, NodeId, Target, fields, payload};
use crate::graphdef::pb::{DataType, attr_value};
use crate::graphdef::tensor::encode_tensor;
use crate::prepare::values;

/// Attributes that say something of the graph as it was: what a node stands with, and shapes that held before.
const DROPPED: [&str; 4] = ["_class", "_output_shapes", "api_implements", "_has_manual_control_dependencies"];

impl Inliner<'_> {
    /// The values of a node's data inputs.
    pub(super) fn inputs(&mut self, at: usize, id: NodeId) -> Result<Option<Vec<Value>>, Error> {
        let graph = self.graph;
        let (scope, node) = graph.index().scope(id.scope).zip(graph.index().node(id)).ok_or_else(|| lost("a node"))?;
        let mut values = Vec::new();
        let mut complete = true;
        for input in scope.inputs(node) {
            if matches!(input.target, Target::Control { .. }) || input.text.of(graph.bytes()).starts_with(b"^") {
                continue;
            }
            match self.value(at, input)? {
                Some(value) => values.push(value),
                None => complete = false,
            }
        }
        Ok(complete.then_some(values))
    }

    /// A variable is a handle until it is read. One that holds the path of an asset is that path.
    pub(super) fn variable(&mut self, at: usize, id: NodeId) -> Result<Option<Made>, Error> {
        if id.scope != 0 {
            return Err(self.refuse(
                id,
                "the variable is made inside of a function",
                "make it outside, where a checkpoint has it",
            ));
        }
        let asset = self.variables.assets.get(&id.node).copied();
        let is_stored = self.variables.key(id.node).is_some() || asset.is_some();
        if !is_stored && !self.constants.is_given(self.graph, id.node)? {
            let help = "save all variables that the model reads; those of metrics and local ones are not saved";
            return Err(self.refuse(id, values::NO_VALUE, help));
        }
        let node = self.graph.index().node(id).ok_or_else(|| lost("a node"))?;
        let dtype =
            node.attr_type(self.graph.bytes(), "dtype")?.and_then(|number| i32::try_from(number).ok()).unwrap_or(0);
        let is_ref = self.graph.op(id) != b"VarHandleOp";
        let path = match asset {
            None => None,
            Some(placeholder) => match self.value(at, &Input::of_output(placeholder.node, 0))? {
                Some(Value::Tensor(text)) => Some(text),
                Some(Value::Variable(_)) => return Err(lost("the path of an asset")),
                None => return Ok(None),
            },
        };
        let handle = Handle { variable: Some(id.node), dtype, argument: None, at: path, is_ref };
        Ok(Some(Made::Value(Value::Variable(handle))))
    }

    /// A node that stands before its inputs: a loop goes through it.
    pub(super) fn closing_loop(&mut self, at: usize, id: NodeId) -> Result<Made, Error> {
        let dtype =
            self.graph.index().node(id).map(|node| node.attr_type(self.graph.bytes(), "T")).transpose()?.flatten();
        if dtype == u64::try_from(DataType::DT_RESOURCE as i32).ok() {
            let why = "a loop changes which variable it reads";
            return Err(self.refuse(id, why, "choose a signature that reads its variables outside of such a loop"));
        }
        let fields = self.fields(id, &[], &[])?;
        let op = value_op(self.graph.op(id));
        let node = self.push(at, id, op, Vec::new(), fields)?;
        self.loops.push((at, id, node));
        Ok(Made::Node { node, handles: Vec::new() })
    }

    /// Give the nodes that close loops their inputs, down to `base` of them.
    pub(super) fn close_loops(&mut self, base: usize) -> Result<(), Error> {
        while self.loops.len() > base {
            let Some((at, id, node)) = self.loops.pop() else { break };
            let (inputs, controls) = loop {
                let base = self.waiting.len();
                let inputs = self.inputs(at, id)?;
                let controls = self.controls(at, id)?;
                if let (Some(inputs), Some(controls)) = (inputs, controls) {
                    break (inputs, controls);
                }
                self.drive(base)?;
            };
            let body = self.instance(at)?.body;
            let mut texts = Vec::with_capacity(inputs.len() + controls.len());
            for input in &inputs {
                texts.push(self.tensor_of(body, input)?);
            }
            texts.extend(controls);
            if let Some(made) = self.body(body)?.nodes.get_mut(node) {
                made.inputs = texts;
            }
        }
        Ok(())
    }

    /// A node that reads tensors alone goes on as it is.
    pub(super) fn plain(
        &mut self,
        at: usize,
        id: NodeId,
        inputs: &[Value],
        controls: Vec<super::Rc<str>>,
    ) -> Result<Made, Error> {
        let mut texts = self.texts(at, inputs)?;
        if texts.is_empty() && controls.is_empty() && self.graph.op(id) != b"Placeholder" {
            texts.extend(self.entry(at)?);
        }
        texts.extend(controls);
        let fields = match self.graph.op(id) {
            b"Const" => match self.constants.large(self.graph, id)? {
                Some(value) => [self.fields(id, &[], &["value"])?, value].concat(),
                None => self.fields(id, &[], &[])?,
            },
            b"Placeholder" if id.scope == 0 && self.variables.asset_files.contains_key(&id.node) => {
                let file = self.variables.asset_files.get(&id.node).map(String::as_str).unwrap_or_default();
                let fields = values::text(file);
                let node = self.push(at, id, "Const", texts, fields)?;
                return Ok(Made::Only { node, output: "output" });
            }
            _ => self.fields(id, &[], &[])?,
        };
        self.keep_functions_of(id)?;
        let node = self.push(at, id, value_op(self.graph.op(id)), texts, fields)?;
        if self.graph.op(id) == b"Const" && self.instance(at)?.body == 0 {
            self.copied.push((node, id));
        }
        Ok(Made::Node { node, handles: Vec::new() })
    }

    pub(super) fn texts(&mut self, at: usize, inputs: &[Value]) -> Result<Vec<super::Rc<str>>, Error> {
        let body = self.instance(at)?.body;
        inputs.iter().map(|input| self.tensor_of(body, input)).collect()
    }

    /// A node that takes a variable, as one that takes its value.
    pub(super) fn over_variable(
        &mut self,
        at: usize,
        id: NodeId,
        inputs: &[Value],
        controls: Vec<super::Rc<str>>,
        handle: &Handle,
    ) -> Result<Made, Error> {
        let graph = self.graph;
        let op = graph.op(id);
        let node = graph.index().node(id).ok_or_else(|| lost("a node"))?;
        let dtype = |key: &str| -> Result<Set<'static>, Error> {
            let number = node.attr_type(graph.bytes(), key)?.and_then(|number| i32::try_from(number).ok());
            let number = number.filter(|number| *number != 0).unwrap_or(handle.dtype);
            Ok(("T", of_type_number(plain_type(number))))
        };
        match op {
            b"ReadVariableOp" => {
                let set = attrs::entries(&[dtype("dtype")?]);
                let texts = self.texts(at, inputs)?;
                let node = self.push(at, id, "Identity", [texts, controls].concat(), set)?;
                Ok(Made::Only { node, output: "output" })
            }
            b"Identity" if !handle.is_ref => Ok(Made::Value(inputs.first().cloned().ok_or_else(|| lost("an input"))?)),
            b"ResourceGather" | b"ResourceGatherNd" => self.gather(at, id, inputs, controls, handle),
            b"VariableShape" => {
                let mut set = vec![("T", of_type_number(plain_type(handle.dtype)))];
                if let Some(number) =
                    node.attr_type(graph.bytes(), "out_type")?.and_then(|number| i32::try_from(number).ok())
                {
                    set.push(("out_type", of_type_number(number)));
                }
                let texts = self.texts(at, inputs)?;
                let node = self.push(at, id, "Shape", [texts, controls].concat(), attrs::entries(&set))?;
                Ok(Made::Only { node, output: "output" })
            }
            b"VarIsInitializedOp" | b"IsVariableInitialized" => {
                let fields = attrs::constant(DataType::DT_BOOL, &encode_tensor(DataType::DT_BOOL, &[], &[1]));
                let node = self.push(at, id, "Const", controls, fields)?;
                Ok(Made::Only { node, output: "output" })
            }
            b"DisableCopyOnRead" | b"NoOp" => Ok(Made::Nothing),
            b"Enter" | b"Exit" | b"Switch" | b"RefEnter" | b"RefExit" | b"RefSwitch" | b"RefIdentity" => {
                let set = [("T", of_type_number(plain_type(handle.dtype)))];
                let fields = self.fields(id, &set, &[])?;
                let texts = self.texts(at, inputs)?;
                let body = self.instance(at)?.body;
                let node = self.push(at, id, value_op(op), [texts, controls].concat(), fields)?;
                let name = self.name_of(body, node)?;
                let count = if op.ends_with(b"Switch") { 2 } else { 1 };
                let handed = |port: u32| {
                    let text = if port == 0 { super::Rc::clone(&name) } else { format!("{name}:{port}").into() };
                    Some(Handle { at: Some(text), ..handle.clone() })
                };
                Ok(Made::Node { node, handles: (0..count).map(handed).collect() })
            }
            _ if handle.is_ref && !writes_variables(op) => self.plain(at, id, inputs, controls),
            _ => {
                let name =
                    handle.variable.map_or("of its function's argument", |node| graph.name(NodeId { scope: 0, node }));
                let why = format!("it changes the variable `{name}`, or needs more of it than its value");
                Err(self.refuse(
                    id,
                    why,
                    "choose a signature that only reads its variables; a graph without variables cannot do this",
                ))
            }
        }
    }

    /// Look-ups in a variable as look-ups in its value, along the axis behind the batch.
    fn gather(
        &mut self,
        at: usize,
        id: NodeId,
        inputs: &[Value],
        controls: Vec<super::Rc<str>>,
        handle: &Handle,
    ) -> Result<Made, Error> {
        let graph = self.graph;
        let node = graph.index().node(id).ok_or_else(|| lost("a node"))?;
        let index_type = node.attr_type(graph.bytes(), "Tindices")?.and_then(|number| i32::try_from(number).ok());
        let mut set = vec![
            ("Tparams", of_type_number(plain_type(handle.dtype))),
            ("Tindices", of_type_number(index_type.unwrap_or(DataType::DT_INT32 as i32))),
        ];
        let mut texts = self.texts(at, inputs)?;
        if graph.op(id) == b"ResourceGatherNd" {
            let node = self.push(at, id, "GatherNd", [texts, controls].concat(), attrs::entries(&set))?;
            return Ok(Made::Only { node, output: "output" });
        }
        let batch = node.attr_int(graph.bytes(), "batch_dims")?.unwrap_or(0);
        let entry = self.entry(at)?;
        let axis = i32::try_from(batch).unwrap_or(0).to_le_bytes();
        let fields = attrs::constant(DataType::DT_INT32, &encode_tensor(DataType::DT_INT32, &[], &axis));
        let body = self.instance(at)?.body;
        let prefix = self.instance(at)?.prefix.clone();
        let name = self.body(body)?.unique(&format!("{prefix}{}/axis", graph.name(id)));
        let body = self.body(body)?;
        body.nodes.push(Node { name: super::Rc::clone(&name), op: "Const".to_owned(), inputs: entry, fields });
        texts.push(body.first_output(&name, "output"));
        set.push(("Taxis", of_type(DataType::DT_INT32)));
        set.push(("batch_dims", attr_value::Value::I(batch)));
        let node = self.push(at, id, "GatherV2", [texts, controls].concat(), attrs::entries(&set))?;
        Ok(Made::Only { node, output: "output" })
    }

    /// Add a node to the body of its instance, with the name that it has there.
    pub(super) fn push(
        &mut self,
        at: usize,
        id: NodeId,
        op: &str,
        inputs: Vec<super::Rc<str>>,
        fields: Vec<u8>,
    ) -> Result<usize, Error> {
        let own = self.instance(at)?;
        let (body, is_root) = (own.body, own.is_root);
        let wanted = format!("{}{}", own.prefix, self.graph.name(id));
        let length = wanted.len() + fields.len() + inputs.iter().map(|input| input.len()).sum::<usize>();
        self.take_nodes(1)?;
        self.graph.budget().take(length as u64, "the nodes of inlined functions")?;
        let body = self.body(body)?;
        // The names of the body that is made were reserved for its own nodes.
        let name = if is_root { wanted.into() } else { body.unique(&wanted) };
        body.nodes.push(Node { name, op: op.to_owned(), inputs, fields });
        Ok(body.nodes.len() - 1)
    }

    /// The encoded fields of a node besides name, op, inputs and device, some attributes set to something else and some left out.
    pub(super) fn fields(&self, id: NodeId, set: &[Set<'_>], left_out: &[&str]) -> Result<Vec<u8>, Error> {
        let bytes = self.graph.bytes();
        let node = self.graph.index().node(id).ok_or_else(|| lost("a node"))?;
        let mut out = Vec::with_capacity(node.body.len());
        let mut walk = fields(bytes, node.body, "NodeDef");
        while let Some(field) = walk.next()? {
            match field.number {
                // What stands there instead is written by whoever asks; debug information says where things were.
                1..=4 | 6 => {}
                5 => {
                    let key = attrs::key_of(payload(&field, "NodeDef.attr")?.of(bytes))?;
                    if !DROPPED.contains(&key)
                        && !left_out.contains(&key)
                        && !set.iter().any(|(other, _)| *other == key)
                    {
                        out.extend_from_slice(bytes.get(field.span.clone()).unwrap_or_default());
                    }
                }
                // A full type says that the output is a handle.
                7 if !set.is_empty() => {}
                _ => out.extend_from_slice(bytes.get(field.span.clone()).unwrap_or_default()),
            }
        }
        out.extend(attrs::entries(set));
        Ok(out)
    }
}

/// The type of a variable's value: references are 100 more.
pub(super) fn plain_type(number: i32) -> i32 {
    if number > 100 { number - 100 } else { number }
}

/// The op that does with values what `op` does with references to variables.
fn value_op(op: &[u8]) -> &str {
    match op {
        b"RefEnter" => "Enter",
        b"RefSwitch" => "Switch",
        b"RefIdentity" => "Identity",
        b"RefExit" => "Exit",
        b"RefNextIteration" => "NextIteration",
        b"RefMerge" => "Merge",
        _ => std::str::from_utf8(op).unwrap_or_default(),
    }
}
