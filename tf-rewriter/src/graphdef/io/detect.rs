//! What a file is, by its content. Names say nothing: `.pb` is a GraphDef, a SavedModel, a MetaGraph, or text.

use std::borrow::Cow;
use std::path::Path;

use model_file::{LFS_HELP, LFS_POINTER, is_lfs_pointer};

use super::zip;
use crate::error::Error;
use crate::graphdef::wire::{Field, Fields, Value, varint};

/// How a graph is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Protobuf's wire format.
    Binary,
    /// Protobuf's text format.
    Text,
}

/// Freezing, in one command that can be pasted. `$load` makes `f`, a concrete function of the model, and keeps the model alive in `m`;
/// the words FOLDER and FILE in it stand for the model's path.
macro_rules! freeze {
    ($load:literal) => {
        concat!(
            "freeze it to a GraphDef: python3 -c \"import tensorflow as tf; ",
            "from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2 as freeze; ",
            $load,
            "; tf.io.write_graph(freeze(f).graph, '.', 'frozen.pb', as_text=False)\""
        )
    };
}

const FREEZE_SAVED_MODEL: &str = freeze!("m = tf.saved_model.load('FOLDER'); f = m.signatures['serving_default']");
const FREEZE_KERAS: &str = freeze!(
    "m = tf.keras.models.load_model('FILE'); f = tf.function(m).get_concrete_function(tf.TensorSpec(m.inputs[0].shape, m.inputs[0].dtype))"
);
const FREEZE_META_GRAPH: &str = "it holds a graph without its trained values: restore it together with its checkpoint and freeze it \
     with tf.compat.v1.graph_util.convert_variables_to_constants";
const FREEZE_CHECKPOINT: &str =
    "a checkpoint holds trained values without a graph: restore it into its model and freeze that to a GraphDef";
const ONNX: &str = "this tool quantizes TensorFlow graphs; use the TensorFlow model that the ONNX file was made from";
const TFLITE: &str = "a TFLite model is a converted end product; use the TensorFlow model that it was made from";
const TORCH: &str = "quantize it with `torch-adapter`";
const CAFFE2: &str = "this tool quantizes TensorFlow graphs; use the model that the Caffe2 net was made from";
const GRAPH: &str = "give a frozen GraphDef, binary (.pb) or text (.pbtxt)";

/// The form of the graph `bytes`.
///
/// # Errors
/// [`Error::NotAGraph`], which names what the bytes are and what to do with them. A damaged graph is still a graph: its damage is
/// found where it is read.
pub fn detect(bytes: &[u8]) -> Result<Form, Error> {
    if bytes.is_empty() {
        return Err(not_a_graph("an empty file", GRAPH));
    }
    if is_lfs_pointer(bytes) {
        return Err(not_a_graph(LFS_POINTER, LFS_HELP));
    }
    if let Some((found, help)) = by_magic(bytes) {
        return Err(not_a_graph(found, help));
    }
    if let Some(word) = first_word(bytes) {
        return by_first_word(word);
    }
    by_fields(bytes)
}

/// An error if `path` is a folder, which names what kind of folder it is.
///
/// # Errors
/// [`Error::NotAGraph`], with the path.
pub(super) fn refuse_folder(path: &Path) -> Result<(), Error> {
    if !path.is_dir() {
        return Ok(());
    }
    let holds = |name: &str| path.join(name).exists();
    let (found, help) = if holds("saved_model.pb") || holds("saved_model.pbtxt") {
        ("a SavedModel folder", FREEZE_SAVED_MODEL)
    } else if holds("checkpoint") {
        ("a folder of checkpoints", FREEZE_CHECKPOINT)
    } else {
        ("a folder", GRAPH)
    };
    Err(with_path(not_a_graph(found, help), path, path))
}

/// The form of the graph in the file `path`, whose bytes are `bytes`; the path stands in the error and in the commands of its help.
pub(super) fn detect_file(path: &Path, bytes: &[u8]) -> Result<Form, Error> {
    detect(bytes).map_err(|error| with_path(error, path, path.parent().unwrap_or(path)))
}

