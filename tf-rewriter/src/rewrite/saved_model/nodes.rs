//! The nodes of a graph that was made, as far as variables are concerned.

use std::collections::BTreeMap;

use protobuf::{Enum, Message};

use super::gaps::{Gapped, Part};
use crate::error::Error;
use crate::graphdef::pb::{DataType, TensorShapeProto};

/// The nodes of the main graph.
pub(super) struct Nodes {
    pub(super) list: Vec<Node>,
    by_name: BTreeMap<String, usize>,
    /// What first assigns a variable a value, by the variable.
    pub(super) assigns: BTreeMap<String, Node>,
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) op: String,
    pub(super) inputs: Vec<String>,
    pub(super) device: String,
    /// What whoever takes its place keeps: attributes that begin with `_`, and what is behind attributes.
    pub(super) kept: Vec<u8>,
    pub(super) tensor: Tensor,
}

/// What a constant holds.
#[derive(Clone, Default)]
pub(super) struct Tensor {
    pub(super) dtype: DataType,
    pub(super) shape: Vec<u64>,
    /// Its elements, where they stand as they lie in memory.
    pub(super) content: Option<Part>,
}

impl Nodes {
    pub(super) fn read(message: &Gapped) -> Result<Self, Error> {
        let mut found = Self { list: Vec::new(), by_name: BTreeMap::new(), assigns: BTreeMap::new() };
        for field in message.fields(&message.all())? {
            if let Some(payload) = field.payload.filter(|_| field.number == 1) {
                let node = Node::read(message, &payload)?;
                if let Some(variable) = node.inputs.first().filter(|_| node.op == "AssignVariableOp") {
                    found.assigns.entry(variable.clone()).or_insert_with(|| node.clone());
                }
                found.by_name.insert(node.name.clone(), found.list.len());
                found.list.push(node);
            }
        }
        Ok(found)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Node> {
        self.list.get(*self.by_name.get(name)?)
    }

    /// A name that nothing has, and that is taken then.
    pub(super) fn unique(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 0;
        while self.by_name.contains_key(&name) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        self.by_name.insert(name.clone(), usize::MAX);
        name
    }

    /// A scope that no name is in.
    pub(super) fn free_scope(&self, wanted: &str) -> String {
        let is_free = |scope: &str| {
            let below = format!("{scope}/");
            let next = self.by_name.range(below.clone()..).next();
            !self.by_name.contains_key(scope) && next.is_none_or(|(name, _)| !name.starts_with(&below))
        };
        let numbered = (1..).map(|number: u32| format!("{wanted}_{number}"));
        let mut all = std::iter::once(wanted.to_owned()).chain(numbered);
        all.find(|scope| is_free(scope)).unwrap_or_else(|| wanted.to_owned())
    }
}

impl Node {
    /// NodeDef: name = 1, op = 2, input = 3, device = 4, attr = 5.
    fn read(message: &Gapped, node: &Part) -> Result<Self, Error> {
        let text = |part: &Part| String::from_utf8_lossy(message.text(part)).into_owned();
        let (name, op, inputs, device, kept) = Default::default();
        let mut found = Self { name, op, inputs, device, kept, tensor: Tensor::default() };
        for field in message.fields(node)? {
            let Some(payload) = &field.payload else {
                found.kept.extend_from_slice(message.text(&field.whole));
                continue;
            };
            match field.number {
                1 => found.name = text(payload),
                2 => found.op = text(payload),
                3 => found.inputs.push(text(payload)),
                4 => found.device = text(payload),
                5 => {
                    let entry = message.fields(payload)?;
                    let part =
                        |number| entry.iter().find(|field| field.number == number).and_then(|f| f.payload.as_ref());
                    let key = part(1).map(|key| message.text(key)).unwrap_or_default();
                    if key.starts_with(b"_") {
                        found.kept.extend_from_slice(message.text(&field.whole));
                    } else if let (b"value", Some(value)) = (key, part(2)) {
                        // AttrValue.tensor = 8
                        let value = message.fields(value)?.into_iter().find(|field| field.number == 8);
                        if let Some(tensor) = value.and_then(|field| field.payload) {
                            found.tensor = Tensor::read(message, &tensor)?;
                        }
                    }
                }
                _ => found.kept.extend_from_slice(message.text(&field.whole)),
            }
        }
        Ok(found)
    }
}

impl Tensor {
    /// TensorProto: dtype = 1, tensor_shape = 2, tensor_content = 4.
    fn read(message: &Gapped, tensor: &Part) -> Result<Self, Error> {
        let mut found = Self::default();
        for field in message.fields(tensor)? {
            match (field.number, field.payload) {
                (1, _) => {
                    found.dtype = i32::try_from(field.value).ok().and_then(DataType::from_i32).unwrap_or_default();
                }
                (2, Some(shape)) => {
                    let shape = TensorShapeProto::parse_from_bytes(message.text(&shape)).unwrap_or_default();
                    found.shape = shape.dim.iter().map(|dim| u64::try_from(dim.size).unwrap_or(0)).collect();
                }
                (4, content) => found.content = content,
                _ => {}
            }
        }
        Ok(found)
    }
}
