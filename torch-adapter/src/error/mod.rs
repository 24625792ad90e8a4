//! What can go wrong with a TorchScript archive, with the place and the way out.
//!
//! Codes: `T00xx` files, `T01xx` archive, `T02xx` pickle, `T03xx` tensors, `T04xx` class text, `T05xx` plan and emit, `T08xx` what runs an archive.

mod archive;
mod pickle;
mod run;
mod tensor;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use quant_math::MathError;
use quant_math::plan::{NoPlan, NoSuchForm};

use crate::codes;

pub use archive::ArchiveFault;
pub use pickle::PickleFault;
pub use run::{INSTALL, RunError};
pub use tensor::TensorFault;

/// A place in an archive: record and byte offset, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct At {
    /// The record's name, without the archive's prefix.
    pub record: Option<String>,
    /// Byte offset in the record when there is one, else in the file.
    pub offset: Option<u64>,
}

impl At {
    /// A byte offset in the file.
    pub fn offset(offset: u64) -> Self {
        Self { record: None, offset: Some(offset) }
    }

    /// A record, as a whole.
    pub fn record(record: impl Into<String>) -> Self {
        Self { record: Some(record.into()), offset: None }
    }

    /// A byte offset in a record.
    pub fn within(record: impl Into<String>, offset: usize) -> Self {
        Self { record: Some(record.into()), offset: Some(offset as u64) }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.record, self.offset) {
            (Some(record), Some(offset)) => write!(f, "record `{record}`, offset {offset:#x}"),
            (Some(record), None) => write!(f, "record `{record}`"),
            (None, Some(offset)) => write!(f, "offset {offset:#x}"),
            (None, None) => Ok(()),
        }
    }
}

