//! New nodes as bytes.

use protobuf::{EnumOrUnknown, Message};

use crate::graphdef::attrs;
use crate::graphdef::index::ScopeKind;
use crate::graphdef::pb::tensor_shape_proto::Dim;
use crate::graphdef::pb::{DataType, NodeDef, TensorShapeProto, attr_value};
use crate::graphdef::tensor::{encode_tensor, header, shape_and_type};
use crate::graphdef::wire::put_bytes;
use crate::rewrite::splice::{Segment, tensor_attr};

/// The name of an op's first output, which references in function bodies need (from the ops' registrations in TensorFlow).
fn output_name(op: &str) -> &'static str {
    match op {
        "Abs" | "Cast" | "Neg" | "Round" | "Sign" | "Tanh" | "Transpose" => "y",
        "AddV2" | "BitwiseAnd" | "Greater" | "GreaterEqual" | "Less" | "LessEqual" | "LogicalAnd" | "Maximum"
        | "Minimum" | "Mul" | "RealDiv" | "RightShift" | "Sub" => "z",
        "ReadVariableOp" => "value",
        "VarHandleOp" => "resource",
        "FakeQuantWithMinMaxVars" | "FakeQuantWithMinMaxVarsPerChannel" => "outputs",
        _ => "output",
    }
}

/// A node to be made.
#[derive(Debug)]
pub(crate) struct NewNode {
    node: NodeDef,
    /// A tensor attribute, kept apart since its payload may be a stream: key, then the TensorProto's segments.
    tensor: Option<(&'static str, Vec<Segment>)>,
    /// Encoded fields that are taken over from another node.
    taken_over: Vec<u8>,
}

impl NewNode {
    pub(crate) fn new(op: &str, name: String, inputs: Vec<String>, device: &str) -> Self {
        let node = NodeDef { name, op: op.to_owned(), input: inputs, device: device.to_owned(), ..NodeDef::default() };
        Self { node, tensor: None, taken_over: Vec::new() }
    }

    /// How other nodes of the scope read its first output.
    pub(crate) fn output(&self, scope: ScopeKind) -> String {
        match scope {
            ScopeKind::Main => self.node.name.clone(),
            ScopeKind::Function { .. } => format!("{}:{}:0", self.node.name, output_name(&self.node.op)),
        }
    }

    fn attr(mut self, key: &str, value: attr_value::Value) -> Self {
        self.node.attr.push(attrs::message(key, value));
        self
    }

    pub(crate) fn typed(self, key: &str, dtype: DataType) -> Self {
        self.attr(key, attrs::of_type(dtype))
    }

    pub(crate) fn types(self, key: &str, dtypes: &[DataType]) -> Self {
        let type_ = dtypes.iter().map(|dtype| EnumOrUnknown::new(*dtype)).collect();
        self.attr(key, attr_value::Value::List(attr_value::ListValue { type_, ..attr_value::ListValue::default() }))
    }

    pub(crate) fn int(self, key: &str, value: i64) -> Self {
        self.attr(key, attr_value::Value::I(value))
    }

    pub(crate) fn bool(self, key: &str, value: bool) -> Self {
        self.attr(key, attr_value::Value::B(value))
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.attr(key, attr_value::Value::S(value.as_bytes().to_vec()))
    }

    /// A Const of a dtype and shape, whose elements are `content`.
    pub(crate) fn constant(name: String, device: &str, dtype: DataType, shape: &[u64], content: Segment) -> Self {
        let mut node = Self::new("Const", name, Vec::new(), device).typed("dtype", dtype);
        node.tensor = Some(("value", vec![Segment::Bytes(header(dtype, shape, content.len())), content]));
        node
    }

    /// A float32 Const.
    pub(crate) fn floats(name: String, device: &str, shape: &[u64], values: &[f32]) -> Self {
        let content: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut node = Self::new("Const", name, Vec::new(), device).typed("dtype", DataType::DT_FLOAT);
        node.tensor = Some(("value", vec![Segment::Bytes(encode_tensor(DataType::DT_FLOAT, shape, &content))]));
        node
    }

