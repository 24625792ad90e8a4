//! Graphs that are made from choices: legal ones with all that rules look at (loops, functions, variables, shared and derived weights,
//! marks, names that collide), and changes to their messages that keep every length right.

use std::fmt::Write as _;

use tf_rewriter::text;
use tf_rewriter::wire::{Fields, Value, put_bytes};

use super::choices::Choices;

/// A legal graph in text form.
pub(crate) fn text_of(choices: &mut Choices<'_>) -> String {
    let mut out = String::new();
    Body { choices, out: &mut out, nodes: Vec::new(), keyword: "node", function: false }.nodes();
    let functions = choices.below(3);
    if functions > 0 {
        out.push_str("library {\n");
        (0..functions).for_each(|number| function(choices, number, &mut out));
        out.push_str("}\n");
    }
    if choices.once_in(4) {
        out.push_str("versions { producer: 1286 }\n");
    }
    out
}

/// A graph in binary form; about half of them legal.
pub(crate) fn graph(choices: &mut Choices<'_>) -> Vec<u8> {
    let changes = if choices.once_in(2) { choices.below(4) } else { 0 };
    let mut binary = text::parse(text_of(choices).as_bytes()).expect("the generator's text is a graph");
    for _ in 0..changes {
        binary = changed(choices, &binary, 6);
    }
    binary
}

struct Body<'c, 'b, 'o> {
    choices: &'c mut Choices<'b>,
    out: &'o mut String,
    /// Names of nodes, and whether each is a float tensor with more than a scalar.
    nodes: Vec<String>,
    keyword: &'static str,
    function: bool,
}

fn function(choices: &mut Choices<'_>, number: usize, out: &mut String) {
    let _never_fails = writeln!(
        out,
        "function {{ signature {{ name: 'f{number}' input_arg {{ name: 'a' type: DT_FLOAT }} input_arg {{ name: 'b' type: DT_FLOAT }} }}"
    );
    let mut body =
        Body { choices, out, nodes: vec!["a".to_owned(), "b".to_owned()], keyword: "node_def", function: true };
    body.nodes();
    let returned = body.input();
    let _never_fails = writeln!(out, "ret {{ key: 'r' value: '{returned}' }} }}");
}

