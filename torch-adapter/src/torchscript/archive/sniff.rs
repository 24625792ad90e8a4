//! What a file is when it is no TorchScript archive, so that the error can say so.

use std::borrow::Cow;
use std::path::Path;

use model_file::{LFS_HELP, LFS_POINTER, is_lfs_pointer};

use crate::error::ArchiveFault;

const JIT_SAVE: &str = "save the model with `torch.jit.save(torch.jit.script(model), path)` or trace it";
const TF: &str = "use `tf-rewriter` for it";

/// The fault for a file that does not start like a zip archive.
pub(super) fn not_an_archive(data: &[u8]) -> ArchiveFault {
    let (found, help) = kind(data);
    ArchiveFault::NotAnArchive { found: Cow::Borrowed(found), help: Cow::Borrowed(help) }
}

/// The fault for a folder.
pub(super) fn not_a_file(path: &Path) -> ArchiveFault {
    let (found, help) = if path.join("saved_model.pb").is_file() || path.join("saved_model.pbtxt").is_file() {
        ("a TensorFlow SavedModel folder", TF)
    } else if path.join("data.pkl").is_file() {
        ("the unpacked folder of an archive", "give the file that it was unpacked from, or save the model again")
    } else {
        ("a folder", "give the file that `torch.jit.save` wrote")
    };
    ArchiveFault::NotAnArchive { found: Cow::Borrowed(found), help: Cow::Borrowed(help) }
}

fn kind(data: &[u8]) -> (&'static str, &'static str) {
    if data.is_empty() {
        return ("an empty file", "the download or copy did not finish; fetch it again");
    }
    if data.starts_with(b"PK\x05\x06") {
        return ("an empty zip archive", JIT_SAVE);
    }
    if data.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") {
        return ("a torch.save file in the format before PyTorch 1.6", JIT_SAVE);
    }
    if matches!(data, [0x80, 2..=5, ..]) {
        return ("a Python pickle", JIT_SAVE);
    }
    if data.starts_with(b"\x89HDF\r\n\x1a\n") {
        return ("an HDF5 file, as Keras writes it", TF);
    }
    if data.starts_with(b"\x1f\x8b") {
        return ("a gzip file", "unpack it first");
    }
    if data.starts_with(b"\x93NUMPY") {
        return ("a NumPy array", JIT_SAVE);
    }
    if data.get(4..8) == Some(b"TFL3") {
        return ("a TensorFlow Lite model", "give the GraphDef or SavedModel it was made from to `tf-rewriter`");
    }
    if data.get(257..262) == Some(b"ustar") {
        return ("a tar file, perhaps a torch.save file of an early PyTorch", JIT_SAVE);
    }
    if is_lfs_pointer(data) {
        return (LFS_POINTER, LFS_HELP);
    }
    if is_safetensors(data) {
        return ("a safetensors file: weights without code", JIT_SAVE);
    }
    if is_onnx(data) {
        return ("an ONNX model", "export the PyTorch model with `torch.jit.save` instead of `torch.onnx.export`");
    }
    if data.starts_with(b"\x08\x01\x12") {
        return ("a TensorFlow SavedModel", TF);
    }
    if is_graph_def(data) {
        return ("a TensorFlow GraphDef", TF);
    }
    ("no zip archive", JIT_SAVE)
}

/// A length, then a JSON object of that length.
fn is_safetensors(data: &[u8]) -> bool {
    let Some(len) = data.first_chunk().map(|head| u64::from_le_bytes(*head)) else { return false };
    data.get(8) == Some(&b'{') && len >= 2 && len <= (data.len() - 8) as u64
}

/// `ir_version` first, then the producer's name or the graph.
fn is_onnx(data: &[u8]) -> bool {
    matches!(data, [0x08, 1..=32, 0x12 | 0x3a | 0x42, ..])
}

/// Field 1 (a node) that starts with field 1 (its name) and goes on with field 2 (its op).
fn is_graph_def(data: &[u8]) -> bool {
    let Some(rest) = data.strip_prefix(&[0x0a]) else { return false };
    let len = rest.iter().take(5).position(|byte| byte & 0x80 == 0);
    let node = len.and_then(|len| rest.get(len + 1..)).unwrap_or_default();
    let [0x0a, name @ 1..=0x7f, tail @ ..] = node else { return false };
    tail.get(..usize::from(*name)).is_some_and(<[u8]>::is_ascii) && tail.get(usize::from(*name)) == Some(&0x12)
}