    /// Give it a `value` attribute from the segments of a TensorProto.
    pub(crate) fn set_tensor(&mut self, tensor: Vec<Segment>) {
        self.tensor = Some(("value", tensor));
    }

    /// An int32 Const.
    pub(crate) fn ints(name: String, device: &str, shape: &[u64], values: &[i32]) -> Self {
        let content: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut node = Self::new("Const", name, Vec::new(), device).typed("dtype", DataType::DT_INT32);
        node.set_tensor(vec![Segment::Bytes(encode_tensor(DataType::DT_INT32, shape, &content))]);
        node
    }

    /// A Const of any type, whose elements are `content`, little endian.
    pub(crate) fn raw(name: String, device: &str, dtype: DataType, shape: &[u64], content: &[u8]) -> Self {
        let mut node = Self::new("Const", name, Vec::new(), device).typed("dtype", dtype);
        node.set_tensor(vec![Segment::Bytes(encode_tensor(dtype, shape, content))]);
        node
    }

    /// A Const of strings.
    pub(crate) fn strings(name: String, shape: &[u64], values: &[&str]) -> Self {
        let mut tensor = shape_and_type(DataType::DT_STRING, shape);
        for value in values {
            put_bytes(&mut tensor, 8, value.as_bytes());
        }
        let mut node = Self::new("Const", name, Vec::new(), "").typed("dtype", DataType::DT_STRING);
        node.set_tensor(vec![Segment::Bytes(tensor)]);
        node
    }

    /// A resource variable, shared under its own name.
    pub(crate) fn variable(name: String, device: &str, dtype: DataType, shape: &[u64]) -> Self {
        let shared = name.clone();
        let node = Self::new("VarHandleOp", name, Vec::new(), device).typed("dtype", dtype).shape("shape", shape);
        node.text("shared_name", &shared).text("container", "")
    }

    /// What puts `value` into the variable `handle`.
    pub(crate) fn assign(op: &str, name: String, device: &str, dtype: DataType, [handle, value]: [&str; 2]) -> Self {
        Self::new(op, name, vec![handle.to_owned(), value.to_owned()], device).typed("dtype", dtype)
    }

    pub(crate) fn shape(self, key: &str, shape: &[u64]) -> Self {
        let dim = |size: &u64| Dim { size: i64::try_from(*size).unwrap_or(i64::MAX), ..Dim::default() };
        let shape = TensorShapeProto { dim: shape.iter().map(dim).collect(), ..TensorShapeProto::default() };
        self.attr(key, attr_value::Value::Shape(shape))
    }

    /// Add control inputs (`^name`), or any input, at the end.
    pub(crate) fn with_inputs(mut self, inputs: impl IntoIterator<Item = String>) -> Self {
        self.node.input.extend(inputs);
        self
    }

    /// Add what a mark says: an attribute with a text.
    pub(crate) fn marked(self, key: &str, text: &str) -> Self {
        self.taking_over(attrs::text(key, text))
    }

    /// Add encoded NodeDef fields as they are.
    pub(crate) fn taking_over(mut self, fields: Vec<u8>) -> Self {
        self.taken_over.extend(fields);
        self
    }

    /// The NodeDef.
    pub(crate) fn body(self) -> Vec<Segment> {
        // A NodeDef in memory always encodes: it has no required fields and is far below 2 GiB.
        let mut bytes = self.node.write_to_bytes().unwrap_or_default();
        bytes.extend(self.taken_over);
        match self.tensor {
            None => vec![Segment::Bytes(bytes)],
            Some((key, tensor)) => {
                let mut segments = tensor_attr(key, tensor);
                if let Some(Segment::Bytes(first)) = segments.first_mut() {
                    bytes.append(first);
                    *first = bytes;
                }
                segments
            }
        }
    }
}
