//! What to do with a file that is no TorchScript archive.

use std::borrow::Cow;
use std::path::Path;

use model_file::{Format, LFS_HELP};

use crate::error::ArchiveFault;

const JIT_SAVE: &str = "save the model with `torch.jit.save(torch.jit.script(model), path)` or trace it";
const TF: &str = "use `tf-rewriter` for it";

/// The fault for a file of another format.
pub(super) fn not_an_archive(format: Format) -> ArchiveFault {
    ArchiveFault::NotAnArchive { found: format.to_string().into(), help: Cow::Borrowed(help(format)) }
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

fn help(format: Format) -> &'static str {
    match format {
        Format::Empty => "the download or copy did not finish; fetch it again",
        Format::LfsPointer => LFS_HELP,
        Format::TorchMobile => {
            "there is no code that could be read: quantize the archive of `torch.jit.save`, then convert that with \
             `_save_for_lite_interpreter`"
        }
        Format::TorchScriptOld => "load it and save it again with PyTorch 1.4 or later",
        Format::KerasHdf5
        | Format::KerasZip
        | Format::GraphDef(_)
        | Format::MetaGraph(_)
        | Format::SavedModel(_)
        | Format::Fingerprint => TF,
        Format::TfLite => "give the GraphDef or SavedModel it was made from to `tf-rewriter`",
        Format::Onnx(_) => "export the PyTorch model with `torch.jit.save` instead of `torch.onnx.export`",
        Format::Tar => {
            "it may be a torch.save file of an early PyTorch: save the model with `torch.jit.save`; else unpack it first"
        }
        Format::Gzip | Format::Xz | Format::Zstd => "unpack it first",
        _ => JIT_SAVE,
    }
}