impl Body<'_, '_, '_> {
    fn nodes(&mut self) {
        let count = 3 + self.choices.below(24);
        for _ in 0..count {
            if self.choices.is_empty() {
                break;
            }
            match self.choices.below(16) {
                0 | 1 if !self.function => self.placeholder(),
                2..=4 => drop(self.constant()),
                5..=8 => self.layer(),
                9 | 10 => self.chain(),
                11 if !self.function => self.repeat(),
                12 if !self.function => self.variable(),
                13 => self.call(),
                _ => self.plain(),
            }
        }
    }

    /// A new name; often like those that rules give.
    fn name(&mut self) -> String {
        let base = self.choices.one_of(&[
            "w",
            "x",
            "layer/kernel",
            "w/float",
            "w_1",
            "x/naive",
            "scope/w/read",
            "y",
            "ä",
            "q",
        ]);
        let mut name = base.to_owned();
        let mut number = 0;
        while self.nodes.contains(&name) {
            number += 1;
            name = format!("{base}_{number}");
        }
        if self.choices.once_in(64) {
            name.push_str(&"n".repeat(1 + self.choices.below(4000)));
        }
        self.nodes.push(name.clone());
        name
    }

    /// A reference to a node or argument that is there.
    fn input(&mut self) -> String {
        let Some(found) = (!self.nodes.is_empty()).then(|| self.choices.below(self.nodes.len())) else {
            return self.constant();
        };
        let name = self.nodes[found].clone();
        self.reference(&name)
    }

    fn reference(&mut self, name: &str) -> String {
        match self.function {
            true if name == "a" || name == "b" => name.to_owned(),
            true => format!("{name}:{}:0", self.choices.one_of(&["output", "y", "z", "product", "outputs"])),
            false if self.choices.once_in(8) => format!("{name}:0"),
            false => name.to_owned(),
        }
    }

    fn node(&mut self, name: &str, op: &str, inputs: &[String], attrs: &str) {
        let keyword = self.keyword;
        let _never_fails = write!(self.out, "{keyword} {{ name: '{name}' op: '{op}'");
        for input in inputs {
            let _never_fails = write!(self.out, " input: '{input}'");
        }
        if self.choices.once_in(16) && !self.nodes.is_empty() {
            let before = self.choices.below(self.nodes.len());
            if self.nodes[before] != name {
                let _never_fails = write!(self.out, " input: '^{}'", self.nodes[before]);
            }
        }
        if self.choices.once_in(16) {
            self.out.push_str(" device: '/cpu:0'");
        }
        if self.choices.once_in(32) {
            self.out.push_str(" attr { key: '_quantization' value { s: 'naive 8' } }");
        }
        let _never_fails = writeln!(self.out, " {attrs} }}");
    }

    fn placeholder(&mut self) {
        let name = self.name();
        let shape =
            self.choices.one_of(&["", "attr { key: 'shape' value { shape { dim { size: -1 } dim { size: 3 } } } }"]);
        self.node(&name, "Placeholder", &[], &format!("attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} {shape}"));
    }

    /// A constant of any type, rank and storage; its reference.
    fn constant(&mut self) -> String {
        let rank = self.choices.below(5);
        let mut dims: Vec<usize> =
            (0..rank).map(|_| if self.choices.once_in(40) { 0 } else { 1 + self.choices.below(4) }).collect();
        // Long enough for codes to share bytes.
        let is_long = rank > 1 && self.choices.once_in(8);
        if is_long {
            dims[0] = 1400 + self.choices.below(50);
        }
        let elements: usize = dims.iter().product();
        let (dtype, field, size) = self.choices.one_of(&[
            ("DT_FLOAT", "float_val", 4),
            ("DT_FLOAT", "float_val", 4),
            ("DT_FLOAT", "float_val", 4),
            ("DT_DOUBLE", "double_val", 8),
            ("DT_HALF", "half_val", 2),
            ("DT_BFLOAT16", "half_val", 2),
            ("DT_INT32", "int_val", 4),
            ("DT_INT64", "int64_val", 8),
        ]);
        let integers = !matches!(field, "float_val" | "double_val");
        let mut values = String::new();
        if elements > 0 && (is_long || self.choices.once_in(3)) {
            values.push_str("tensor_content: '");
            let some = if is_long { elements.min(97) } else { elements };
            let noise: Vec<u8> = (0..some * size).map(|_| self.choices.byte() & 0x3f).collect();
            for byte in noise.iter().cycle().take(elements * size) {
                let _never_fails = write!(values, "\\{byte:03o}");
            }
            values.push('\'');
        } else {
            let stored = if self.choices.once_in(3) { elements.min(1 + self.choices.below(2)) } else { elements };
            for _ in 0..stored {
                let value = if integers { self.choices.byte().to_string() } else { self.choices.number() };
                let _never_fails = write!(values, "{field}: {value} ");
            }
        }
        let dims = dims.iter().map(|dim| format!("dim {{ size: {dim} }}")).collect::<Vec<_>>().join(" ");
        let name = self.name();
        let value = format!(
            "attr {{ key: 'dtype' value {{ type: {dtype} }} }} attr {{ key: 'value' value {{ tensor {{ dtype: {dtype} tensor_shape {{ {dims} }} {values} }} }} }}"
        );
        self.node(&name, "Const", &[], &value);
        self.reference(&name)
    }

    /// A constant of the type that shapes, permutations and axes have where the op says no other; its reference.
    fn dims(&mut self) -> String {
        let values = match self.choices.below(4) {
            0 => self
                .choices
                .one_of(&[&["1", "0"][..], &["0", "2", "1"], &["2", "0", "1"], &["3", "2", "0", "1"]])
                .to_vec(),
            _ => (0..self.choices.below(5)).map(|_| self.choices.one_of(&["-1", "0", "1", "2", "3", "4"])).collect(),
        };
        let is_scalar = values.len() == 1 && self.choices.once_in(2);
        let shape = if is_scalar { String::new() } else { format!("dim {{ size: {} }}", values.len()) };
        let values = values.iter().map(|value| format!("int_val: {value}")).collect::<Vec<_>>().join(" ");
        let name = self.name();
        let value = format!(
            "attr {{ key: 'dtype' value {{ type: DT_INT32 }} }} attr {{ key: 'value' value {{ tensor {{ dtype: DT_INT32 tensor_shape {{ {shape} }} {values} }} }} }}"
        );
        self.node(&name, "Const", &[], &value);
        self.reference(&name)
    }

    /// An op with a weight: a constant of its own, or anything that is there.
    fn layer(&mut self) {
        let op = self.choices.one_of(&[
            "MatMul",
            "Conv2D",
            "DepthwiseConv2dNative",
            "Conv2DBackpropInput",
            "BatchMatMulV2",
            "Einsum",
            "GatherV2",
            "Conv3D",
        ]);
        let weight = if self.choices.once_in(3) { self.input() } else { self.constant() };
        let data = self.input();
        let inputs = match op {
            "Conv2DBackpropInput" => vec![self.input(), weight, data],
            "GatherV2" => vec![weight, data, self.input()],
            _ if self.choices.once_in(6) => vec![weight, data],
            _ => vec![data, weight],
        };
        let attrs = self.choices.one_of(&[
            "",
            "attr { key: 'transpose_b' value { b: true } }",
            "attr { key: 'adj_y' value { b: true } }",
            "attr { key: 'equation' value { s: 'ab,bc->ac' } }",
        ]);
        let name = self.name();
        self.node(&name, op, &inputs, &format!("attr {{ key: 'T' value {{ type: DT_FLOAT }} }} {attrs}"));
    }

    /// Ops that hand a value on, or a piece of it.
    fn chain(&mut self) {
        let mut reads = self.input();
        for _ in 0..=self.choices.below(6) {
            let op = self.choices.one_of(&[
                "Identity",
                "Reshape",
                "Transpose",
                "Cast",
                "Squeeze",
                "ExpandDims",
                "Enter",
                "StopGradient",
                "Split",
                "SplitV",
                "Slice",
                "StridedSlice",
                "Unpack",
                "GatherV2",
            ]);
            let more = match op {
                "Reshape" | "Transpose" | "ExpandDims" => 1,
                "Slice" | "SplitV" | "GatherV2" => 2,
                "StridedSlice" => 3,
                _ => 0,
            };
            let mut inputs = if op == "Split" { vec![self.dims(), reads] } else { vec![reads] };
            inputs.extend((0..more).map(|_| self.dims()));
            let name = self.name();
            let attrs = match op {
                "Cast" => "attr { key: 'SrcT' value { type: DT_HALF } } attr { key: 'DstT' value { type: DT_FLOAT } }",
                "Enter" => "attr { key: 'frame_name' value { s: 'f' } } attr { key: 'is_constant' value { b: true } }",
                "Split" => "attr { key: 'T' value { type: DT_FLOAT } } attr { key: 'num_split' value { i: 2 } }",
                "StridedSlice" => self.choices.one_of(&[
                    "attr { key: 'begin_mask' value { i: 1 } } attr { key: 'end_mask' value { i: 3 } }",
                    "attr { key: 'shrink_axis_mask' value { i: 1 } }",
                    "attr { key: 'new_axis_mask' value { i: 2 } } attr { key: 'ellipsis_mask' value { i: 1 } }",
                ]),
                _ => "attr { key: 'T' value { type: DT_FLOAT } }",
            };
            self.node(&name, op, &inputs, attrs);
            let second = matches!(op, "Split" | "SplitV" | "Unpack") && self.choices.once_in(2);
            reads = match (second, self.function) {
                (true, true) => format!("{name}:output:1"),
                (true, false) => format!("{name}:1"),
                (false, _) => self.reference(&name),
            };
        }
    }

    /// A while loop of TensorFlow 1.
    fn repeat(&mut self) {
        let (enter, merge, next) = (self.name(), self.name(), self.name());
        let (condition, switch, exit) = (self.name(), self.name(), self.name());
        let (start, weight, body) = (self.input(), self.constant(), self.name());
        let t = "attr { key: 'T' value { type: DT_FLOAT } }";
        let started = !self.nodes.iter().any(|name| {
            [&enter, &merge, &next, &switch, &exit, &body].contains(&name) && start.starts_with(name.as_str())
        });
        let start = if started { start } else { weight.clone() };
        self.node(&enter, "Enter", &[start], "attr { key: 'frame_name' value { s: 'loop' } }");
        let keyword = self.keyword;
        let _never_fails =
            writeln!(self.out, "{keyword} {{ name: '{merge}' op: 'Merge' input: '{enter}' input: '{next}' {t} }}");
        let _never_fails = writeln!(self.out, "{keyword} {{ name: '{condition}' op: 'LoopCond' input: '{merge}' }}");
        let _never_fails = writeln!(
            self.out,
            "{keyword} {{ name: '{switch}' op: 'Switch' input: '{merge}' input: '{condition}' {t} }}"
        );
        let _never_fails =
            writeln!(self.out, "{keyword} {{ name: '{body}' op: 'MatMul' input: '{switch}:1' input: '{weight}' {t} }}");
        let _never_fails = writeln!(self.out, "{keyword} {{ name: '{next}' op: 'NextIteration' input: '{body}' {t} }}");
        let _never_fails = writeln!(self.out, "{keyword} {{ name: '{exit}' op: 'Exit' input: '{switch}' {t} }}");
    }

    /// A variable with its initializer and a reading node.
    fn variable(&mut self) {
        let value = self.constant();
        let (variable, assign, read) = (self.name(), self.name(), self.name());
        let dtype = "attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape { dim { size: 2 } dim { size: 2 } } } }";
        let (op, write, get) = self
            .choices
            .one_of(&[("VariableV2", "Assign", "Identity"), ("VarHandleOp", "AssignVariableOp", "ReadVariableOp")]);
        self.node(&variable, op, &[], &format!("{dtype} attr {{ key: 'shared_name' value {{ s: '{variable}' }} }}"));
        self.node(&assign, write, &[variable.clone(), value], dtype);
        self.node(&read, get, &[variable], dtype);
    }

    fn call(&mut self) {
        let (first, second) = (self.input(), self.input());
        let name = self.name();
        self.node(&name, "PartitionedCall", &[first, second], "attr { key: 'f' value { func { name: 'f0' } } }");
    }

    fn plain(&mut self) {
        let op = self
            .choices
            .one_of(&["Relu", "AddV2", "BiasAdd", "Softmax", "ConcatV2", "AddN", "NoOp", "MaxPool", "Mul", "Own"]);
        let count = match op {
            "NoOp" => 0,
            "Relu" | "Softmax" | "MaxPool" => 1,
            "AddN" => 1 + self.choices.below(5),
            _ => 2,
        };
        let inputs: Vec<String> = (0..count).map(|_| self.input()).collect();
        let name = self.name();
        self.node(&name, op, &inputs, "attr { key: 'T' value { type: DT_FLOAT } }");
    }
}

