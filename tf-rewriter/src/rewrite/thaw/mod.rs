//! A frozen graph's constants as variables, so that it can be trained again.

mod vectors;

use std::collections::{BTreeMap, BTreeSet};

use protobuf::Message;
use quant_math::DType;
use quant_math::plan::Reason;

use crate::codes;
use crate::error::Error;
use crate::find::frames::Frames;
use crate::find::mark::{STEP_SIZE, part};
use crate::find::ops;
use crate::find::sites::weight_of;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Target};
use crate::graphdef::pb::TensorShapeProto;
use crate::rewrite::emit::{Editor, new_variable};

/// The op that gives the variables of [`Graph::into_trainable`] the values that their constants had.
pub const VARIABLES_INIT: &str = "variables/init";

/// A constant that became a resource variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trainable {
    /// The variable's node (`VarHandleOp`), and its name in a checkpoint.
    pub variable: String,
    /// The node that reads it (`ReadVariableOp`), under the constant's old name.
    pub read: String,
    /// The element type.
    pub dtype: DType,
    /// The shape, outermost dimension first.
    pub shape: Vec<u64>,
}

/// A constant that stays one although an op reads it as a weight or bias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The op that reads it.
    pub op: String,
    /// The constant.
    pub constant: String,
    /// Why.
    pub reason: Reason,
}

/// A graph whose weights and biases are variables.
#[derive(Debug)]
pub struct TrainableGraph {
    /// The graph; its computation is what it was.
    pub graph: Graph,
    /// What can be trained, in the graph's order.
    pub variables: Vec<Trainable>,
    /// What stays constant, and why.
    pub kept: Vec<Kept>,
    /// The op that initializes the variables: [`VARIABLES_INIT`], or that name with a number where the graph has a node of that name.
    pub init: String,
}

impl Graph {
    /// Turn constants into variables: weights of the ops that quantizers take by default, and vectors that `BiasAdd`, `Add`, `AddV2`,
    /// `Mul` or, in inference mode, `FusedBatchNormV3` apply behind them, with nothing between but changes of shape: biases, scales and
    /// offsets, those of a batch normalization in single ops too; not its statistics.
    ///
    /// A constant `w` becomes the variable `w/variable`; what reads it (`ReadVariableOp`) has the name `w`, so that every edge stays.
    /// Quantize afterwards: a quantized weight is not looked behind.
    ///
    /// TensorFlow's C API (2.21) differentiates convolutions with dilations wrongly, and those with explicit padding, Conv3D and the first
    /// two versions of FusedBatchNorm not at all. Their weights, and everything whose gradient would have to pass through them, stay constant and are listed in
    /// [`TrainableGraph::kept`].
    ///
    /// # Errors
    /// Damaged nodes and tensors.
    pub fn into_trainable(self) -> Result<TrainableGraph, Error> {
        let found = Search::new(&self)?;
        let Search { constants, kept, .. } = found;
        let mut editor = Editor::new(&self);
        let mut variables = Vec::new();
        let mut assigns = Vec::new();
        for (id, (dtype, shape)) in constants {
            let names = new_variable(&mut editor, id, dtype, &shape)?;
            assigns.push(names.assign);
            variables.push(Trainable { variable: names.variable, read: self.name(id).to_owned(), dtype, shape });
        }
        let init = editor.unique(0, VARIABLES_INIT);
        if !variables.is_empty() {
            crate::rewrite::emit::init_op(&mut editor, &init, &assigns);
        }
        let patches = editor.finish()?;
        let graph = self.settled(self.patched(patches))?;
        Ok(TrainableGraph { graph, variables, kept, init })
    }
}

impl Graph {
    /// What is trained of a `training` graph besides its weights: the steps of LSQ.
    ///
    /// # Errors
    /// Damaged nodes.
    pub fn step_sizes(&self) -> Result<Vec<Trainable>, Error> {
        let mut found = Vec::new();
        let nodes = self.all_nodes().filter(|id| id.scope == 0 && part(self, *id) == Some(STEP_SIZE));
        for (id, node) in nodes.filter_map(|id| Some((id, self.index().node(id)?))) {
            let shape = node.attr_shape(self.bytes(), "shape")?.map(|span| span.of(self.bytes()));
            let shape = shape.and_then(|shape| TensorShapeProto::parse_from_bytes(shape).ok()).unwrap_or_default();
            let shape = shape.dim.iter().map(|dim| u64::try_from(dim.size).unwrap_or(0)).collect();
            let variable = self.name(id).to_owned();
            found.push(Trainable { read: format!("{variable}/read"), variable, dtype: DType::F32, shape });
        }
        Ok(found)
    }
}

/// Type and shape of a constant.
type Facts = (DType, Vec<u64>);

struct Search<'g> {
    graph: &'g Graph,
    /// Nodes whose gradient would pass through an op that has none, or a wrong one; with that op.
    behind: BTreeMap<NodeId, (NodeId, &'static str)>,
    frames: Frames,
    constants: BTreeMap<NodeId, Facts>,
    kept: Vec<Kept>,
    /// What is in the list.
    known: BTreeSet<(NodeId, NodeId, String)>,
}

impl<'g> Search<'g> {
    fn new(graph: &'g Graph) -> Result<Self, Error> {
        let nodes = graph.index().scope(0).map_or(0, |scope| u32::try_from(scope.nodes.len()).unwrap_or(u32::MAX));
        let nodes = || (0..nodes).map(|node| NodeId { scope: 0, node });
        let mut behind = BTreeMap::new();
        for id in nodes() {
            if let Some(why) = without_gradient(graph, id)? {
                mark_behind(graph, id, why, &mut behind);
            }
        }
        let mut search = Self {
            graph,
            behind,
            frames: Frames::of_main(graph),
            constants: BTreeMap::new(),
            kept: Vec::new(),
            known: BTreeSet::new(),
        };
        for id in nodes() {
            search.op(id)?;
        }
        Ok(search)
    }

