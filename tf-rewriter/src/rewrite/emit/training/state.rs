//! What all sites of a training graph share: the step counter, `is_training`, and the init op.

use quant_math::plan::NoSuchForm;

use crate::error::Error;
use crate::find::mark::{self, part};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, ScopeKind};
use crate::graphdef::pb::DataType;
use crate::rewrite::emit::Editor;
use crate::rewrite::emit::maker::{Maker, plain};
use crate::rewrite::emit::node::NewNode;
use crate::rewrite::for_trainers::{INIT, IS_TRAINING, STEP};

/// References to the shared nodes, and what the init op has to run.
#[derive(Debug)]
pub(crate) struct State {
    /// The step counter's value before this pass.
    pub(super) step: String,
    pub(super) is_training: String,
    /// Control edge to what counts the pass.
    pub(super) count: String,
    /// Control edges to what initializes the sites' variables.
    assigns: Vec<String>,
    shared: Shared,
}

/// Where the shared nodes come from.
#[derive(Debug)]
enum Shared {
    /// They are made.
    New(Vec<NewNode>),
    /// The graph has them from an earlier run; this is its init op.
    Found(NodeId),
}

impl State {
    /// The shared nodes: those of an earlier run, or new ones.
    ///
    /// # Errors
    /// Names that something else has.
    pub(crate) fn open(editor: &mut Editor<'_>) -> Result<Self, Error> {
        let graph = editor.graph;
        let taken = [STEP, IS_TRAINING, INIT].map(|name| find(graph, name));
        match taken {
            [None, None, None] => Ok(Self::new(editor)),
            [Some(step), Some(_), Some(init)] => Self::found(graph, step, init).ok_or_else(|| foreign(STEP)),
            [step, is_training, _] => Err(foreign(if step.is_some() {
                STEP
            } else if is_training.is_some() {
                IS_TRAINING
            } else {
                INIT
            })),
        }
    }

    fn new(editor: &mut Editor<'_>) -> Self {
        let mut nodes = Vec::new();
        let mut add = |node: NewNode, part: &str| {
            let reference = node.output(ScopeKind::Main);
            nodes.push(node.text(mark::PART, part));
            reference
        };
        let mut name = |wanted: String| editor.unique(0, &wanted);
        let long = DataType::DT_INT64;

        let default = NewNode::raw(name(format!("{IS_TRAINING}/default")), "", DataType::DT_BOOL, &[], &[1]);
        let default = add(default, "op");
        let placeholder = NewNode::new("PlaceholderWithDefault", name(IS_TRAINING.to_owned()), vec![default], "");
        let is_training = add(placeholder.typed("dtype", DataType::DT_BOOL).shape("shape", &[]), "is_training");

        let step = add(NewNode::variable(name(STEP.to_owned()), "", long, &[]), "step");
        let zero = NewNode::raw(name(format!("{STEP}/initial_value")), "", long, &[], &0i64.to_le_bytes());
        let zero = add(zero, "op");
        let assign = NewNode::assign("AssignVariableOp", name(format!("{STEP}/assign")), "", long, [&step, &zero]);
        let assign = add(assign, "op");
        let read = NewNode::new("ReadVariableOp", name(format!("{STEP}/read")), vec![step.clone()], "");
        let read = add(read.typed("dtype", long), "step_read");
        // 1 in training, 0 in evaluation.
        let one = NewNode::new("Cast", name(format!("{STEP}/increment")), vec![is_training.clone()], "");
        let one = add(one.typed("SrcT", DataType::DT_BOOL).typed("DstT", long), "op");
        let count = NewNode::assign("AssignAddVariableOp", name(format!("{STEP}/count")), "", long, [&step, &one]);
        // Whoever reads the counter in this pass reads it before it counts.
        let count = add(count.with_inputs([format!("^{read}")]), "step_count");
        let assigns = vec![format!("^{assign}")];
        Self { step: read, is_training, count: format!("^{count}"), assigns, shared: Shared::New(nodes) }
    }

    fn found(graph: &Graph, step: NodeId, init: NodeId) -> Option<Self> {
        let scope = graph.index().scope(0)?;
        let readers = scope.consumers(step.node).iter().map(|node| NodeId { scope: 0, node: *node });
        let reader = |wanted: &str| readers.clone().find(|id| part(graph, *id).is_some_and(|part| part == wanted));
        let (read, count) = reader("step_read").zip(reader("step_count"))?;
        (graph.op(init) == b"NoOp").then(|| Self {
            step: graph.name(read).to_owned(),
            is_training: IS_TRAINING.to_owned(),
            count: format!("^{}", graph.name(count)),
            assigns: Vec::new(),
            shared: Shared::Found(init),
        })
    }

    /// Let the init op run this node too.
    fn initializes(&mut self, assign: &str) {
        self.assigns.push(format!("^{assign}"));
    }

    /// A variable of a site, which begins with `initial` numbers: its handle, and its value before this pass.
    pub(super) fn variable(
        &mut self,
        editor: &mut Editor<'_>,
        maker: &mut Maker<'_>,
        part: &str,
        (shape, initial): (&[u64], &[f32]),
    ) -> (String, String) {
        let float = DataType::DT_FLOAT;
        let handle = maker.push_part(NewNode::variable(maker.part(editor, part), maker.device, float, shape), part);
        let initial = maker.floats(editor, &format!("{part}/initial_value"), shape, initial);
        let name = maker.part(editor, &format!("{part}/assign"));
        let assign = NewNode::assign("AssignVariableOp", name, maker.device, float, [&handle, &initial]);
        self.initializes(&maker.push(assign));
        let name = maker.part(editor, &format!("{part}/read"));
        let read = NewNode::new("ReadVariableOp", name, vec![handle.clone()], maker.device);
        let read = maker.push(read.typed("dtype", float));
        (handle, read)
    }

    /// Put the shared nodes into the graph.
    pub(crate) fn finish(self, editor: &mut Editor<'_>) {
        match self.shared {
            Shared::New(mut nodes) => {
                let name = editor.unique(0, INIT);
                nodes.push(NewNode::new("NoOp", name, self.assigns, "").text(mark::PART, "init"));
                editor.insert(NodeId { scope: 0, node: 0 }, nodes);
            }
            Shared::Found(init) => editor.add_inputs(init, &self.assigns),
        }
    }
}

fn find(graph: &Graph, name: &str) -> Option<NodeId> {
    let node = graph.index().scope(0)?.find(graph.bytes(), name.as_bytes())?;
    Some(NodeId { scope: 0, node })
}

fn foreign(name: &str) -> Error {
    let why = format!("needs the name `{name}`, and the graph has a node of its own that is called so");
    let help = "rename that node where the graph is made".to_owned();
    NoSuchForm { emit: quant_math::Emit::Training, why, help }.into()
}

/// `LogicalAnd`, which has no type.
pub(super) fn logical_and(name: String, inputs: [&str; 2], device: &str) -> NewNode {
    NewNode::new("LogicalAnd", name, inputs.map(str::to_owned).to_vec(), device)
}

/// An identity that others may hang on.
pub(super) fn identity(name: String, input: &str, controls: Vec<String>, device: &str) -> NewNode {
    plain("Identity", name, DataType::DT_FLOAT, &[input], device).with_inputs(controls)
}