/// The message with one change in one of its fields, `depth` levels down at most; lengths around it are right.
pub(crate) fn changed(choices: &mut Choices<'_>, message: &[u8], depth: usize) -> Vec<u8> {
    let mut spans = Vec::new();
    let mut fields = Fields::new(message, 0, "message");
    while let Ok(Some(field)) = fields.next() {
        let inner = match field.value {
            Value::Bytes(bytes, start) => Some((field.number, start..start + bytes.len())),
            _ => None,
        };
        spans.push((field.span, inner));
    }
    let whole = spans.last().is_some_and(|(span, _)| span.end == message.len());
    let mut out = message.to_vec();
    if depth == 0 || !whole {
        choices.damage(&mut out);
        return out;
    }
    let (span, inner) = spans[choices.below(spans.len())].clone();
    let (other, _) = spans[choices.below(spans.len())].clone();
    match (choices.below(8), inner) {
        (0, _) => drop(out.drain(span)),
        (1, _) => drop(out.splice(other.start..other.start, message[span].to_vec())),
        (2, _) => drop(out.splice(span, message[other].to_vec())),
        (_, Some((number, inner))) => {
            let mut field = Vec::new();
            put_bytes(&mut field, number, &changed(choices, &message[inner], depth - 1));
            out.splice(span, field);
        }
        (_, None) => {
            let mut field = message[span.clone()].to_vec();
            choices.damage(&mut field);
            out.splice(span, field);
        }
    }
    out
}
