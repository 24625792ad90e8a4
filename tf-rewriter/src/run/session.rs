//! A graph in TensorFlow, with a session that runs it.

use std::num::NonZeroUsize;
use std::time::Duration;

use tensorflow::{
    DataType, FetchToken, Graph as TfGraph, ImportGraphDefOptions, Operation, Output, Session, SessionOptions,
    SessionRunArgs, Status, Tensor,
};

use super::data::{Batch, Data};
use super::unset::check_values;
use super::value::Value;
use super::{RunError, library};
use crate::graph::Graph;
use crate::training::IS_TRAINING;
use crate::wire::{put_tag, put_varint};

/// Where and how graphs run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// A cluster's address (`grpc://host:port`); `None`: in this process.
    pub target: Option<String>,
    /// Threads of TensorFlow; `None`: one per core.
    pub threads: Option<NonZeroUsize>,
    /// How long a cluster may take to answer; `None`: for ever, which is how long TensorFlow waits for one that is gone.
    pub timeout: Option<Duration>,
}

/// A model that can be run.
#[derive(Debug)]
pub struct Model {
    pub(crate) graph: TfGraph,
    session: Session,
    /// What has to be fed.
    inputs: Vec<Input>,
    /// Names of the outputs, as `node:port`.
    outputs: Vec<String>,
    /// What decides whether a training graph learns ranges, where there is one; and `false` for it.
    is_training: Option<(Operation, Value)>,
    on: String,
    /// TensorFlow's version.
    pub(crate) version: String,
}

/// An input of a model.
#[derive(Debug, Clone)]
pub struct Input {
    /// The node's name, which is the name of its array in a data file.
    pub name: String,
    pub(crate) operation: Operation,
    /// The element type.
    pub dtype: DataType,
    /// The dimensions, outermost first; `None` where any is allowed.
    pub shape: Option<Vec<Option<i64>>>,
}

impl Model {
    /// Hand a graph to TensorFlow.
    ///
    /// # Errors
    /// A graph that needs the values of variables; no library; a graph that TensorFlow refuses; a cluster that cannot be reached.
    pub fn new(graph: &Graph, options: &RunOptions) -> Result<Self, RunError> {
        check_values(graph)?;
        let model = Self::from_bytes(graph.bytes(), graph.output_names(), options);
        // TensorFlow has a copy now.
        let changed = |source| RunError::Changed { path: graph.path().map(ToOwned::to_owned), source };
        graph.check().map_err(changed).and(model)
    }

    /// Hand the bytes of a binary GraphDef to TensorFlow. Its variables get their values from whoever calls this.
    ///
    /// # Errors
    /// The same, but for variables.
    pub(crate) fn from_bytes(bytes: &[u8], outputs: Vec<String>, options: &RunOptions) -> Result<Self, RunError> {
        let version = library::load()?;
        let on = options.target.as_ref().map(|target| format!("at `{target}` ")).unwrap_or_default();
        let failed = |action: &str, status: &Status| RunError::TensorFlow {
            action: action.to_owned(),
            on: on.clone(),
            message: status.to_string(),
        };
        let mut graph = TfGraph::new();
        graph
            .import_graph_def(bytes, &ImportGraphDefOptions::new())
            .map_err(|status| failed("read the graph", &status))?;
        let mut session_options = SessionOptions::new();
        if let Some(target) = &options.target {
            session_options.set_target(target).map_err(|error| RunError::Request {
                message: format!("`{target}` is no address: {error}"),
                help: "an address looks like `grpc://host:port`".to_owned(),
            })?;
        }
        session_options.set_config(&config(options)).map_err(|status| failed("be configured", &status))?;
        let session = Session::new(&session_options, &graph).map_err(|status| failed("begin a session", &status))?;
        let mut inputs = Vec::new();
        for operation in graph.operation_iter() {
            if operation.op_type().is_ok_and(|kind| kind == "Placeholder") && operation.output_num_consumers(0) > 0 {
                let shape = operation.get_attr_shape("shape").ok().and_then(Into::into);
                // A frozen graph's placeholder without a shape attribute says "unknown" or "scalar", which TensorFlow feeds as any.
                let shape = shape.filter(|dims: &Vec<Option<i64>>| !dims.is_empty());
                let name = operation.name().unwrap_or_default();
                inputs.push(Input { name, dtype: operation.output_type(0), shape, operation });
            }
        }
        let is_training = graph.operation_by_name(IS_TRAINING).ok().flatten();
        let is_training = is_training
            .filter(|operation| operation.num_outputs() > 0 && operation.output_type(0) == DataType::Bool)
            .map(|operation| (operation, Value::Bool(Tensor::from(false))));
        Ok(Self { graph, session, inputs, outputs, is_training, on, version })
    }

    /// What has to be fed.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// What the graph gives, as `node:port`.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// The inputs' names.
    pub fn input_names(&self) -> Vec<String> {
        self.inputs.iter().map(|input| input.name.clone()).collect()
    }

    /// Where it runs, for messages: ``at `grpc://host:port` `` or nothing.
    pub(crate) fn failed(&self, action: impl Into<String>, status: &Status) -> RunError {
        RunError::TensorFlow { action: action.into(), on: self.on.clone(), message: status.to_string() }
    }

    /// The output that a tensor's name means (`node:port`, or `node`).
    ///
    /// # Errors
    /// [`RunError::Request`] where the graph has no such tensor.
    pub(crate) fn tensor(&self, name: &str) -> Result<Output, RunError> {
        let (node, port) = match name.rsplit_once(':') {
            Some((node, port)) if port.parse::<i32>().is_ok() => (node, port.parse().unwrap_or(0)),
            _ => (name, 0),
        };
        let operation = self.graph.operation_by_name(node).ok().flatten();
        let operation = operation.filter(|op| usize::try_from(port).is_ok_and(|port| port < op.num_outputs()));
        operation.map(|operation| Output { operation, index: port }).ok_or_else(|| RunError::Request {
            message: format!("there is no tensor `{name}` in the graph"),
            help: "`inspect MODEL` lists the graph's outputs".to_owned(),
        })
    }

