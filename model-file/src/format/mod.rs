//! What a file is, by its content, in one wording for all tools. Names say nothing: `.pb` is a GraphDef, a SavedModel, a MetaGraph, or text.

mod magic;
mod message;
mod text;
mod zip;

use std::fmt;

use crate::lfs::{LFS_POINTER, is_lfs_pointer};

/// How a protobuf message is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// In the wire format.
    Binary,
    /// In the text format.
    Text,
}

/// A format of files that models, or what belongs to them, are given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// No bytes at all.
    Empty,
    /// A pointer of Git LFS.
    LfsPointer,
    /// TensorFlow: a graph. One that is damaged is still one.
    GraphDef(Written),
    /// TensorFlow: a graph with what a Saver needs.
    MetaGraph(Written),
    /// TensorFlow: the file of a SavedModel that holds its graphs.
    SavedModel(Written),
    /// TensorFlow: a SavedModel's `fingerprint.pb`.
    Fingerprint,
    /// TensorFlow: the index of a checkpoint.
    CheckpointIndex,
    /// TensorFlow: the list of a folder's checkpoints.
    CheckpointList,
    /// TensorFlow Lite.
    TfLite,
    /// Compiled descriptions of protobuf messages.
    ProtoFiles,
    /// A protobuf message in text form, of a type that is not known here.
    ProtoText,
    /// Keras, in HDF5 form.
    KerasHdf5,
    /// Keras, in zip form.
    KerasZip,
    /// TorchScript, or what looks like it.
    TorchScript,
    /// TorchScript for the mobile interpreter, without code that can be read.
    TorchMobile,
    /// TorchScript in its first form.
    TorchScriptOld,
    /// What `torch.export.save` writes.
    TorchExport,
    /// What `torch.package` writes.
    TorchPackage,
    /// What `torch.save` writes.
    TorchSave,
    /// What `torch.save` wrote before PyTorch 1.6.
    TorchSaveOld,
    /// Weights alone.
    Safetensors,
    /// ONNX.
    Onnx(Written),
    /// Caffe2.
    Caffe2,
    /// NumPy: one array.
    NumpyArray,
    /// NumPy: several arrays.
    NumpyArchive,
    /// A Python pickle.
    Pickle,
    /// A zip archive without a file.
    EmptyZip,
    /// A zip archive of another kind.
    Zip,
    /// A tar archive.
    Tar,
    /// Compressed by gzip.
    Gzip,
    /// Compressed by xz.
    Xz,
    /// Compressed by Zstandard.
    Zstd,
    /// Text of another kind.
    Text,
    /// None of these.
    Unknown,
}

impl Format {
    /// The format of a file with these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Empty;
        }
        if is_lfs_pointer(bytes) {
            return Self::LfsPointer;
        }
        magic::format(bytes).or_else(|| text::format(bytes)).unwrap_or_else(|| message::format(bytes))
    }

    /// The format of a zip archive whose entries have these names.
    pub fn of_zip<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        zip::format(&names.into_iter().collect::<Vec<_>>())
    }

    /// Whether it is a file in which something else was packed.
    pub fn is_packed(self) -> bool {
        matches!(self, Self::Zip | Self::Tar | Self::Gzip | Self::Xz | Self::Zstd)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::LfsPointer => LFS_POINTER,
            Self::GraphDef(Written::Binary) => "a TensorFlow GraphDef",
            Self::GraphDef(Written::Text) => "a TensorFlow GraphDef in text form",
            Self::MetaGraph(Written::Binary) => "a MetaGraph",
            Self::MetaGraph(Written::Text) => "a MetaGraph in text form",
            Self::SavedModel(Written::Binary) => "the saved_model.pb of a SavedModel",
            Self::SavedModel(Written::Text) => "a SavedModel in text form",
            Self::Fingerprint => "the fingerprint.pb of a SavedModel",
            Self::CheckpointIndex => "the index of a TensorFlow checkpoint",
            Self::CheckpointList => "the list of a folder's checkpoints",
            Self::TfLite => "a TFLite model",
            Self::ProtoFiles => "a set of .proto files, compiled",
            Self::ProtoText => "a protobuf message in text form",
            Self::KerasHdf5 => "a Keras model in HDF5 form",
            Self::KerasZip => "a Keras model",
            Self::TorchScript => "a TorchScript archive",
            Self::TorchMobile => "an archive for the mobile interpreter alone",
            Self::TorchScriptOld => "a TorchScript archive in the format before PyTorch 1.2",
            Self::TorchExport => "a torch.export archive (.pt2)",
            Self::TorchPackage => "a torch.package archive",
            Self::TorchSave => "a torch.save file (a state_dict or a pickled module): it holds no code",
            Self::TorchSaveOld => "a torch.save file in the format before PyTorch 1.6",
            Self::Safetensors => "a safetensors file: weights without code",
            Self::Onnx(Written::Binary) => "an ONNX model",
            Self::Onnx(Written::Text) => "an ONNX model in text form",
            Self::Caffe2 => "a Caffe2 net",
            Self::NumpyArray => "a NumPy array",
            Self::NumpyArchive => "a NumPy archive (.npz)",
            Self::Pickle => "a Python pickle",
            Self::EmptyZip => "an empty zip archive",
            Self::Zip => "a zip archive of another kind",
            Self::Tar => "a tar archive",
            Self::Gzip => "a gzip file",
            Self::Xz => "an xz file",
            Self::Zstd => "a zstd file",
            Self::Text => "text of another kind",
            Self::Unknown => "a file of no known format",
        })
    }
}

#[cfg(test)]
mod tests;
