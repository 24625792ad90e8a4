//! Graphs as text that a person can compare: a line for each node's fields, a line for each attribute, tensors as numbers.

use std::fmt::Write;

use half::{bf16, f16};

/// What stands in the text form: a field, or a message with its fields.
enum Item {
    Field(String, String),
    Message(String, Vec<Item>),
}

/// A node, or another part of a graph or function: its name, then its lines.
type Part = (String, Vec<String>);

/// The parts in which two graphs differ, whole: lines with ` `, `-` and `+` in front.
pub(crate) fn difference(before: &[u8], after: &[u8]) -> String {
    let (before, after) = (parts(before), parts(after));
    let in_both =
        |name: &str| before.iter().any(|(other, _)| other == name) && after.iter().any(|(other, _)| other == name);
    let mut out = String::new();
    let mut rest = before.iter();
    for (name, lines) in &after {
        if !in_both(name) {
            signed('+', lines, &mut out);
            continue;
        }
        for (other, old) in rest.by_ref() {
            if other == name {
                merge(old, lines, &mut out);
                break;
            }
            assert!(!in_both(other), "`{other}` has changed its place");
            signed('-', old, &mut out);
        }
    }
    for (_, lines) in rest {
        signed('-', lines, &mut out);
    }
    out
}

fn signed(sign: char, lines: &[String], out: &mut String) {
    for line in lines {
        writeln!(out, "{sign}{line}").unwrap();
    }
}

/// One part, before and after; a changed line stands behind the one that it replaces.
fn merge(old: &[String], new: &[String], out: &mut String) {
    if old == new {
        return;
    }
    // The head of a node, or the name of an attribute.
    let key = |line: &str| if line.starts_with("  ") { line.split("value {").next().map(str::to_owned) } else { None };
    let mut added: Vec<&String> = new.iter().filter(|line| !old.contains(line)).collect();
    for line in old {
        if new.contains(line) {
            writeln!(out, " {line}").unwrap();
            continue;
        }
        writeln!(out, "-{line}").unwrap();
        if let Some(position) = added.iter().position(|new| key(new) == key(line)) {
            writeln!(out, "+{}", added.remove(position)).unwrap();
        }
    }
    for line in added {
        writeln!(out, "+{line}").unwrap();
    }
}