fn with_path(error: Error, file: &Path, folder: &Path) -> Error {
    match error {
        Error::NotAGraph { found, help } => {
            let folder = if folder.as_os_str().is_empty() { ".".into() } else { folder.display().to_string() };
            let help = help.replace("FOLDER", &folder).replace("FILE", &file.display().to_string());
            not_a_graph(found, help).in_file(file)
        }
        other => other.in_file(file),
    }
}

fn not_a_graph(found: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Error {
    Error::NotAGraph { found: found.into(), help: help.into() }
}

fn by_magic(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const TABLE_MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();
    Some(match bytes {
        [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => ("a Keras model in HDF5 form", FREEZE_KERAS),
        [b'P', b'K', 3, 4, ..] => zip_kind(bytes),
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => ("a TFLite model", TFLITE),
        [0x1f, 0x8b, 8, ..] => ("a gzip file", "unpack it first"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("an xz file", "unpack it first"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("a zstd file", "unpack it first"),
        // A pickle begins with its protocol.
        [0x80, 2..=5, ..] => (
            "a Python pickle",
            "PyTorch weights without a program cannot be quantized: export the model with torch.jit.script or torch.jit.trace",
        ),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => ("a NumPy array", GRAPH),
        _ if bytes.get(257..262) == Some(b"ustar") => ("a tar archive", "unpack it first"),
        _ if bytes.ends_with(&TABLE_MAGIC) => ("the index of a TensorFlow checkpoint", FREEZE_CHECKPOINT),
        _ => return None,
    })
}

fn zip_kind(bytes: &[u8]) -> (&'static str, &'static str) {
    const NAMES_READ: usize = 100_000;
    let names = zip::names(bytes, NAMES_READ);
    let has = |suffix: &[u8]| names.iter().any(|name| name.ends_with(suffix));
    if has(b"/constants.pkl") {
        ("a TorchScript archive", TORCH)
    } else if has(b"/data.pkl") {
        (
            "a PyTorch checkpoint",
            "weights without a program cannot be quantized: export the model with torch.jit.script or torch.jit.trace",
        )
    } else if has(b"model.weights.h5") {
        ("a Keras model", FREEZE_KERAS)
    } else if has(b".npy") {
        ("a NumPy archive", GRAPH)
    } else {
        ("a zip archive", "unpack it first")
    }
}

/// The field name at the start of a message in text form: the first word, if a `:`, `{` or `<` follows it.
///
/// Binary graphs are never taken for text: the name of a node has none of these three characters.
fn first_word(bytes: &[u8]) -> Option<&str> {
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    while let Some(comment) = rest.strip_prefix(b"#") {
        let end = comment.iter().position(|byte| *byte == b'\n')?;
        rest = comment.get(end..)?.trim_ascii_start();
    }
    let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')?;
    let (word, rest) = rest.split_at_checked(end)?;
    let followed = matches!(rest.trim_ascii_start().first(), Some(b':' | b'{' | b'<'));
    if word.is_empty() || !followed { None } else { str::from_utf8(word).ok() }
}

fn by_first_word(word: &str) -> Result<Form, Error> {
    match word {
        "saved_model_schema_version" | "meta_graphs" => {
            Err(not_a_graph("a SavedModel in text form", FREEZE_SAVED_MODEL))
        }
        "meta_info_def" | "graph_def" | "saver_def" | "collection_def" | "signature_def" => {
            Err(not_a_graph("a MetaGraph in text form", FREEZE_META_GRAPH))
        }
        "model_checkpoint_path" => Err(not_a_graph("the list of a folder's checkpoints", FREEZE_CHECKPOINT)),
        "ir_version" => Err(not_a_graph("an ONNX model in text form", ONNX)),
        // Any other word is for the reader, which names it with its line and column.
        _ => Ok(Form::Text),
    }
}

/// Tells protobuf messages apart by the fields they begin with. Only a few are looked at; the reader checks all.
fn by_fields(bytes: &[u8]) -> Result<Form, Error> {
    let head = head(bytes);
    let has = |number: u32| head.iter().any(|field| field.number == number && field.text.is_some());
    let counts = |number: u32| head.iter().any(|field| field.number == number && field.text.is_none());
    match head.first().map(|field| (field.number, field.text)) {
        // Hashes, where an ONNX model has the names of what made it.
        Some((1, None)) if (2..=5).any(counts) && !(2..=4).any(has) => {
            Err(not_a_graph("the fingerprint.pb of a SavedModel", FREEZE_SAVED_MODEL))
        }
        Some((1, None)) if has(7) || has(8) => Err(not_a_graph("an ONNX model", ONNX)),
        Some((1, None)) if has(2) => Err(not_a_graph("the saved_model.pb of a SavedModel", FREEZE_SAVED_MODEL)),
        // A schema version of 0 is not written.
        Some((2, Some(inner))) if is_meta_graph(inner) => {
            Err(not_a_graph("the saved_model.pb of a SavedModel", FREEZE_SAVED_MODEL))
        }
        Some((1 | 2, Some(_))) if head.iter().any(is_caffe2_op) => Err(not_a_graph("a Caffe2 net", CAFFE2)),
        Some((1, Some(inner))) if is_proto_file(inner) => Err(not_a_graph("a set of .proto files, compiled", GRAPH)),
        Some((1, Some(inner))) if has(2) && is_meta_info(inner) => Err(not_a_graph("a MetaGraph", FREEZE_META_GRAPH)),
        Some((number, text)) if is_graph_field(number, text) => Ok(Form::Binary),
        _ if is_prose(bytes) => Err(not_a_graph("text of another kind", GRAPH)),
        _ => Err(not_a_graph("neither a protobuf message nor text", GRAPH)),
    }
}

/// Whether a GraphDef may begin like this: a node, a library, a version, a VersionDef or debug information, which again begins with
/// one of its own fields.
fn is_graph_field(number: u32, text: Option<&[u8]>) -> bool {
    let tags: &[u8] = match (number, text) {
        (3, None) => return true,
        (1, Some(_)) => &[0x0a, 0x12, 0x1a, 0x22, 0x2a, 0x32, 0x3a],
        (2, Some(_)) => &[0x0a, 0x12, 0x1a],
        (4, Some(_)) => &[0x08, 0x10, 0x18, 0x1a],
        (5, Some(_)) => &[0x0a, 0x12, 0x22, 0x2a, 0x32],
        _ => return false,
    };
    text.and_then(<[u8]>::first).is_none_or(|first| tags.contains(first))
}

/// A field at the start of a message: its number, and its bytes if it is length-delimited, or as much of them as there is.
struct Head<'a> {
    number: u32,
    text: Option<&'a [u8]>,
}

fn head(bytes: &[u8]) -> Vec<Head<'_>> {
    const FIELDS_READ: usize = 16;
    let mut fields = Fields::new(bytes, 0, "GraphDef");
    let mut head = Vec::new();
    while head.len() < FIELDS_READ {
        let start = fields.offset();
        match fields.next() {
            Ok(Some(Field { number, value, .. })) => {
                let text = if let Value::Bytes(text, _) = value { Some(text) } else { None };
                head.push(Head { number, text });
            }
            Ok(None) => break,
            Err(_) => {
                head.extend(bytes.get(start..).and_then(cut_off));
                break;
            }
        }
    }
    head
}

/// A length-delimited field whose end is missing.
fn cut_off(bytes: &[u8]) -> Option<Head<'_>> {
    let (tag, after_tag) = varint(bytes)?;
    let number = u32::try_from(tag >> 3).ok().filter(|_| tag & 7 == 2)?;
    let rest = bytes.get(after_tag..)?;
    let text = match varint(rest) {
        Some((length, after)) => rest.get(after..).filter(|rest| length > rest.len() as u64)?,
        None if rest.len() < 10 => &[],
        _ => return None,
    };
    Some(Head { number, text: Some(text) })
}

/// Whether the first field of a message is a MetaGraph's MetaInfoDef and not a node: a list of ops or a version instead of the name
/// of an op, a version of TensorFlow instead of an attribute.
fn is_meta_info(inner: &[u8]) -> bool {
    head(inner).iter().any(|field| match (field.number, field.text) {
        (2, Some(text)) => text.starts_with(&[0x0a]),
        (5, Some(text)) => text.first().is_some_and(u8::is_ascii_digit),
        (7, None) => true,
        _ => false,
    })
}

/// Whether a message is a MetaGraphDef: its first field is a MetaInfoDef.
fn is_meta_graph(inner: &[u8]) -> bool {
    head(inner).first().is_some_and(|field| field.number == 1 && field.text.is_some_and(is_meta_info))
}

/// Whether a field is an operator of a Caffe2 net (NetDef.op = 2; OperatorDef.type = 4, a name). A library of functions has no field 4.
fn is_caffe2_op(field: &Head<'_>) -> bool {
    let is_name = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric);
    let is_type = |part: &Head<'_>| part.number == 4 && part.text.is_some_and(is_name);
    field.number == 2 && field.text.is_some_and(|inner| head(inner).iter().any(is_type))
}