    /// Refuse data whose element types or shapes the inputs do not take. Arrays are those of [`Model::input_names`], in that order.
    ///
    /// # Errors
    /// [`RunError::Data`] with the array, what was found and what was expected.
    pub fn check(&self, data: &Data) -> Result<(), RunError> {
        for (position, input) in self.inputs.iter().enumerate() {
            let Some((descr, sample)) = data.sample(position) else { continue };
            let wrong = |found: String, expected: String| {
                super::data::data(
                    data.path(),
                    format!("`{}` has {found}, expected {expected}", input.name),
                    "convert the array where it is made",
                )
            };
            let Some(expected) = Value::descr(input.dtype) else {
                let message =
                    format!("the input `{}` takes {}, which no array of NumPy holds", input.name, input.dtype);
                return Err(RunError::Request {
                    message,
                    help: "freeze the model behind its decoding of strings".to_owned(),
                });
            };
            if descr != expected {
                return Err(wrong(format!("elements of type `{descr}`"), format!("`{expected}`")));
            }
            let Some(shape) = &input.shape else { continue };
            let inner = shape.get(1..).unwrap_or_default();
            let fits = shape.len() == sample.len() + 1
                && inner.iter().zip(sample).all(|(dim, found)| dim.is_none_or(|dim| u64::try_from(dim) == Ok(*found)));
            if !fits {
                let dims = inner
                    .iter()
                    .map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string()))
                    .collect::<Vec<_>>()
                    .join(", ");
                return Err(wrong(format!("samples of shape {sample:?}"), format!("[{dims}]")));
            }
        }
        Ok(())
    }

    /// The number of samples that the graph takes at once, where its inputs fix it.
    pub fn fixed_batch(&self) -> Option<u64> {
        let mut dims = self.inputs.iter().filter_map(|input| input.shape.as_ref()?.first().copied().flatten());
        dims.find_map(|dim| u64::try_from(dim).ok())
    }

    /// Run the graph on a batch and fetch `fetches`.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(crate) fn run(&self, batch: &Batch, fetches: &[Output]) -> Result<Vec<Value>, RunError> {
        let feeds = self.inputs.iter().zip(&batch.values).map(|(input, value)| (&input.operation, 0, value));
        self.infer(feeds, fetches)
    }

    /// Run with any feeds; a training graph learns nothing from it.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(crate) fn infer<'a>(
        &'a self,
        feeds: impl IntoIterator<Item = (&'a Operation, i32, &'a Value)>,
        fetches: &[Output],
    ) -> Result<Vec<Value>, RunError> {
        let is_training = self.is_training.as_ref().map(|(operation, no)| (operation, 0, no));
        self.run_with(feeds.into_iter().chain(is_training), fetches, &[])
    }

    /// Run with any feeds, and with targets that give nothing.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(crate) fn run_with<'a>(
        &self,
        feeds: impl IntoIterator<Item = (&'a Operation, i32, &'a Value)>,
        fetches: &[Output],
        targets: &[&Operation],
    ) -> Result<Vec<Value>, RunError> {
        let mut run = SessionRunArgs::new();
        for (operation, port, value) in feeds {
            value.feed(&mut run, operation, port);
        }
        let tokens: Vec<FetchToken> =
            fetches.iter().map(|output| run.request_fetch(&output.operation, output.index)).collect();
        for target in targets {
            run.add_target(target);
        }
        self.session.run(&mut run).map_err(|status| self.failed("run the graph", &status))?;
        let mut values = Vec::with_capacity(tokens.len());
        for (token, output) in tokens.into_iter().zip(fetches) {
            let dtype = output.operation.output_type(usize::try_from(output.index).unwrap_or_default());
            let value = Value::fetch(&mut run, token, dtype).map_err(|status| self.failed("give a tensor", &status))?;
            values.push(value.ok_or_else(|| RunError::Request {
                message: format!("`{}` gives {dtype}, which is no number", output.operation.name().unwrap_or_default()),
                help: "name other outputs with `--outputs`".to_owned(),
            })?);
        }
        Ok(values)
    }
}

/// ConfigProto: intra_op_parallelism_threads = 2, inter_op_parallelism_threads = 5, operation_timeout_in_ms = 11.
fn config(options: &RunOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(threads) = options.threads {
        for field in [2, 5] {
            put_tag(&mut bytes, field, 0);
            put_varint(&mut bytes, threads.get() as u64);
        }
    }
    if let (Some(timeout), Some(_)) = (options.timeout, &options.target) {
        put_tag(&mut bytes, 11, 0);
        put_varint(
            &mut bytes,
            u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX.cast_unsigned()),
        );
    }
    bytes
}

/// Refuse a NaN or an infinity in what is fed, which would spoil every statistic behind it.
///
/// # Errors
/// [`RunError::Data`] with the array, the sample and the number.
pub(crate) fn check_finite(model: &Model, data: &Data, batch: &Batch, first_sample: u64) -> Result<(), RunError> {
    for (input, value) in model.inputs.iter().zip(&batch.values) {
        if let Some((index, number)) = value.first_not_finite() {
            let one = value.shape().iter().skip(1).product::<u64>().max(1);
            let sample = first_sample + index as u64 / one;
            let message = format!("`{}` holds {number} in sample {sample}", input.name);
            return Err(super::data::data(data.path(), message, "leave such samples out, or mend them"));
        }
    }
    Ok(())
}
