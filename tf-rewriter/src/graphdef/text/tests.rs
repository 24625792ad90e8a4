//! Text in, binary out, and back.

use proptest::prelude::*;
use protobuf::Message;

use super::{parse, write};
use crate::error::Error;
use crate::graphdef::pb::{DataType, GraphDef, attr_value::Value};
use crate::graphdef::wire::{put_bytes, put_tag, put_varint};

fn graph(text: &str) -> GraphDef {
    GraphDef::parse_from_bytes(&parse(text.as_bytes()).unwrap()).unwrap()
}

fn text_of(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    write(bytes, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The attribute that `text` describes.
fn value(text: &str) -> Value {
    let graph = graph(&format!("node {{ attr {{ key: 'a' value {{ {text} }} }} }}"));
    graph.node[0].attr[0].value.value.clone().unwrap()
}

fn check_error(text: &str, line: usize, column: usize, message: &str) {
    let error = parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), format!("line {line}, column {column}: {message}"), "{text}");
    assert_eq!(error.code(), "E0401");
}

const PRETTY: &str = r#"node {
  name: "a"
  op: "Const"
  attr {
    key: "value"
    value {
      tensor {
        dtype: DT_FLOAT
        tensor_shape {
          dim {
            size: 2
          }
        }
        float_val: 1.5
        float_val: -0.0
      }
    }
  }
  attr {
    key: "dtype"
    value {
      type: DT_FLOAT
    }
  }
}
versions {
  producer: 1286
}
"#;

#[test]
fn pretty_text_comes_back_as_it_was() {
    assert_eq!(text_of(&parse(PRETTY.as_bytes()).unwrap()), PRETTY);
}

#[test]
fn everything_that_the_syntax_allows_means_the_same() {
    let expected = parse(PRETTY.as_bytes()).unwrap();
    let terse = r#"# made by hand
        node: < name: 'a', op: "Co" # in two parts
          'nst';
          attr: [{ key: "val\x75e" value: { tensor { dtype: 1 tensor_shape { dim [ < size: 0x2 > ] } float_val: [1.5F, - 0] } } },
                 < key: "\144type"; value < type: DT_FLOAT > >], >;
        versions { producer: 02406, },
        library { function: [] gradient [] } "#;
    let graph = GraphDef::parse_from_bytes(&parse(terse.as_bytes()).unwrap()).unwrap();
    assert!(graph.library.is_some());
    let without_library = GraphDef { library: None.into(), ..graph };
    assert_eq!(without_library, GraphDef::parse_from_bytes(&expected).unwrap());
    assert_eq!(parse(b"\xef\xbb\xbf \n#").unwrap(), b"");
}

