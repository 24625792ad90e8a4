//! Making the nodes of one site: names below the site's, its device, its `while` frame, and the references between them.

use super::Editor;
use super::node::NewNode;
use crate::find::mark;
use crate::graphdef::index::{NodeId, ScopeKind};
use crate::graphdef::pb::DataType;

/// Collects the nodes of one site, whose last one is to be called `base`.
#[derive(Debug)]
pub(super) struct Maker<'g> {
    scope: u32,
    pub(super) kind: ScopeKind,
    pub(super) device: &'g str,
    base: String,
    /// What lets constants run in the site's frame.
    control: Option<String>,
    nodes: Vec<NewNode>,
    /// Bytes of the numbers that quantization adds: codes, scales, ranges, levels; no shapes.
    bytes: u64,
    /// Whether all nodes are parts of a `training` graph.
    trains: bool,
}

impl<'g> Maker<'g> {
    /// For nodes beside `near`; `anchor` is a reference to something in the same frame.
    pub(super) fn new(editor: &mut Editor<'g>, near: NodeId, base: &str, anchor: &str) -> Self {
        Self {
            scope: near.scope,
            kind: editor.scope_kind(near.scope),
            device: editor.device(near),
            base: base.to_owned(),
            control: editor.frame_control(near, anchor),
            nodes: Vec::new(),
            bytes: 0,
            trains: false,
        }
    }

    /// The name of the site's last node.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// `base/part`, made unique.
    pub(super) fn part(&self, editor: &mut Editor<'_>, part: &str) -> String {
        editor.unique(self.scope, &format!("{}/{part}", self.base))
    }

    /// From here on, nodes are parts of a `training` graph.
    pub(super) fn trains(&mut self) {
        self.trains = true;
    }

    /// Add a node; how others read it.
    pub(super) fn push(&mut self, node: NewNode) -> String {
        self.push_part(node, "op")
    }

    /// The same for a node with a part of its own in a `training` graph.
    pub(super) fn push_part(&mut self, node: NewNode, part: &str) -> String {
        let node = if self.trains { node.text(mark::PART, part) } else { node };
        let reference = node.output(self.kind);
        self.nodes.push(node);
        reference
    }

    /// Count bytes of numbers in a node that was made elsewhere.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// A float32 constant.
    pub(super) fn floats(&mut self, editor: &mut Editor<'_>, part: &str, shape: &[u64], values: &[f32]) -> String {
        self.count(4 * values.len());
        let node = NewNode::floats(self.part(editor, part), self.device, shape, values);
        self.push(node.with_inputs(self.control.clone()))
    }

    /// A float32 scalar constant.
    pub(super) fn float(&mut self, editor: &mut Editor<'_>, part: &str, value: f32) -> String {
        self.floats(editor, part, &[], &[value])
    }

    /// An int32 scalar constant.
    pub(super) fn int(&mut self, editor: &mut Editor<'_>, part: &str, value: i32) -> String {
        self.count(4);
        let node = NewNode::ints(self.part(editor, part), self.device, &[], &[value]);
        self.push(node.with_inputs(self.control.clone()))
    }

    /// An int64 scalar constant.
    pub(super) fn long(&mut self, editor: &mut Editor<'_>, part: &str, value: i64) -> String {
        self.count(8);
        let node = NewNode::raw(self.part(editor, part), self.device, DataType::DT_INT64, &[], &value.to_le_bytes());
        self.push(node.with_inputs(self.control.clone()))
    }

    /// An int32 vector constant: a shape or a permutation.
    pub(super) fn dims(&mut self, editor: &mut Editor<'_>, part: &str, values: &[i32]) -> String {
        let node = NewNode::ints(self.part(editor, part), self.device, &[values.len() as u64], values);
        self.push(node.with_inputs(self.control.clone()))
    }

    /// A uint8 constant.
    pub(super) fn bytes(&mut self, editor: &mut Editor<'_>, part: &str, shape: &[u64], values: &[u8]) -> String {
        let node = NewNode::raw(self.part(editor, part), self.device, DataType::DT_UINT8, shape, values);
        self.push(node.with_inputs(self.control.clone()))
    }

    /// A vector constant of sizes or positions, and its type: int32, or int64 where that is too small for one of them or for `most`.
    pub(super) fn sizes(
        &mut self,
        editor: &mut Editor<'_>,
        part: &str,
        sizes: &[u64],
        most: u64,
    ) -> (String, DataType) {
        let narrow = sizes.iter().chain([&most]).all(|size| i32::try_from(*size).is_ok());
        let (dtype, width) = if narrow { (DataType::DT_INT32, 4) } else { (DataType::DT_INT64, 8) };
        let content: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes().into_iter().take(width)).collect();
        let node = NewNode::raw(self.part(editor, part), self.device, dtype, &[sizes.len() as u64], &content);
        (self.push(node.with_inputs(self.control.clone())), dtype)
    }

    /// An op of element type `dtype` that has no attribute but `T`.
    pub(super) fn op(
        &mut self,
        editor: &mut Editor<'_>,
        op: &str,
        part: &str,
        dtype: DataType,
        inputs: &[&str],
    ) -> String {
        let name = self.part(editor, part);
        self.push(plain(op, name, dtype, inputs, self.device))
    }

    /// The same in float32.
    pub(super) fn float_op(&mut self, editor: &mut Editor<'_>, op: &str, part: &str, inputs: &[&str]) -> String {
        self.op(editor, op, part, DataType::DT_FLOAT, inputs)
    }

    pub(super) fn cast(
        &mut self,
        editor: &mut Editor<'_>,
        part: &str,
        input: &str,
        from: DataType,
        to: DataType,
    ) -> String {
        let name = self.part(editor, part);
        self.push(cast(name, input, from, to, self.device))
    }

    /// A marked float32 op that has the site's name.
    pub(super) fn last(&mut self, op: &str, inputs: &[&str], mark: &str) -> String {
        let node = plain(op, self.base.clone(), DataType::DT_FLOAT, inputs, self.device);
        self.push(node.marked(mark::ATTR, mark))
    }

    /// Leave our mark on the newest node.
    pub(super) fn mark(&mut self, mark: &str) {
        if let Some(node) = self.nodes.pop() {
            self.nodes.push(node.marked(mark::ATTR, mark));
        }
    }

    /// The nodes, the reference of the last one, and the bytes of all numbers.
    pub(super) fn done(self) -> (Vec<NewNode>, String, u64) {
        let reference = self.nodes.last().map(|node| node.output(self.kind)).unwrap_or_default();
        (self.nodes, reference, self.bytes)
    }
}

/// An op of element type `dtype` that has no attribute but `T`.
pub(super) fn plain(op: &str, name: String, dtype: DataType, inputs: &[&str], device: &str) -> NewNode {
    let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
    NewNode::new(op, name, inputs, device).typed("T", dtype)
}

pub(super) fn cast(name: String, input: &str, from: DataType, to: DataType, device: &str) -> NewNode {
    NewNode::new("Cast", name, vec![input.to_owned()], device).typed("SrcT", from).typed("DstT", to)
}
