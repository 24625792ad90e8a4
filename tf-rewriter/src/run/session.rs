//! A graph in TensorFlow, with a session that runs it.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use quant_math::fold::Fold;
use tensorflow::{
    DataType, FetchToken, Graph as TfGraph, ImportGraphDefOptions, Operation, Output, Session, SessionOptions,
    SessionRunArgs, Status, Tensor,
};

use super::data::Batch;
use super::fixed::Fixed;
use super::unset::check_values;
use super::value::Value;
use super::{RunError, library};
use crate::error::Error;
use crate::graphdef::graph::{Graph, Interface};
use crate::graphdef::wire::{put_tag, put_varint};
use crate::rewrite::for_trainers::IS_TRAINING;

/// Where and how graphs run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// A cluster's address (`grpc://host:port`); `None`: in this process.
    pub target: Option<String>,
    /// Threads of TensorFlow; `None`: one per core.
    pub threads: Option<NonZeroUsize>,
    /// How long a cluster may take to answer; `None`: for ever, which is how long TensorFlow waits for one that is gone.
    pub timeout: Option<Duration>,
    /// Values of inputs that are the same in every run.
    pub fixed: Vec<Fixed>,
    /// Which batch normalizations go into the layers before them, where a config says what is measured or trained.
    pub fold: Fold,
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
    /// What the model's signature calls its inputs and outputs.
    interface: Interface,
    /// What decides whether a training graph learns ranges, where there is one; and `false` for it.
    is_training: Option<(Operation, Value)>,
    /// What is fed in every run.
    fixed: Vec<(Operation, Value)>,
    on: String,
    /// TensorFlow's version.
    pub(crate) version: String,
}