/// Whether a message, or a text, is the name of a `.proto` file or begins with it: a FileDescriptorSet begins with the files' descriptors,
/// a FileDescriptorProto with the name.
fn is_proto_file(inner: &[u8]) -> bool {
    let is_name = |text: &[u8]| text.ends_with(b".proto");
    is_name(inner) || head(inner).first().is_some_and(|field| field.number == 1 && field.text.is_some_and(is_name))
}

fn is_prose(bytes: &[u8]) -> bool {
    const BYTES_READ: usize = 512;
    let head = bytes.get(..BYTES_READ).unwrap_or(bytes);
    let valid = match std::str::from_utf8(head) {
        Ok(_) => head.len(),
        // The last character may be cut in two.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return false,
    };
    head.iter().take(valid).all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn check(bytes: &[u8], found: &str) {
        match detect(bytes) {
            Err(error @ Error::NotAGraph { .. }) => {
                assert_eq!(
                    error.to_string(),
                    format!("this is {found}, expected a TensorFlow GraphDef (binary or text)")
                );
                assert!(error.help().is_some());
            }
            other => panic!("{other:?} for {bytes:?}"),
        }
    }

    fn check_form(bytes: &[u8], form: Form) {
        assert_eq!(detect(bytes).unwrap(), form, "{bytes:?}");
    }

    #[test]
    fn other_formats_are_named() {
        check(b"", "an empty file");
        check(b"\x89HDF\r\n\x1a\n\0\0", "a Keras model in HDF5 form");
        check(b"\x1c\0\0\0TFL3\x14\0", "a TFLite model");
        check(b"\x1f\x8b\x08\0", "a gzip file");
        check(b"\x80\x02}q\0.", "a Python pickle");
        check(b"\x93NUMPY\x01\0", "a NumPy array");
        check(
            &[&[0; 40][..], &0xdb47_7524_8b80_fb57_u64.to_le_bytes()].concat(),
            "the index of a TensorFlow checkpoint",
        );
        check(b"\x08\x07\x12\x07pytorch\x3a\x02\x0a\x00", "an ONNX model");
        check(b"\x08\x01\x12\x04\x0a\x02\x12\x00", "the saved_model.pb of a SavedModel");
        check(b"\x08\x01\x12\x80\x10\x0a\x02\x12", "the saved_model.pb of a SavedModel");
        check(b"\x0a\x08\x2a\x062.21.0\x12\x02\x0a\x00", "a MetaGraph");
        // What TensorFlow 2.21 writes as fingerprint.pb: hashes, a version, a UUID.
        check(
            b"\x08\x07\x10\x05\x18\x03\x20\x02\x28\x01\x32\x02\x08\x02\x3a\x0212",
            "the fingerprint.pb of a SavedModel",
        );
        check(b"\x08\x07\x10\x05\x3a\x0212", "the fingerprint.pb of a SavedModel");
        check(b"\x12\x0c\x0a\x08\x2a\x062.21.0\x12\x00", "the saved_model.pb of a SavedModel");
        check(b"\x0a\x03net\x12\x10\x0a\x04data\x12\x02c1\x22\x04Conv", "a Caffe2 net");
        check(b"\x12\x13\x12\x01w\x22\x0eXavierFillFill", "a Caffe2 net");
        check(b"\x0a\x0e\x0a\x07a.proto\x12\x03pkg", "a set of .proto files, compiled");
        check(b"\x0a\x07a.proto\x12\x03pkg", "a set of .proto files, compiled");
        check(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n", LFS_POINTER);
        check(b"{\"config_list\": []}", "text of another kind");
        check("größer".as_bytes(), "text of another kind");
        check(b"\xff\xfe\0\0", "neither a protobuf message nor text");
        check(b"saved_model_schema_version: 1", "a SavedModel in text form");
        check(b"meta_info_def {", "a MetaGraph in text form");
        check(b"model_checkpoint_path: \"m\"", "the list of a folder's checkpoints");
        check(b"ir_version: 8", "an ONNX model in text form");
    }

    fn zip(names: &[&str]) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        let directory = u32::try_from(bytes.len()).unwrap();
        for name in names {
            let length = u16::try_from(name.len()).unwrap().to_le_bytes();
            bytes.extend([&b"PK\x01\x02"[..], &[0; 24], &length, &[0; 16], name.as_bytes()].concat());
        }
        bytes.extend([&b"PK\x05\x06"[..], &[0; 12], &directory.to_le_bytes(), &[0; 2]].concat());
        bytes
    }

    #[test]
    fn zip_archives_are_told_apart_by_what_they_hold() {
        check(&zip(&["m/data.pkl", "m/code/a.py", "m/constants.pkl"]), "a TorchScript archive");
        check(&zip(&["m/data.pkl", "m/data/0"]), "a PyTorch checkpoint");
        check(&zip(&["metadata.json", "config.json", "model.weights.h5"]), "a Keras model");
        check(&zip(&["x.npy"]), "a NumPy archive");
        check(&zip(&[]), "a zip archive");
        check(b"PK\x03\x04", "a zip archive");
    }

    #[test]
    fn graphs_are_graphs_in_both_forms() {
        check_form(b"node { name: \"a\" }", Form::Text);
        check_form(b"\n \t# made by hand\n#\nnode{", Form::Text);
        check_form(b"versions {\n  producer: 5\n}", Form::Text);
        check_form(b"library <", Form::Text);
        check_form(b"nodes: 1", Form::Text);
        check_form(b"\x0a\x0a\x0a\x01x\x12\x05Const\x22\x03\x08\xdb\x0d", Form::Binary);
        check_form(b"\x22\x03\x08\xdb\x0d\x0a\x00", Form::Binary);
        check_form(b"\x18\x05", Form::Binary);
        check_form(b"\x12\x00", Form::Binary);
        // A graph that was cut off anywhere is a graph.
        check_form(b"\x0a", Form::Binary);
        check_form(b"\x0a\x80", Form::Binary);
        check_form(b"\x0a\x80\x80\x80\x04\x0a\x01x\x12\x05Co", Form::Binary);
        // Whitespace and letters as lengths and names do not make it text.
        check_form(b"\x0a\x0d\x0a\x09nodename1\x12\x00", Form::Binary);
    }

    #[test]
    fn folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let check = |found: &str| {
            let error = refuse_folder(folder.path()).unwrap_err();
            assert_eq!(error.to_string(), format!("this is {found}, expected a TensorFlow GraphDef (binary or text)"));
            assert_eq!(error.location(), Some(folder.path().display().to_string()));
            error.help().unwrap().into_owned()
        };
        check("a folder");
        let touch = |name: &str| {
            drop(
                fs::OpenOptions::new().write(true).create(true).truncate(true).open(folder.path().join(name)).unwrap(),
            );
        };
        touch("checkpoint");
        check("a folder of checkpoints");
        touch("saved_model.pb");
        let help = check("a SavedModel folder");
        assert!(help.contains(&format!("tf.saved_model.load('{}')", folder.path().display())), "{help}");
        refuse_folder(&folder.path().join("saved_model.pb")).unwrap();
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, zip: bool) {
            let bytes = if zip { [b"PK\x03\x04", &bytes[..], b"PK\x05\x06", &bytes[..]].concat() } else { bytes };
            if let Err(error) = detect(&bytes) {
                prop_assert_eq!(error.code(), "E0102");
            }
        }
    }
}