#[test]
fn scalars_of_every_kind_are_read() {
    assert_eq!(value("i: -9223372036854775808"), Value::I(i64::MIN));
    assert_eq!(value("i: 0"), Value::I(0));
    assert_eq!(value("i: -0x10"), Value::I(-16));
    assert_eq!(value("b: true"), Value::B(true));
    assert_eq!(value("b: f"), Value::B(false));
    assert_eq!(value("b: 1"), Value::B(true));
    assert_eq!(value("type: DT_FLOAT_REF"), Value::Type(DataType::DT_FLOAT_REF.into()));
    assert_eq!(value("type: 1000"), Value::Type(protobuf::EnumOrUnknown::from_i32(1000)));
    assert_eq!(
        value(r#"s: "\a\b\f\n\r\t\v\?\\\'\"\1\12\377\xe\u00e9\U0001f600""#),
        Value::S([&b"\x07\x08\x0c\n\r\t\x0b?\\'\"\x01\x0a\xff\x0e"[..], "é😀".as_bytes()].concat())
    );
    assert_eq!(value("placeholder: 'T'"), Value::Placeholder("T".to_owned()));
    for (text, expected) in [
        ("1", 1.0),
        ("-.5e-3", -0.5e-3),
        ("1.f", 1.0),
        ("5E+2F", 500.0),
        ("inf", f32::INFINITY),
        ("-Infinity", f32::NEG_INFINITY),
        ("1e99", f32::INFINITY),
        ("1e-45", f32::from_bits(1)),
        ("0.1", 0.1),
        ("123456789012345678901234567890", 1.234_567_9e29),
        // Half way between two float32 and a little more: float64 loses the little, so the tie goes to even, as in TensorFlow.
        ("1.000000059604644775390626", 1.0),
    ] {
        let Value::F(read) = value(&format!("f: {text}")) else { panic!("{text}") };
        assert_eq!(read.to_bits(), f32::to_bits(expected), "{text}");
    }
    let Value::F(nan) = value("f: nan") else { panic!() };
    assert!(nan.is_nan());
    let debug = graph("debug_info { frames_by_id { key: 18446744073709551615 value { line: 3 } } }");
    assert_eq!(debug.debug_info.frames_by_id[0].key, u64::MAX);
}

#[test]
fn defaults_are_left_out_where_absence_says_the_same() {
    assert_eq!(parse(b"version: 0 versions { producer: 0 min_consumer: 1 }").unwrap(), [0x22, 2, 0x10, 1]);
    assert_eq!(text_of(&[0x18, 0, 0x22, 2, 0x08, 0]), "versions {\n}\n");
}

#[test]
fn mistakes_are_named_with_line_and_column() {
    check_error(
        "nodes {}",
        1,
        1,
        "found `nodes`, expected a field of GraphDef: `node`, `library`, `version`, `versions`, `debug_info`",
    );
    check_error("node {\n  name \"x\"", 2, 8, "found a string, expected `:`");
    check_error(
        "node {\n  nam\u{0}",
        2,
        3,
        "found `nam`, expected a field of NodeDef: `name`, `op`, `input`, `device`, `attr`, `experimental_debug_info`, `experimental_type`",
    );
    check_error("node { name: 'é' op: 5 }", 1, 22, "found `5`, expected a string of UTF-8 for `op`");
    check_error("node { name: '\\377' }", 1, 14, "found other bytes in `name`, expected UTF-8");
    check_error("node { name: 'a' name: 'a' }", 1, 18, "found `name` a second time, expected it once in NodeDef");
    check_error(
        "node { attr { value { i: 1 f: 1 } } }",
        1,
        28,
        "found `f` beside `i`, expected one of them in AttrValue",
    );
    check_error("node {\n\n", 1, 6, "found the end of the text, expected `}` for the `node` that begins here");
    check_error("node {]", 1, 7, "found `]`, expected the name of a field or `}`");
    check_error("node { >", 1, 8, "found `>`, expected the name of a field or `}`");
    check_error("}", 1, 1, "found `}`, expected the name of a field");
    check_error("[type.googleapis.com/x] {}", 1, 1, "found `[`, expected the name of a field; extensions are not read");
    check_error("node 5", 1, 6, "found `5`, expected `{`");
    check_error("node [{} {}]", 1, 10, "found `{`, expected `,` or `]`");
    check_error("node [{},]", 1, 10, "found `]`, expected `{`");
    check_error("version: 2147483648", 1, 10, "found `2147483648`, expected an integer of 32 bits for `version`");
    check_error(
        "version: -2147483649",
        1,
        10,
        "found `-` and `2147483649`, expected an integer of 32 bits for `version`",
    );
    check_error(
        "version: 99999999999999999999",
        1,
        10,
        "found `99999999999999999999`, expected an integer of 32 bits for `version`",
    );
    check_error("version: 1.5", 1, 10, "found `1.5`, expected an integer of 32 bits for `version`");
    check_error("version: 08", 1, 10, "found `08`, expected an integer of 32 bits for `version`");
    check_error("version: [1]", 1, 10, "found `[`, expected an integer of 32 bits for `version`");
    check_error("version: 'a", 1, 10, "found a string without an end, expected its closing quote");
    check_error("node { name: 'a\n' }", 1, 14, "found a string without an end, expected its closing quote");
    check_error("node { name: 'ab\\q' }", 1, 17, "found the escape `\\q`, which does not exist or is incomplete");
    check_error("node { name: 'a\\400' }", 1, 16, "found the escape `\\4`, which does not exist or is incomplete");
    check_error("node { name: 'a' '\\ud800' }", 1, 19, "found the escape `\\u`, which does not exist or is incomplete");
    check_error("node { attr { value { type: DT_FLOTA } } }", 1, 29, "found `DT_FLOTA`, expected a value of DataType");
    check_error("node { attr { value { f: 0x10 } } }", 1, 26, "found `0x10`, expected a decimal number for `f`");
    check_error("node { attr { value { b: 2 } } }", 1, 26, "found `2`, expected `true` or `false` for `b`");
    check_error("node { attr { value { list { i: [1 2] } } } }", 1, 36, "found `2`, expected `,` or `]`");
    check_error(
        "node { attr { value { list { i: [1,] } } } }",
        1,
        36,
        "found `]`, expected an integer of 64 bits for `i`",
    );
    check_error("\u{1}", 1, 1, "found byte 0x01, expected the name of a field");
}

#[test]
fn depth_is_limited_in_both_directions() {
    let nested = |levels: usize, closed: bool| {
        let open = "func { attr { value { ".repeat(levels);
        let close = if closed { "}}}".repeat(levels) + "}}}" } else { String::new() };
        format!("node {{ attr {{ value {{ {open}{close}")
    };
    // 3 levels of messages for each: 3 + 3 * 32 = 99, the next three pass 100.
    let deep = parse(nested(32, true).as_bytes()).unwrap();
    assert_eq!(parse(text_of(&deep).as_bytes()).unwrap(), deep);
    for text in [nested(33, true), nested(100_000, false)] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.to_string().ends_with("found messages nested deeper, expected at most 100 levels"), "{error}");
    }
    let mut bytes = Vec::new();
    for _ in 0..40 {
        let mut attr = Vec::new();
        put_bytes(&mut attr, 2, &bytes);
        let mut func = Vec::new();
        put_bytes(&mut func, 2, &attr);
        bytes.clear();
        put_bytes(&mut bytes, 10, &func);
    }
    for number in [2, 5, 1] {
        let inner = std::mem::take(&mut bytes);
        put_bytes(&mut bytes, number, &inner);
    }
    let error = write(&bytes, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().ends_with("found messages nested deeper, expected at most 100 levels"), "{error}");
}