    fn op(&mut self, op: NodeId) -> Result<(), Error> {
        let Some(info) = ops::info(self.graph.op(op)).filter(|info| info.default) else { return Ok(()) };
        let Some((_, traced)) = weight_of(self.graph, op, info)? else { return Ok(()) };
        for id in traced.quantized() {
            let op_type = String::from_utf8_lossy(self.graph.op(id));
            let text =
                format!("it is quantized already ({op_type}): train the float model that this one was made from");
            self.keep(op, id, Reason::new(codes::ALREADY_QUANTIZED, text))?;
        }
        for weight in traced.constants() {
            if weight.elements() == 0 {
                continue;
            }
            match weight.via.iter().find(|id| !passes_gradients(self.graph.op(**id))) {
                Some(id) => {
                    let text = format!("`{}` passes no gradient in TensorFlow's C API", self.graph.full_name(*id));
                    self.keep(op, weight.source, Reason::new(codes::NO_GRADIENT, text))?;
                }
                None => self.found(op, weight.source, (weight.dtype, weight.shape.clone()))?,
            }
        }
        self.vectors(op)
    }

    /// Biases, scales and offsets behind an op.
    fn vectors(&mut self, op: NodeId) -> Result<(), Error> {
        for vectors::Applied { by, what } in vectors::behind(self.graph, op)? {
            match what {
                vectors::Vector::Constant(vector) => {
                    self.found(by, vector.source, (vector.dtype, vector.shape.clone()))?;
                }
                vectors::Vector::Computed(node) => {
                    let text = "it is computed from constants in a way that is no batch normalization's";
                    self.keep(by, node, Reason::new(codes::COMPUTED, text))?;
                }
            }
        }
        Ok(())
    }

    fn found(&mut self, op: NodeId, source: NodeId, facts: Facts) -> Result<(), Error> {
        let reason = if let Some((bad, why)) = self.behind.get(&source) {
            let own = *bad == op;
            let text = if own {
                format!("`{}` {why}", self.graph.name(*bad))
            } else {
                format!("its gradient passes through `{}`, which {why}", self.graph.name(*bad))
            };
            Reason::new(if own { codes::NO_GRADIENT } else { codes::BEHIND_NO_GRADIENT }, text)
        } else if self.frames.hold(source) {
            Reason::new(codes::IN_LOOP, "a loop cannot hold a variable")
        } else {
            self.constants.insert(source, facts);
            return Ok(());
        };
        self.keep(op, source, reason)
    }

    fn keep(&mut self, op: NodeId, source: NodeId, reason: Reason) -> Result<(), Error> {
        if self.known.insert((op, source, reason.code.clone())) {
            let (op, constant) = (self.graph.name(op).to_owned(), self.graph.full_name(source));
            let held = 2 * size_of::<Kept>() + op.len() + constant.len() + reason.text.len();
            self.graph.budget().take(held as u64, "the constants that stay")?;
            self.kept.push(Kept { op, constant, reason });
        }
        Ok(())
    }
}

/// Whether TensorFlow's C API (2.21) passes gradients through an op that stands between a weight and its op.
fn passes_gradients(op: &[u8]) -> bool {
    matches!(
        op,
        b"Cast"
            | b"CheckNumerics"
            | b"Enter"
            | b"ExpandDims"
            | b"GatherV2"
            | b"Identity"
            | b"ReadVariableOp"
            | b"RefIdentity"
            | b"Reshape"
            | b"Select"
            | b"SelectV2"
            | b"Slice"
            | b"Split"
            | b"SplitV"
            | b"Squeeze"
            | b"StridedSlice"
            | b"Transpose"
            | b"Unpack"
    )
}

/// Why TensorFlow's C API cannot differentiate an op, if it cannot (2.21, `nn_grad.cc`).
fn without_gradient(graph: &Graph, id: NodeId) -> Result<Option<&'static str>, Error> {
    let bytes = graph.bytes();
    let Some(node) = graph.index().node(id) else { return Ok(None) };
    let op = node.op.of(bytes);
    if matches!(op, b"Conv3D" | b"Conv3DBackpropInputV2" | b"FusedBatchNorm" | b"FusedBatchNormV2") {
        return Ok(Some("has no gradient in TensorFlow's C API"));
    }
    if !matches!(op, b"Conv2D" | b"DepthwiseConv2dNative" | b"Conv2DBackpropInput") {
        return Ok(None);
    }
    if node.attr_ints(bytes, "dilations")?.iter().any(|dilation| *dilation != 1) {
        return Ok(Some("has dilations, and TensorFlow's C API gives its gradient without them"));
    }
    let padding = node.attr_bytes(bytes, "padding")?;
    let explicit = padding.is_some_and(|span| span.of(bytes) == b"EXPLICIT");
    Ok(explicit.then_some("has explicit padding, for which TensorFlow's C API has no gradient"))
}

/// All nodes from which data flows into `bad`.
fn mark_behind(graph: &Graph, bad: NodeId, why: &'static str, behind: &mut BTreeMap<NodeId, (NodeId, &'static str)>) {
    let Some(scope) = graph.index().scope(bad.scope) else { return };
    let mut open = vec![bad];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        let Some(node) = graph.index().node(id) else { continue };
        for input in scope.inputs(node) {
            let Target::Data { node, .. } = input.target else { continue };
            let source = NodeId { scope: bad.scope, node };
            // What is behind another one already has all of its sources there; the first one that was found is named.
            if seen.insert(source) && !behind.contains_key(&source) {
                behind.insert(source, (bad, why));
                open.push(source);
            }
        }
    }
}
