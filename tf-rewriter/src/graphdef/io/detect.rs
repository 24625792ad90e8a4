//! Whether a file is a graph, and what to do with one that is not.

use std::borrow::Cow;
use std::path::Path;

pub use model_file::format::Written as Form;
use model_file::{Format, LFS_HELP};

use crate::error::Error;

/// In one command that can be pasted; the word FILE in it stands for the model's path.
const EXPORT_KERAS: &str = "export it to a SavedModel, and give its folder: python3 -c \"import tensorflow as tf; \
     tf.keras.models.load_model('FILE').export('exported')\"";
const OPEN_MODEL: &str =
    "a graph by itself is meant here; `Graph::open_model` takes the whole model, with its variables";
const CHECKPOINT: &str =
    "a checkpoint holds trained values without a graph: give the model, and the checkpoint with `--checkpoint`";
const ONNX: &str = "this tool quantizes TensorFlow graphs; use the TensorFlow model that the ONNX file was made from";
const TFLITE: &str = "a TFLite model is a converted end product; use the TensorFlow model that it was made from";
const TORCH: &str = "quantize it with `torch-adapter`";
const CAFFE2: &str = "this tool quantizes TensorFlow graphs; use the model that the Caffe2 net was made from";
const GRAPH: &str =
    "give a SavedModel's folder, a GraphDef (.pb or .pbtxt), or a MetaGraph (.meta) beside its checkpoint";

/// The form of the graph `bytes`.
///
/// # Errors
/// [`Error::NotAGraph`], which names what the bytes are and what to do with them. A damaged graph is still a graph: its damage is
/// found where it is read.
pub fn detect(bytes: &[u8]) -> Result<Form, Error> {
    match Format::of(bytes) {
        Format::GraphDef(form) => Ok(form),
        // A word that is not known is for the reader, which names it with its line and column.
        Format::ProtoText => Ok(Form::Text),
        other => Err(not_a_graph(other.to_string(), help(other))),
    }
}

/// What to do with a file of another format.
fn help(format: Format) -> &'static str {
    match format {
        Format::LfsPointer => LFS_HELP,
        Format::SavedModel(_) | Format::MetaGraph(_) => OPEN_MODEL,
        Format::Fingerprint => "give the SavedModel's folder",
        Format::CheckpointIndex | Format::CheckpointList => CHECKPOINT,
        Format::KerasHdf5 | Format::KerasZip => EXPORT_KERAS,
        Format::TfLite => TFLITE,
        Format::Onnx(_) => ONNX,
        Format::Caffe2 => CAFFE2,
        Format::TorchScript => TORCH,
        Format::TorchMobile
        | Format::TorchScriptOld
        | Format::TorchExport
        | Format::TorchPackage
        | Format::TorchSave
        | Format::TorchSaveOld
        | Format::Safetensors
        | Format::Pickle => {
            "PyTorch weights without a program cannot be quantized: export the model with torch.jit.script or torch.jit.trace"
        }
        packed if packed.is_packed() => "unpack it first",
        _ => GRAPH,
    }
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
        ("a SavedModel folder", OPEN_MODEL)
    } else if holds("checkpoint") {
        ("a folder of checkpoints", CHECKPOINT)
    } else {
        ("a folder", GRAPH)
    };
    Err(with_path(not_a_graph(found, help), path))
}

/// The form of the graph in the file `path`, whose bytes are `bytes`; the path stands in the error and in the commands of its help.
pub(super) fn detect_file(path: &Path, bytes: &[u8]) -> Result<Form, Error> {
    detect(bytes).map_err(|error| with_path(error, path))
}

fn with_path(error: Error, file: &Path) -> Error {
    match error {
        Error::NotAGraph { found, help } => {
            let help = help.replace("FILE", &file.display().to_string());
            not_a_graph(found, help).in_file(file)
        }
        other => other.in_file(file),
    }
}

fn not_a_graph(found: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Error {
    Error::NotAGraph { found: found.into(), help: help.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use model_file::LFS_POINTER;

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
        check(b"PK\x03\x04", "a zip archive of another kind");
        check(b"\x08\x01\x12\x04\x0a\x02\x12\x00", "the saved_model.pb of a SavedModel");
        check(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n", LFS_POINTER);
        check(b"\xff\xfe\0\0", "a file of no known format");
    }

    #[test]
    fn graphs_are_graphs_in_both_forms() {
        check_form(b"node { name: \"a\" }", Form::Text);
        check_form(b"nodes: 1", Form::Text);
        check_form(b"\x0a\x80", Form::Binary);
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
        assert!(help.contains("open_model"), "{help}");
        refuse_folder(&folder.path().join("saved_model.pb")).unwrap();
    }
}