fn parts(binary: &[u8]) -> Vec<Part> {
    let mut text = Vec::new();
    tf_rewriter::text::write(binary, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut out = Vec::new();
    for item in items(&mut text.lines()) {
        match item {
            Item::Message(name, functions) if name == "library" => {
                for (index, function) in functions.into_iter().enumerate() {
                    let Item::Message(_, parts) = function else { panic!("a library of functions") };
                    out.extend(parts.iter().map(|item| part(&format!("function {index} "), item)));
                }
            }
            item => out.push(part("", &item)),
        }
    }
    out
}

fn part(scope: &str, item: &Item) -> Part {
    match item {
        Item::Message(kind, parts) if kind == "node" || kind == "node_def" => {
            let lines = node(kind, parts);
            let name = lines[0].split(" op: ").next().unwrap_or_default();
            (format!("{scope}{name}"), lines)
        }
        Item::Message(kind, parts) if kind == "ret" => {
            (format!("{scope}{kind} {}", joined(&parts[0])), vec![format!("function {}", joined(item))])
        }
        other => (format!("{scope}{}", joined(other)), vec![joined(other)]),
    }
}

/// Name, op, inputs and device on one line, each attribute on its own.
fn node(kind: &str, parts: &[Item]) -> Vec<String> {
    let (fields, messages): (Vec<_>, Vec<_>) = parts.iter().partition(|part| matches!(part, Item::Field(..)));
    let fields: Vec<String> = fields.into_iter().map(joined).collect();
    let head = format!("{kind} {{ {}", fields.join(" "));
    std::iter::once(head).chain(messages.into_iter().map(|message| format!("  {}", joined(message)))).collect()
}

fn items<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<Item> {
    let mut found = Vec::new();
    while let Some(line) = lines.next().map(str::trim) {
        if line == "}" {
            break;
        }
        found.push(if let Some(name) = line.strip_suffix(" {") {
            Item::Message(name.to_owned(), items(lines))
        } else {
            let (name, value) = line.split_once(": ").unwrap();
            Item::Field(name.to_owned(), value.to_owned())
        });
    }
    found
}

fn joined(item: &Item) -> String {
    match item {
        Item::Field(name, value) => format!("{name}: {value}"),
        Item::Message(name, parts) if name == "tensor" => format!("tensor {{ {} }}", tensor(parts)),
        Item::Message(name, parts) => {
            let parts: Vec<String> = parts.iter().map(joined).collect();
            format!("{name} {{ {} }}", parts.join(" "))
        }
    }
}

/// `DT_FLOAT [2, 2] tensor_content: 1 2 3 4`: where the elements stand is said, the elements are numbers.
fn tensor(parts: &[Item]) -> String {
    let mut dtype = "";
    let mut shape = Vec::new();
    let mut values: Vec<(&str, Vec<String>)> = Vec::new();
    for part in parts {
        match part {
            Item::Field(name, value) if name == "dtype" => dtype = value,
            Item::Field(name, value) if name == "tensor_content" => {
                values.push(("tensor_content", content(dtype, &unquote(value))));
            }
            Item::Field(name, value) => {
                if values.last().is_none_or(|(last, _)| last != name) {
                    values.push((name, Vec::new()));
                }
                values.last_mut().unwrap().1.push(value.clone());
            }
            Item::Message(name, dims) if name == "tensor_shape" => shape = dims.iter().map(dimension).collect(),
            Item::Message(..) => values.push(("", vec![joined(part)])),
        }
    }
    let values: Vec<String> = values.iter().map(|(name, values)| format!(" {name}: {}", values.join(" "))).collect();
    format!("{dtype} [{}]{}", shape.join(", "), values.concat())
}

fn dimension(dim: &Item) -> String {
    match dim {
        Item::Message(_, parts) => match parts.first() {
            Some(Item::Field(_, size)) => size.clone(),
            _ => "0".to_owned(),
        },
        Item::Field(..) => joined(dim),
    }
}

fn content(dtype: &str, bytes: &[u8]) -> Vec<String> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> String) -> Vec<String> {
        bytes.as_chunks().0.iter().map(|chunk| number(*chunk)).collect()
    }
    match dtype {
        "DT_FLOAT" => each(bytes, |b| f32::from_le_bytes(b).to_string()),
        "DT_DOUBLE" => each(bytes, |b| f64::from_le_bytes(b).to_string()),
        "DT_HALF" => each(bytes, |b| f16::from_le_bytes(b).to_string()),
        "DT_BFLOAT16" => each(bytes, |b| bf16::from_le_bytes(b).to_string()),
        "DT_INT8" => each(bytes, |b| i8::from_le_bytes(b).to_string()),
        "DT_BOOL" => each(bytes, |[b]: [u8; 1]| (b != 0).to_string()),
        "DT_INT64" => each(bytes, |b| i64::from_le_bytes(b).to_string()),
        "DT_INT32" => each(bytes, |b| i32::from_le_bytes(b).to_string()),
        other => panic!("tensor_content of {other}"),
    }
}

/// The bytes that a quoted string of our own writer stands for.
fn unquote(quoted: &str) -> Vec<u8> {
    let mut rest = &quoted.as_bytes()[1..quoted.len() - 1];
    let mut out = Vec::new();
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'\\' {
            out.push(*first);
            rest = tail;
            continue;
        }
        let (byte, length) = match tail[0] {
            b'n' => (b'\n', 1),
            b'r' => (b'\r', 1),
            b't' => (b'\t', 1),
            b'0'..=b'3' => (u8::from_str_radix(std::str::from_utf8(&tail[..3]).unwrap(), 8).unwrap(), 3),
            same => (same, 1),
        };
        out.push(byte);
        rest = &tail[length..];
    }
    out
}