/// An error of this crate. [`Error::code`] is stable; [`Error::help`] says the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another error, with the file in which it happened.
    #[error(transparent)]
    InFile(model_file::InFile<Error>),
    /// The operating system refused.
    #[error("cannot {action}")]
    Io {
        /// What was tried, for example "read the archive".
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file that asks for much more memory than it is long.
    #[error("{over}")]
    Budget {
        /// What it asks for.
        over: quant_math::OverBudget,
        /// Where.
        at: At,
    },
    /// The file changed while it was read; nothing that was made from it is kept.
    #[error(transparent)]
    Changed(#[from] model_file::Changed),
    /// The archive, or a record of it, is not as torch writes it.
    #[error("{fault}")]
    Archive {
        /// What is wrong.
        fault: ArchiveFault,
        /// Where.
        at: At,
    },
    /// A pickle is not as torch writes it.
    #[error("{fault}")]
    Pickle {
        /// What is wrong.
        fault: PickleFault,
        /// Where.
        at: At,
    },
    /// A tensor does not fit its storage.
    #[error("{fault}")]
    Tensor {
        /// What is wrong.
        fault: TensorFault,
        /// Where it is described.
        at: At,
    },
    /// Class text and pickle contradict each other.
    #[error("{message}")]
    Disagree {
        /// What one of them has and the other has not.
        message: String,
        /// Where.
        at: At,
    },
    /// Class text that is not what torch.jit.save writes.
    #[error("{message}")]
    Code {
        /// What was found and expected.
        message: String,
        /// Where.
        at: At,
    },
    /// There is no plan for what was asked.
    #[error(transparent)]
    NoPlan(#[from] NoPlan),
    /// `gradient` among the `quant_types`.
    #[error("TorchScript cannot hold quantized gradients: its code has no backward pass of its own")]
    Gradient,
    /// A model without quantizers where one that was trained is needed.
    #[error("the model has no quantizers to freeze, expected an archive that `--emit training` made")]
    NotTraining,
    /// A model that measures its activations where one is needed that does not.
    #[error("the archive measures its activations: it was made for calibration")]
    Observes,
    /// A model that does not measure its activations where one is needed that does.
    #[error(
        "the archive does not measure its activations, expected one that `calibrate --emit observe` made and that data ran through"
    )]
    NotObserved,
    /// What runs an archive failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A plan that does not fit the model.
    #[error("the plan does not fit this model: {message}")]
    Plan {
        /// Where they differ.
        message: String,
    },
    /// The written archive failed its check; it was not put in place.
    #[error("the written archive failed its check and was discarded: {message}")]
    Verify {
        /// What was found.
        message: String,
    },
    /// The output could not be written.
    #[error(transparent)]
    Output(#[from] model_file::AtomicError),
    /// Numbers without a quantized form.
    #[error("tensor `{tensor}`: {source}")]
    Math {
        /// The tensor, as module path and attribute.
        tensor: String,
        /// What is wrong with it.
        r#source: MathError,
    },
}

impl From<NoSuchForm> for Error {
    fn from(no: NoSuchForm) -> Self {
        NoPlan::from(no).into()
    }
}

impl Error {
    /// A stable code for scripts; it never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InFile(inner) => inner.error.code(),
            Self::Io { .. } => "T0001",
            Self::Budget { .. } => "T0002",
            Self::Changed(_) => "T0003",
            Self::Archive { fault, .. } => fault.code(),
            Self::Pickle { fault, .. } => fault.code(),
            Self::Tensor { fault, .. } => fault.code(),
            Self::Output(source) => source.code(),
            Self::Code { .. } => "T0401",
            Self::Disagree { .. } => "T0402",
            Self::NoPlan(no) => match no {
                NoPlan::Form(_) => "T0501",
                NoPlan::MissingRanges(_) => "T0502",
                NoPlan::Ranges(_) => "T0503",
                NoPlan::Quantizer { .. } => "T0506",
                NoPlan::Unmatched(_) => codes::UNMATCHED.name,
                NoPlan::Written(faults) => faults.code(),
            },
            Self::Plan { .. } => "T0504",
            Self::Gradient => "T0505",
            Self::NotTraining => "T0507",
            Self::Observes => "T0508",
            Self::NotObserved => "T0509",
            Self::Run(error) => error.code(),
            Self::Verify { .. } => "T0601",
            Self::Math { source, .. } => source.code(),
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::InFile(inner) => inner.error.help(),
            Self::Budget { over, .. } => Some(over.help().into()),
            Self::Archive { fault, .. } => fault.help(),
            Self::Pickle { fault, .. } => fault.help(),
            Self::Tensor { fault, .. } => fault.help(),
            Self::Math { source, .. } => source.help(),
            Self::Output(source) => source.help().map(Cow::Borrowed),
            Self::Changed(changed) => Some(changed.help().into()),
            Self::Gradient => Some(
                "autograd derives it from the ops of the forward pass, and no op rounds a gradient with noise; quantize weights, inputs and \
                 outputs here, and gradients in Python with a hook or `autograd.Function` around the loaded model"
                    .into(),
            ),
            Self::NotTraining => Some("make one with `compress --emit training`, train it, and save it with `torch.jit.save`".into()),
            Self::Observes => Some("give the archive that it was made from".into()),
            Self::NotObserved => Some(
                "run data through that archive in PyTorch and save it with `torch.jit.save`, before `torch.jit.freeze`".into(),
            ),
            Self::Run(error) => error.help(),
            Self::NoPlan(NoPlan::MissingRanges(_)) => Some(
                "measure them with `calibrate MODEL --data DATA -o ranges.json` and pass `--ranges ranges.json`, or use `--emit training` and `freeze` the trained model; \
                 `--emit baked` and `--emit packed` quantize the weights alone and need none"
                    .into(),
            ),
            Self::NoPlan(no) => no.help(),
            Self::Plan { .. } => Some("make the plan again from this file".into()),
            Self::Disagree { .. } => Some("torch could not load the archive either; save the model again".into()),
            Self::Code { .. } => Some("the code was not written by torch.jit.save; save the model again".into()),
            Self::Verify { .. } => {
                Some("this is a defect of torch-adapter: please report it with the command and, if you may, the model".into())
            }
            Self::Io { .. } => None,
        }
    }

    /// File, record and offset, as far as they are known, for a line `--> …`.
    pub fn location(&self) -> Option<String> {
        match self {
            Self::InFile(inner) => Some(inner.location(inner.error.location())),
            Self::Run(error) => error.location(),
            Self::Archive { at, .. }
            | Self::Pickle { at, .. }
            | Self::Tensor { at, .. }
            | Self::Budget { at, .. }
            | Self::Code { at, .. }
            | Self::Disagree { at, .. } => Some(at.to_string()).filter(|at| !at.is_empty()),
            _ => None,
        }
    }

    /// What a writer said; an output file's own error keeps its code.
    pub(crate) fn writing(source: std::io::Error) -> Self {
        match source.downcast::<model_file::AtomicError>() {
            Ok(error) => Self::Output(error),
            Err(source) => Self::Io { action: "write the archive", source },
        }
    }

    /// The error without the file in which it happened.
    pub fn innermost(&self) -> &Self {
        match self {
            Self::InFile(inner) => inner.error.innermost(),
            other => other,
        }
    }

    /// The same error, known to have happened in `path`.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            // An output's error names its own file.
            Self::InFile(_) | Self::Output(_) | Self::Run(_) => self,
            error => Self::InFile(model_file::InFile { path: path.to_owned(), error: Box::new(error) }),
        }
    }
}
