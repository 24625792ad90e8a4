//! What is made: nodes of the main graph, or of a function's body.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::graphdef::wire::put_bytes;

/// A node that is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) name: Rc<str>,
    pub(super) op: String,
    pub(super) inputs: Vec<Rc<str>>,
    /// Encoded fields of its NodeDef besides name, op and inputs.
    pub(super) fields: Vec<u8>,
}

impl Node {
    /// NodeDef: name = 1, op = 2, input = 3.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.fields.len() + 64);
        put_bytes(&mut bytes, 1, self.name.as_bytes());
        put_bytes(&mut bytes, 2, self.op.as_bytes());
        for input in &self.inputs {
            put_bytes(&mut bytes, 3, input.as_bytes());
        }
        bytes.extend_from_slice(&self.fields);
        bytes
    }
}

/// The nodes of a graph or function that is made, with unique names.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// Edges of functions name outputs, those of the main graph count them.
    pub(super) is_function: bool,
    pub(super) nodes: Vec<Node>,
    taken: BTreeSet<String>,
    /// Behind a name that was wanted more than once, the number that comes next.
    numbers: BTreeMap<String, u32>,
    /// Constants of variables, by the number of the variable's node.
    pub(super) constants: BTreeMap<u32, Rc<str>>,
}

impl Body {
    pub(super) fn new(is_function: bool, taken: BTreeSet<String>) -> Self {
        Self { is_function, taken, ..Self::default() }
    }

    /// A name that nothing else has: `wanted`, or with a number behind it.
    pub(super) fn unique(&mut self, wanted: &str) -> Rc<str> {
        if self.taken.insert(wanted.to_owned()) {
            return wanted.into();
        }
        let number = self.numbers.entry(wanted.to_owned()).or_insert(0);
        loop {
            *number += 1;
            let name = format!("{wanted}_{number}");
            if self.taken.insert(name.clone()) {
                return name.into();
            }
        }
    }

    /// How the first output, which ops call `output`, is read.
    pub(super) fn first_output(&self, node: &Rc<str>, output: &str) -> Rc<str> {
        if self.is_function { format!("{node}:{output}:0").into() } else { Rc::clone(node) }
    }

    /// All nodes as fields with this number.
    pub(super) fn encode(&self, number: u32, bytes: &mut Vec<u8>) {
        for node in &self.nodes {
            put_bytes(bytes, number, &node.encode());
        }
    }
}

/// The control edge that waits for what an edge reads.
pub(super) fn control(text: &str) -> Rc<str> {
    format!("^{}", text.split(':').next().unwrap_or(text)).into()
}