/// An input of a model.
#[derive(Debug, Clone)]
pub struct Input {
    /// The node's name, which is the name of its array in a data file.
    pub name: String,
    /// What the model's signature calls it: its array may be called so too.
    pub key: Option<String>,
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
        Self::with_outputs(graph, graph.output_names(), options)
    }

    /// The same, with these outputs (`node:port`).
    ///
    /// # Errors
    /// Those of [`Model::new`].
    pub(crate) fn with_outputs(graph: &Graph, outputs: Vec<String>, options: &RunOptions) -> Result<Self, RunError> {
        check_values(graph)?;
        let whole = graph.whole_bytes().map_err(|error| match error {
            Error::TooLarge { .. } => {
                let help = error.help().unwrap_or_default().into_owned();
                RunError::Request { message: error.to_string(), help }
            }
            error => RunError::Values(Box::new(error)),
        })?;
        let model = Self::from_bytes(&whole, outputs, graph.interface(), options);
        // TensorFlow has a copy now.
        let changed = |source| RunError::Changed { path: graph.path().map(ToOwned::to_owned), source };
        graph.check().map_err(changed).and(model)?.initialized()
    }

    /// The model whose lookup tables are filled; they are empty until then.
    pub(crate) fn initialized(self) -> Result<Self, RunError> {
        if let Some(name) = &self.interface.initializer
            && let Some(initializer) = self.graph.operation_by_name(name).ok().flatten()
        {
            self.run_with([], &[], &[&initializer])?;
        }
        Ok(self)
    }

    /// Hand the bytes of a binary GraphDef to TensorFlow. Its variables get their values from whoever calls this.
    ///
    /// # Errors
    /// The same, but for variables.
    pub(crate) fn from_bytes(
        bytes: &[u8],
        outputs: Vec<String>,
        interface: &Interface,
        options: &RunOptions,
    ) -> Result<Self, RunError> {
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
        let fixed =
            options.fixed.iter().map(|fixed| fixed_input(&graph, interface, fixed)).collect::<Result<Vec<_>, _>>()?;
        let fixed_names: BTreeSet<String> = fixed.iter().filter_map(|(operation, _)| operation.name().ok()).collect();
        let is_fixed = |operation: &Operation| operation.name().is_ok_and(|name| fixed_names.contains(&name));
        let mut inputs = Vec::new();
        for operation in graph.operation_iter() {
            let is_input = operation.op_type().is_ok_and(|kind| kind == "Placeholder");
            if is_input && operation.output_num_consumers(0) > 0 && !is_fixed(&operation) {
                let shape = shape_of(&graph, &operation);
                let name = operation.name().unwrap_or_default();
                let key = interface.inputs.iter().find(|input| input.node() == name).map(|input| input.key.clone());
                inputs.push(Input { name, key, dtype: operation.output_type(0), shape, operation });
            }
        }
        let is_training = graph.operation_by_name(IS_TRAINING).ok().flatten();
        let is_training = is_training
            .filter(|operation| operation.num_outputs() > 0 && operation.output_type(0) == DataType::Bool)
            .map(|operation| (operation, Value::Bool(Tensor::from(false))));
        Ok(Self { graph, session, inputs, outputs, interface: interface.clone(), is_training, fixed, on, version })
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

    /// The input of this name, which from now on is fed by whoever asks for it, and not from data.
    pub(crate) fn take_input(&mut self, name: &str) -> Option<Operation> {
        let at = self.inputs.iter().position(|input| input.name == name)?;
        Some(self.inputs.remove(at).operation)
    }

    /// Call each input as `other` calls the one that it stands for: the one of that name, else the one of that key of the signature.
    pub(crate) fn call_inputs_as(&mut self, other: &Self) {
        for input in &mut self.inputs {
            let same_name = other.inputs.iter().any(|own| own.name == input.name);
            let same_key = || other.inputs.iter().find(|own| own.key.is_some() && own.key == input.key);
            if let Some(own) = same_key().filter(|_| !same_name) {
                input.name.clone_from(&own.name);
            }
        }
    }

    /// The output of this model that is what `other` calls `name`: of that name, else of that key of the signature.
    ///
    /// # Errors
    /// Those of [`Model::tensor`].
    pub(crate) fn same_output(&self, other: &Self, name: &str) -> Result<Output, RunError> {
        let key = other.interface.outputs.iter().find(|output| output.tensor == name).map(|output| &output.key);
        let by_key = || self.interface.outputs.iter().find(|output| Some(&output.key) == key);
        self.tensor(name).or_else(|error| by_key().map_or(Err(error), |output| self.tensor(&output.tensor)))
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

    /// Run the graph on a batch and fetch `fetches`.
    ///
    /// # Errors
    /// TensorFlow's own.
    pub(crate) fn run(&self, batch: &Batch, fetches: &[Output]) -> Result<Vec<Value>, RunError> {
        self.infer(self.feeds(batch), fetches)
    }

    /// What a batch feeds to the inputs: each the array of its name.
    pub(crate) fn feeds<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = (&'a Operation, i32, &'a Value)> {
        let values = batch.by_name();
        self.inputs.iter().filter_map(move |input| Some((&input.operation, 0, *values.get(input.name.as_str())?)))
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
        &'a self,
        feeds: impl IntoIterator<Item = (&'a Operation, i32, &'a Value)>,
        fetches: &[Output],
        targets: &[&Operation],
    ) -> Result<Vec<Value>, RunError> {
        let mut run = SessionRunArgs::new();
        let fixed = self.fixed.iter().map(|(operation, value)| (operation, 0, value));
        for (operation, port, value) in feeds.into_iter().chain(fixed) {
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

/// The dimensions of a placeholder as TensorFlow takes them: graphs of its first versions say "unknown" and "scalar" in one way.
fn shape_of(graph: &TfGraph, operation: &Operation) -> Option<Vec<Option<i64>>> {
    graph.tensor_shape(Output { operation: operation.clone(), index: 0 }).ok().and_then(Into::into)
}

/// The input that has a value of its own in every run, and that value.
fn fixed_input(graph: &TfGraph, interface: &Interface, fixed: &Fixed) -> Result<(Operation, Value), RunError> {
    let kinds = ["Placeholder", "PlaceholderWithDefault"];
    let is_input = |operation: &Operation| operation.op_type().is_ok_and(|kind| kinds.contains(&kind.as_str()));
    let named = |name: &str| graph.operation_by_name(name).ok().flatten().filter(is_input);
    let by_key = || interface.inputs.iter().find(|input| input.key == fixed.name).and_then(|input| named(input.node()));
    let operation = named(&fixed.name).or_else(by_key);
    let Some(operation) = operation else {
        let inputs = graph.operation_iter().filter(is_input).filter_map(|operation| operation.name().ok());
        let inputs = inputs.take(20).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(RunError::Request {
            message: format!("`--feed {}`: the model has no input of that name", fixed.name),
            help: format!("its inputs are {inputs}"),
        });
    };
    let value = fixed.tensor(operation.output_type(0), shape_of(graph, &operation).as_deref())?;
    Ok((operation, value))
}