#[test]
fn what_the_wire_allows_is_written_once() {
    // The last scalar counts, messages merge, and the last member of a oneof counts.
    let mut bytes = vec![0x18, 1, 0x22, 2, 0x08, 5, 0x18, 2, 0x22, 2, 0x10, 6];
    let mut attr = Vec::new();
    put_bytes(&mut attr, 2, &[0x18, 7]);
    put_bytes(&mut attr, 2, &[0x28, 1, 0x18, 8]);
    let mut node = Vec::new();
    put_bytes(&mut node, 5, &attr);
    put_bytes(&mut bytes, 1, &node);
    // `protobuf` 3.7.2 does not merge, so it is no oracle here; TensorFlow is, in the parity tests.
    assert_eq!(
        text_of(&bytes),
        "version: 2\nversions {\n  producer: 5\n  min_consumer: 6\n}\nnode {\n  attr {\n    value {\n      i: 8\n    }\n  }\n}\n"
    );
}

#[test]
fn fields_without_a_name_are_refused() {
    let mut bytes = b"\x0a\x02\x0a\x00".to_vec();
    put_tag(&mut bytes, 99, 0);
    put_varint(&mut bytes, 1);
    let error = write(&bytes, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "field 99 of GraphDef is a varint, which has no name in the text form");
    assert_eq!((error.code(), error.location()), ("E0402", Some("offset 0x4".to_owned())));
    assert!(matches!(write(&[0x08, 1], &mut Vec::new()), Err(Error::NoText { field: 1, .. })));
    assert!(matches!(write(&[0x0a, 5], &mut Vec::new()), Err(Error::Wire { .. })));
}

#[test]
fn a_full_disk_is_an_error() {
    let mut full = [0_u8; 3];
    assert_eq!(write(&[0x18, 5], &mut &mut full[..]).unwrap_err().code(), "E0101");
}

/// Bytes that are a GraphDef more often than not.
fn graphs() -> impl Strategy<Value = GraphDef> {
    let attr = prop_oneof![
        any::<i64>().prop_map(Value::I),
        any::<u32>().prop_map(|bits| Value::F(f32::from_bits(bits))),
        any::<Vec<u8>>().prop_map(Value::S),
        any::<bool>().prop_map(Value::B),
        any::<i32>().prop_map(|number| Value::Type(protobuf::EnumOrUnknown::from_i32(number))),
        any::<String>().prop_map(Value::Placeholder),
        (any::<Vec<i64>>(), any::<Vec<f64>>()).prop_map(|(ints, doubles)| {
            let mut tensor = crate::graphdef::pb::TensorProto::new();
            tensor.half_val = ints.iter().map(|_| -1).collect();
            tensor.int64_val = ints;
            tensor.double_val = doubles;
            Value::Tensor(tensor)
        }),
    ];
    prop::collection::vec((any::<String>(), any::<String>(), attr), 0..4).prop_map(|nodes| {
        let mut graph = GraphDef::new();
        for (name, key, value) in nodes {
            let value = crate::graphdef::pb::AttrValue { value: Some(value), ..Default::default() };
            let entry =
                crate::graphdef::pb::node_def::AttrEntry { key, value: Some(value).into(), ..Default::default() };
            graph.node.push(crate::graphdef::pb::NodeDef { name, attr: vec![entry], ..Default::default() });
        }
        graph
    })
}

proptest! {
    #[test]
    fn graphs_come_back_from_text(graph in graphs()) {
        let bytes = graph.write_to_bytes().unwrap();
        let text = text_of(&bytes);
        let back = parse(text.as_bytes()).unwrap();
        // NaN is not equal to itself, and text has only one; a second pass compares bytes.
        prop_assert_eq!(text_of(&back), text);
        if !bytes.is_empty() && !format!("{graph:?}").contains("NaN") {
            prop_assert_eq!(GraphDef::parse_from_bytes(&back).unwrap(), graph);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(bytes: Vec<u8>, text in "[a-z_:{}<>\\[\\],;0-9'\"\\\\ #.-]*") {
        for text in [&bytes[..], text.as_bytes()] {
            if let Err(error) = parse(text) {
                prop_assert_eq!(error.code(), "E0401");
            }
        }
    }

    #[test]
    fn damaged_text_never_panics(at: prop::sample::Index, byte: u8) {
        let mut text = PRETTY.as_bytes().to_vec();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(bytes) = parse(&text) {
            text_of(&bytes);
        }
        let _ = parse(&text[..at]).is_ok();
    }

    #[test]
    fn writing_arbitrary_bytes_never_panics(graph in graphs(), at: prop::sample::Index, byte: u8, bytes: Vec<u8>) {
        let _ = write(&bytes, &mut Vec::new()).is_ok();
        let mut bytes = graph.write_to_bytes().unwrap();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = write(&bytes, &mut Vec::new()).is_ok();
            let _ = write(&bytes[..at], &mut Vec::new()).is_ok();
        }
    }
}
