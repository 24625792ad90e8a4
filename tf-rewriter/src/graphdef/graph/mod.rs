//! A graph, opened and indexed.

mod calls;
mod elsewhere;
mod interface;
mod made;
mod marked;
mod site_names;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use protobuf::{Enum, Message};

use quant_math::Budget;
use quant_math::fold::Folded;
use quant_math::moments::Moments;
use quant_math::plan::Reason;

use crate::error::Error;
use crate::graphdef::index::{GraphIndex, Input, NodeId, ScopeKind, Span, Target};
use crate::graphdef::io::{self, Form, Mapped};
use crate::graphdef::pb::{DataType, OpDef};
use crate::graphdef::saved_model::{Homes, Origin};
use crate::graphdef::tensor::{TensorView, dtype_name};
use site_names::SiteNames;

pub(crate) use calls::{Called, Calls, Place, Use};
pub(crate) use elsewhere::{Elsewhere, Piece, mark};
pub use interface::{Endpoint, Interface};
pub(crate) use made::{Neutral, Refolded};
pub(crate) use marked::Marked;
pub(crate) use site_names::without_calls;

/// The bytes of a graph: the mapped file, or what a text was parsed to.
#[derive(Debug)]
enum Source {
    File(Mapped),
    Memory(Vec<u8>),
    /// The binary form, and the text that it came from.
    Text(Vec<u8>, Mapped),
}

/// A TensorFlow graph, memory-mapped where it comes from a file, with the index of its nodes.
#[derive(Debug)]
pub struct Graph {
    source: Source,
    index: GraphIndex,
    /// Elements of constants that stand in other files.
    elsewhere: Elsewhere,
    path: Option<PathBuf>,
    /// What is made of the graph is counted against its length.
    budget: Budget,
    outputs: Vec<NodeId>,
    /// What was done to the model before it was this graph.
    steps: Vec<Reason>,
    interface: Interface,
    /// The model that it was made of, where all of its signatures are in it.
    origin: Option<Arc<Origin>>,
    /// Where its constants stand in that model; not for a graph in which they may have other values.
    homes: Option<Homes>,
    /// Where nodes were left out: the file's length and fingerprint.
    cut_from: Option<(u64, String)>,
    nodes_left_out: usize,
    /// Its batch normalizations, and which of them are in the layers before them by now; nothing where nobody has looked.
    folds: Vec<Folded>,
    /// What its batch normalizations are where they stay: constants of the model by their names, with new elements.
    neutral: Neutral,
    /// What was measured of the inputs of its layers.
    moments: Option<Arc<Moments>>,
    /// Who calls which function; filled when first asked for.
    calls: OnceLock<Calls>,
    /// What is not made from constants alone; arguments of functions whose callers are not known are among it, or are not. Only the table of
    /// ops tells what that is: who asks first has to find it.
    activations: [OnceLock<Marked>; 2],
    /// Filled when a site is first asked for by name.
    site_names: OnceLock<SiteNames>,
}

