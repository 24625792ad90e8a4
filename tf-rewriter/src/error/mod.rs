//! What can go wrong with a TensorFlow graph, with the place and the way out.

mod container;
#[cfg(feature = "run")]
mod run;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use quant_math::MathError;
use quant_math::moments::MomentsError;
use quant_math::plan::{NoPlan, NoSuchForm};

use crate::codes;

pub use container::ContainerError;
#[cfg(feature = "run")]
pub use run::{INSTALL, RunError};

/// A place in a graph: node, position and byte offset, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct At {
    /// The node's name.
    pub node: Option<String>,
    /// The node's position in its graph or function, counted from 0.
    pub index: Option<usize>,
    /// Byte offset in the binary form of the graph.
    pub offset: Option<u64>,
}

impl At {
    /// A byte offset, nothing else.
    pub fn offset(offset: usize) -> Box<Self> {
        Box::new(Self { offset: Some(offset as u64), ..Self::default() })
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(node) = &self.node {
            parts.push(match self.index {
                Some(index) => format!("node `{node}` (number {index})"),
                None => format!("node `{node}`"),
            });
        } else if let Some(index) = self.index {
            parts.push(format!("node {index}"));
        }
        if let Some(offset) = self.offset {
            parts.push(format!("offset {offset:#x}"));
        }
        f.write_str(&parts.join(", "))
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
        /// What was tried, for example "read the graph".
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file changed while it was read; nothing that was made from it is kept.
    #[error(transparent)]
    Changed(#[from] model_file::Changed),
    /// The output file could not be written.
    #[error(transparent)]
    Output(#[from] model_file::atomic::AtomicError),
    /// A file that is something else than a GraphDef.
    #[error("this is {found}, expected a TensorFlow GraphDef (binary or text)")]
    NotAGraph {
        /// What the file is.
        found: Cow<'static, str>,
        /// What to do with it.
        help: Cow<'static, str>,
    },
    /// A SavedModel or MetaGraph of which a part is missing, is not chosen, or cannot be frozen.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Longer than a protobuf message may be.
    #[error("the graph is {bytes} bytes long, expected at most {limit}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The longest that TensorFlow loads.
        limit: u64,
    },
    /// A file that asks for much more memory than it is long.
    #[error(transparent)]
    Budget(#[from] quant_math::OverBudget),
    /// Bytes that are no protobuf message.
    #[error("{what}: found {found}, expected {expected}")]
    Wire {
        /// Which message or field.
        what: Cow<'static, str>,
        /// What stands there.
        found: Cow<'static, str>,
        /// What should stand there.
        expected: Cow<'static, str>,
        /// Where.
        at: Box<At>,
    },
    /// Two nodes with one name.
    #[error("two nodes are called `{name}` (numbers {first} and {second}), expected unique names")]
    DuplicateName {
        /// The name.
        name: String,
        /// The first node's position.
        first: usize,
        /// The second one's.
        second: usize,
        /// The second one's place.
        at: Box<At>,
    },
    /// Two functions with one name.
    #[error("two functions of the library are called `{name}`, expected unique names")]
    DuplicateFunction {
        /// The name.
        name: String,
        /// The second one's place.
        at: Box<At>,
    },
    /// A control edge before a data edge.
    #[error("node `{node}` reads `{input}` after a control edge, expected its data first")]
    ControlFirst {
        /// The reading node.
        node: String,
        /// The first input behind a control edge.
        input: String,
        /// The node's place.
        at: Box<At>,
    },
    /// An edge into nothing.
    #[error("node `{node}` reads `{input}`, which is not in the graph")]
    MissingInput {
        /// The reading node.
        node: String,
        /// The input as written.
        input: String,
        /// The reading node's place.
        at: Box<At>,
    },
    /// A cycle that no loop construct closes.
    #[error("node `{node}` depends on itself: {path}")]
    Cycle {
        /// A node of the cycle.
        node: String,
        /// The names along it.
        path: String,
        /// That node's place.
        at: Box<At>,
    },
    /// A tensor whose parts contradict each other.
    #[error("tensor of {what}: found {found}, expected {expected}")]
    Tensor {
        /// Whose tensor.
        what: String,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
        /// Where.
        at: Box<At>,
    },
    /// Text that is no GraphDef in text form.
    #[error("line {line}, column {column}: {message}")]
    Text {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was found and expected.
        message: String,
    },
    /// A field that the text form has no name for; writing text would lose it.
    #[error("field {field} of {message} is {found}, which has no name in the text form")]
    NoText {
        /// The message type.
        message: String,
        /// The field's number.
        field: u32,
        /// Its wire type.
        found: &'static str,
        /// Where it stands in the binary form.
        at: Box<At>,
    },
    /// Numbers without a quantized form.
    #[error("tensor `{tensor}`: {source}")]
    Math {
        /// The node that holds the tensor.
        tensor: String,
        /// What is wrong with it.
        r#source: MathError,
    },
    /// There is no plan for what was asked.
    #[error(transparent)]
    NoPlan(#[from] NoPlan),
    /// A name that the graph does not have.
    #[error("there is no node called `{name}`")]
    NoSuchNode {
        /// The name.
        name: String,
    },
    /// Something that needs a graph to execute.
    #[cfg(feature = "run")]
    #[error(transparent)]
    Run(#[from] RunError),
    /// A plan that does not fit the model.
    #[error("the plan does not fit this graph: {message}")]
    Plan {
        /// Where they differ.
        message: String,
    },
    /// No checkpoint, or one of a kind that is not read.
    #[error("{message}")]
    Checkpoint {
        /// What was found and what was expected.
        message: String,
        /// The way out.
        help: String,
    },
    /// A tensor that the checkpoint does not have.
    #[error("there is no tensor called `{name}` among the {tensors} of the checkpoint")]
    NoSuchTensor {
        /// The name.
        name: String,
        /// How many there are.
        tensors: usize,
    },
    /// A part that a tensor of the checkpoint does not have.
    #[error("there is no part `{part}` of the tensor `{name}`: {why}")]
    NoSuchPart {
        /// The tensor.
        name: String,
        /// The part, as RestoreV2 names it.
        part: String,
        /// What stands against it.
        why: String,
    },
    /// Values that are to be written, and do not fit.
    #[error("new values of `{name}`: found {found}, expected {expected}")]
    NewValues {
        /// The tensor.
        name: String,
        /// What came.
        found: String,
        /// What the tensor takes.
        expected: String,
    },
    /// A graph that was not made by `--emit training`, where one is needed.
    #[error("{found}, expected a graph that `--emit training` made")]
    NotTraining {
        /// What the graph is or has.
        found: String,
    },
    /// Variables without a value.
    #[error("the checkpoint has no value for {} variable(s) of the graph: {}", .names.len(), quant_math::plan::first_names(.names))]
    MissingVariables {
        /// The variables.
        names: Vec<String>,
    },
    /// A plan with weights that are rounded by reconstruction, and nothing that says what their layers read.
    #[error("weights are to be rounded by reconstruction, which needs the moments of what their layers read")]
    NoMoments,
    /// Moments that cannot be used.
    #[error(transparent)]
    Moments(#[from] MomentsError),
    /// The written file failed its check; it was not put in place.
    #[error("the written graph failed its check and was discarded: {message}")]
    Verify {
        /// What was found.
        message: String,
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
            Self::Io { .. } => "E0101",
            Self::Output(error) => error.code(),
            #[cfg(feature = "run")]
            Self::Run(error) => error.code(),
            Self::Container(error) => error.code(),
            Self::NotAGraph { .. } => "E0102",
            Self::TooLarge { .. } => "E0103",
            Self::Budget(_) => "E0104",
            Self::Changed(_) => "E0105",
            Self::Wire { .. } => "E0201",
            Self::DuplicateName { .. } => "E0202",
            Self::MissingInput { .. } => "E0203",
            Self::Cycle { .. } => "E0204",
            Self::DuplicateFunction { .. } => "E0205",
            Self::ControlFirst { .. } => "E0206",
            Self::Tensor { .. } => "E0301",
            Self::Math { source, .. } => source.code(),
            Self::Text { .. } => "E0401",
            Self::NoText { .. } => "E0402",
            Self::NoPlan(no) => match no {
                NoPlan::Form(_) => "E0501",
                NoPlan::MissingRanges(_) => "E0502",
                NoPlan::Ranges(_) => "E0503",
                NoPlan::Quantizer { .. } => "E0506",
                NoPlan::Unmatched(_) => codes::UNMATCHED.name,
                NoPlan::Written(faults) => faults.code(),
            },
            Self::Plan { .. } => "E0504",
            Self::NoSuchNode { .. } => "E0505",
            Self::NoMoments => "E0508",
            Self::Moments(error) => error.code(),
            Self::NotTraining { .. } => "E0507",
            Self::MissingVariables { .. } => "E0703",
            Self::Verify { .. } => "E0601",
            Self::Checkpoint { .. } => "E0701",
            Self::NoSuchTensor { .. } => "E0702",
            Self::NoSuchPart { .. } => "E0704",
            Self::NewValues { .. } => "E0705",
        }
    }

    /// The way out, where there is one.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::InFile(inner) => inner.error.help(),
            Self::Output(error) => error.help().map(Cow::Borrowed),
            #[cfg(feature = "run")]
            Self::Run(error) => error.help(),
            Self::Container(error) => Some(error.help()),
            Self::NotAGraph { help, .. } => Some(help.clone()),
            Self::Changed(changed) => Some(changed.help().into()),
            Self::TooLarge { .. } => Some(
                "TensorFlow itself refuses a GraphDef of 2 GiB or more; keep the weights in a SavedModel's checkpoint instead of freezing them"
                    .into(),
            ),
            Self::Budget(over) => Some(over.help().into()),
            Self::Wire { .. } => Some("the file is damaged or was cut off; copy it again from its source".into()),
            Self::DuplicateName { .. } | Self::DuplicateFunction { .. } => Some("rename one of them where the graph is made; TensorFlow would refuse the graph too".into()),
            Self::MissingInput { .. } => {
                Some("the graph is not self-contained: freeze the whole model, not a part of it".into())
            }
            Self::ControlFirst { .. } => {
                Some("put `^` inputs last where the graph is made; TensorFlow would refuse the graph too".into())
            }
            Self::Cycle { .. } => Some("only `NextIteration` may close a loop; TensorFlow would refuse the graph too".into()),
            Self::NoText { .. } => Some("write the binary form (.pb), which keeps every field".into()),
            Self::Math { source, .. } => source.help(),
            Self::NoPlan(NoPlan::MissingRanges(_)) => Some(
                "measure them with `calibrate MODEL --data D.npz -o ranges.json` and pass `--ranges ranges.json`; \
                 `--emit baked` and `--emit packed` quantize the weights alone and need none"
                    .into(),
            ),
            Self::NoPlan(no) => no.help(),
            Self::Checkpoint { help, .. } => Some(help.clone().into()),
            Self::NoSuchTensor { .. } | Self::NoSuchPart { .. } => Some("the checkpoint must be of this very graph: was it saved by another one?".into()),
            Self::NotTraining { .. } => {
                Some("make one with `compress --emit training`, train it, and save its variables with a Saver".into())
            }
            Self::MissingVariables { .. } => Some(
                "save a checkpoint after training with all variables of the training graph, those that quantization added included".into(),
            ),
            Self::NoMoments => Some(
                "measure them with `calibrate MODEL --data D.npz --moments FILE`, and give the file with `--moments FILE`".into(),
            ),
            Self::Moments(error) => Some(error.help().into()),
            Self::NoSuchNode { .. } => Some("`inspect MODEL` lists the graph's inputs and outputs".into()),
            Self::Plan { .. } => Some("make the plan again from this file".into()),
            Self::Verify { .. } => Some("this is a defect of tf-rewriter: please report it with the command and, if you may, the model".into()),
            Self::Io { .. } | Self::NewValues { .. } | Self::Tensor { .. } | Self::Text { .. } => None,
        }
    }

    /// File, node and offset, as far as they are known, for a line `--> …`.
    pub fn location(&self) -> Option<String> {
        let at = match self {
            Self::InFile(inner) => return Some(inner.location(inner.error.location())),
            #[cfg(feature = "run")]
            Self::Run(error) => return error.location(),
            Self::Wire { at, .. }
            | Self::DuplicateName { at, .. }
            | Self::DuplicateFunction { at, .. }
            | Self::ControlFirst { at, .. }
            | Self::MissingInput { at, .. }
            | Self::Cycle { at, .. }
            | Self::NoText { at, .. }
            | Self::Tensor { at, .. } => at.to_string(),
            _ => String::new(),
        };
        (!at.is_empty()).then_some(at)
    }

    /// What a writer said; an output file's own error keeps its code.
    pub(crate) fn writing(source: std::io::Error) -> Self {
        match source.downcast::<model_file::AtomicError>() {
            Ok(error) => Self::Output(error),
            Err(source) => Self::Io { action: "write the graph", source },
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
            Self::InFile(_) => self,
            error => Self::InFile(model_file::InFile { path: path.to_owned(), error: Box::new(error) }),
        }
    }
}