impl Graph {
    /// Open a GraphDef, binary (`.pb`) or text (`.pbtxt`), told apart by content.
    ///
    /// # Errors
    /// A file that is no GraphDef, is damaged, or is no legal graph (see [`Error::code`]).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let (file, form) = io::open(path)?;
        let source = match form {
            Form::Binary => Ok(Source::File(file.clone())),
            Form::Text => crate::graphdef::text::parse(&file).map(|binary| Source::Text(binary, file.clone())),
        };
        let graph = source.and_then(|source| Self::build(source, Some(path.to_owned())));
        file.settled(graph.and_then(Self::with_nodes)).map_err(|error| error.in_file(path))
    }

    /// A graph from bytes in memory, binary or text.
    ///
    /// # Errors
    /// As for [`Graph::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        io::check_length(bytes.len() as u64)?;
        let bytes = match io::detect(&bytes)? {
            Form::Binary => bytes,
            Form::Text => crate::graphdef::text::parse(&bytes)?,
        };
        Self::build(Source::Memory(bytes), None)?.with_nodes()
    }

    /// A message without nodes is taken for a GraphDef by its wire alone: there is nothing in it that could be quantized.
    fn with_nodes(self) -> Result<Self, Error> {
        let Some(scopes) = self.index.scopes.split_first().filter(|(main, _)| main.nodes.is_empty()) else {
            return Ok(self);
        };
        let found = match scopes.1.len() {
            0 => "a GraphDef without nodes".to_owned(),
            count => format!("a GraphDef without nodes, with a library of {count} function(s) alone"),
        };
        let help = "give the frozen GraphDef of the whole model, binary (.pb) or text (.pbtxt)";
        Err(Error::NotAGraph { found: found.into(), help: help.into() })
    }

    /// The written file, read back to be checked.
    pub(crate) fn reopen(path: &Path) -> Result<Self, Error> {
        let file = Mapped::open(path, io::MAX_GRAPH_BYTES)?;
        file.settled(Self::build(Source::File(file.clone()), None))
    }

    fn build(source: Source, path: Option<PathBuf>) -> Result<Self, Error> {
        let whole = Span::new(0, source.binary().len());
        Self::build_within(source, whole, path)
    }

    /// The graph that lies at `span`.
    fn build_within(source: Source, span: Span, path: Option<PathBuf>) -> Result<Self, Error> {
        let budget = Budget::for_file(source.file().len().max(source.binary().len()) as u64);
        let index = GraphIndex::build(source.binary(), span, &budget)?;
        Ok(Self {
            source,
            index,
            elsewhere: Elsewhere::default(),
            path,
            budget,
            outputs: Vec::new(),
            steps: Vec::new(),
            interface: Interface::default(),
            origin: None,
            homes: None,
            cut_from: None,
            nodes_left_out: 0,
            folds: Vec::new(),
            neutral: Neutral::default(),
            moments: None,
            calls: OnceLock::new(),
            activations: [OnceLock::new(), OnceLock::new()],
            site_names: OnceLock::new(),
        })
    }

    /// The view of a TensorProto of the graph, which belongs to `node`.
    ///
    /// # Errors
    /// Those of [`TensorView::parse`].
    pub(crate) fn tensor<'a>(&'a self, span: Span, node: &'a str) -> Result<TensorView<'a>, Error> {
        TensorView::parse_with(span.of(self.bytes()), span.start(), node, &|number| self.elsewhere.get(number))
    }

    /// Elements of constants that stand in other files.
    pub(crate) fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    /// Name nodes that are fetched at run time although other nodes read them. Nodes that nothing reads are outputs anyway.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`] for a name that the graph does not have.
    pub fn with_outputs<S: AsRef<str>>(mut self, names: &[S]) -> Result<Self, Error> {
        for name in names {
            // `logits:0` means the node `logits`.
            let text = name.as_ref();
            let node = text.strip_suffix(":0").unwrap_or(text);
            let found = self.index.scope(0).and_then(|s| s.find(self.source.binary(), node.as_bytes()));
            let Some(node) = found else { return Err(Error::NoSuchNode { name: text.to_owned() }) };
            self.outputs.push(NodeId { scope: 0, node });
        }
        Ok(self)
    }

    /// The file it was opened from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The binary GraphDef. In a graph that was made of a SavedModel or a checkpoint, constants lack the elements that stand there:
    /// [`Graph::whole_bytes`] has them.
    pub fn bytes(&self) -> &[u8] {
        self.source.binary()
    }

    /// The file that its bytes lie in, where they do.
    pub(crate) fn mapped(&self) -> Option<&Mapped> {
        match &self.source {
            Source::File(file) => Some(file),
            Source::Memory(_) | Source::Text(..) => None,
        }
    }

    /// Whether the graph was read from text.
    pub fn is_text(&self) -> bool {
        matches!(self.source, Source::Text(..))
    }

    /// Bytes of the file as it was read.
    pub fn file_len(&self) -> u64 {
        self.cut_from.as_ref().map_or(self.source.file().len() as u64, |(length, _)| *length)
    }

    /// `crc32c:<hex>:<bytes>` of the file, which binds a ranges file to it.
    pub fn fingerprint(&self) -> String {
        if let Some((_, fingerprint)) = &self.cut_from {
            return fingerprint.clone();
        }
        let file = self.source.file();
        quant_math::ranges::fingerprint(crc32c::crc32c(file), file.len() as u64)
    }

    /// The number of nodes, function bodies included.
    pub fn node_count(&self) -> usize {
        self.index.scopes.iter().map(|s| s.nodes.len()).sum()
    }

    /// The error, known to have happened in this graph's file.
    pub(crate) fn in_own_file(&self, error: Error) -> Error {
        match &self.path {
            Some(path) => error.in_file(path),
            None => error,
        }
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// `result`, which was made from this graph's bytes: an error where the file has changed meanwhile, whatever else was found.
    pub(crate) fn settled<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        self.check().map_err(|changed| self.in_own_file(changed.into())).and(result)
    }

    /// Whether the file was the same all the time.
    pub(crate) fn check(&self) -> Result<(), model_file::Changed> {
        match &self.source {
            Source::File(file) | Source::Text(_, file) => file.check()?,
            Source::Memory(_) => {}
        }
        self.elsewhere.check()
    }

    pub(crate) fn index(&self) -> &GraphIndex {
        &self.index
    }

    /// Who calls which function.
    pub(crate) fn calls(&self) -> Result<&Calls, Error> {
        if let Some(calls) = self.calls.get() {
            return Ok(calls);
        }
        let calls = Calls::of(self)?;
        Ok(self.calls.get_or_init(|| calls))
    }

    /// What is not made from constants alone, where `arguments` are taken for that or not. `find` finds it when it is first asked for.
    pub(crate) fn activations_or(
        &self,
        arguments: bool,
        find: impl FnOnce() -> Result<Marked, Error>,
    ) -> Result<&Marked, Error> {
        let [with, without] = &self.activations;
        let known = if arguments { without } else { with };
        if let Some(found) = known.get() {
            return Ok(found);
        }
        let found = find()?;
        Ok(known.get_or_init(|| found))
    }

    /// Nodes named with [`Graph::with_outputs`].
    pub(crate) fn named_outputs(&self) -> &[NodeId] {
        &self.outputs
    }

    pub(crate) fn name(&self, id: NodeId) -> &str {
        self.index.node(id).map(|n| n.name.text(self.bytes())).unwrap_or_default()
    }

    pub(crate) fn op(&self, id: NodeId) -> &[u8] {
        self.index.node(id).map(|n| n.op.of(self.bytes())).unwrap_or_default()
    }

    /// NodeDef.device = 4.
    pub(crate) fn device(&self, id: NodeId) -> &str {
        let Some(node) = self.index.node(id) else { return "" };
        let mut device = Span::default();
        let mut walk = crate::graphdef::index::fields(self.bytes(), node.body, "NodeDef");
        while let Ok(Some(field)) = walk.next() {
            if field.number == 4 {
                device = crate::graphdef::index::payload(&field, "NodeDef.device").unwrap_or_default();
            }
        }
        device.text(self.bytes())
    }

    pub(crate) fn input(&self, id: NodeId, position: usize) -> Option<&Input> {
        let scope = self.index.scope(id.scope)?;
        scope.inputs(self.index.node(id)?).get(position)
    }

    /// All nodes, the main graph's first.
    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = NodeId> {
        let scopes = (0u32..).zip(&self.index().scopes);
        scopes.flat_map(|(scope, found)| (0u32..).zip(&found.nodes).map(move |(node, _)| NodeId { scope, node }))
    }

    /// The node that [`Graph::full_name`] calls so.
    pub(crate) fn named(&self, full_name: &str) -> Option<NodeId> {
        self.index.named(self.bytes(), full_name)
    }

    /// The node that makes what an input of `id` reads, where it is data of a node.
    pub(crate) fn source(&self, id: NodeId, position: usize) -> Option<NodeId> {
        match self.input(id, position)?.target {
            Target::Data { node, .. } => Some(NodeId { scope: id.scope, node }),
            Target::Control { .. } | Target::Argument => None,
        }
    }

    /// The text of the input through which an edge reads output 0 of `id`, for function bodies, where it names the output.
    pub(crate) fn edge_text(&self, id: NodeId) -> Option<String> {
        let scope = self.index().scope(id.scope)?;
        let bytes = self.bytes();
        let read = scope.data_edges(id.node).into_iter().find_map(|(reader, input)| {
            let edge = scope.nodes.get(reader as usize).and_then(|n| scope.inputs(n).get(input))?;
            matches!(edge.target, Target::Data { port: 0, .. }).then(|| edge.text.text(bytes).to_owned())
        });
        read.or_else(|| {
            let own = self.name(id);
            let returned = scope.returns.iter().map(|r| r.text.text(bytes));
            returned.filter(|text| text.split(':').next() == Some(own)).map(str::to_owned).next()
        })
    }

    /// The signature of the function that is `scope`: its field, and the message. FunctionDef.signature = 1.
    pub(crate) fn signature(&self, scope: u32) -> Result<Option<(Span, OpDef)>, Error> {
        let Some(ScopeKind::Function { function, .. }) = self.index.scope(scope).map(|scope| scope.kind) else {
            return Ok(None);
        };
        let mut found = None;
        let mut walk = crate::graphdef::index::fields(self.bytes(), function.1, "FunctionDef");
        while let Some(field) = walk.next()? {
            if field.number == 1 {
                let span = crate::graphdef::index::payload(&field, "FunctionDef.signature")?;
                let signature = OpDef::parse_from_bytes(span.of(self.bytes())).map_err(|error| Error::Wire {
                    what: "FunctionDef.signature".into(),
                    found: error.to_string().into(),
                    expected: "an OpDef".into(),
                    at: crate::error::At::offset(span.start()),
                })?;
                found = Some((field.span.into(), signature));
            }
        }
        Ok(found)
    }

    /// The name with its function in front, as messages show it.
    pub(crate) fn full_name(&self, id: NodeId) -> String {
        self.name_in(id.scope, self.name(id))
    }

    /// The name of the function that is `scope`; nothing for the main graph.
    pub(crate) fn function_name(&self, scope: u32) -> &str {
        match self.index.scope(scope).map(|scope| scope.kind) {
            Some(ScopeKind::Function { name, .. }) => name.text(self.bytes()),
            _ => "",
        }
    }

    /// A variable and its value have one type.
    ///
    /// # Errors
    /// A value of another type than the variable says that it has.
    pub(crate) fn check_variable(&self, variable: NodeId, found: DataType) -> Result<(), Error> {
        let node = self.index.node(variable);
        let declared = node.map(|node| node.attr_type(self.bytes(), "dtype")).transpose()?.flatten();
        match declared.and_then(|number| i32::try_from(number).ok()) {
            Some(number) if number != found.value() => Err(Error::Tensor {
                what: format!("variable `{}`", self.name(variable)),
                found: dtype_name(found.value()).into_owned(),
                expected: dtype_name(number).into_owned(),
                at: Box::default(),
            }),
            _ => Ok(()),
        }
    }

    /// `name`, which means something in `scope`, with the function in front where the scope is one.
    pub(crate) fn name_in(&self, scope: u32, name: &str) -> String {
        match self.index.scope(scope).map(|s| s.kind) {
            Some(ScopeKind::Function { .. }) => format!("{}::{name}", self.function_name(scope)),
            _ => name.to_owned(),
        }
    }
}

impl Source {
    fn binary(&self) -> &[u8] {
        match self {
            Self::File(file) => file,
            Self::Memory(bytes) | Self::Text(bytes, _) => bytes,
        }
    }

    /// The file as it was read.
    fn file(&self) -> &[u8] {
        match self {
            Self::File(file) | Self::Text(_, file) => file,
            Self::Memory(bytes) => bytes,
        }
    }
}
