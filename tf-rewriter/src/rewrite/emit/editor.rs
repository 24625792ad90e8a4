//! The edits of one graph: new nodes with unique names, re-routed edges, renamed outputs.

use std::collections::BTreeMap;

use quant_math::budget::Share;

use super::node::NewNode;
use crate::error::Error;
use crate::find::frames::Frames;
use crate::find::mark;
use crate::graphdef::attrs;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, ScopeKind};
use crate::graphdef::wire::put_bytes;
use crate::rewrite::splice::{Patches, Segment, node_field};

/// Collects edits; [`Editor::finish`] turns them into patches.
#[derive(Debug)]
pub(crate) struct Editor<'g> {
    pub(crate) graph: &'g Graph,
    patches: Patches,
    /// Names given to new nodes, by scope, and for each the number behind it that was tried last.
    taken: BTreeMap<(u32, String), u64>,
    /// Bytes of what was made and not counted yet; and what was counted.
    made_bytes: u64,
    counted: Share<'g>,
    /// Edges that read something else now: the op, its input, and what it reads.
    rerouted: BTreeMap<(NodeId, usize), String>,
    renamed: BTreeMap<NodeId, String>,
    /// Nodes that were made for a tensor and a way of quantizing it.
    made: BTreeMap<(u32, String, String), String>,
    /// How a reference is quantized already.
    quantized: BTreeMap<(u32, String), String>,
    /// Function results that leave under another name: scope, position in `returns`, text.
    returned: BTreeMap<(u32, usize), String>,
    /// Nodes inside `while` frames, by scope; filled when first asked.
    frames: BTreeMap<u32, Frames>,
    /// The positions of a function's results by their text, by scope; filled when first asked.
    returns: BTreeMap<u32, BTreeMap<&'g [u8], Vec<usize>>>,
}

/// What an edit takes besides its content: an entry here, and the patch that it becomes.
const EDIT: usize = 96 + Patches::ENTRY;

impl<'g> Editor<'g> {
    pub(crate) fn new(graph: &'g Graph) -> Self {
        Self {
            graph,
            patches: Patches::default(),
            taken: BTreeMap::new(),
            made_bytes: 0,
            counted: Share::of(graph.budget()),
            rerouted: BTreeMap::new(),
            renamed: BTreeMap::new(),
            made: BTreeMap::new(),
            quantized: BTreeMap::new(),
            returned: BTreeMap::new(),
            frames: BTreeMap::new(),
            returns: BTreeMap::new(),
        }
    }

    /// `wanted`, or `wanted_1`, `wanted_2`, …: a name that nothing in the scope has.
    pub(crate) fn unique(&mut self, scope: u32, wanted: &str) -> String {
        let bytes = self.graph.bytes();
        let used =
            |name: &str| self.graph.index().scope(scope).is_some_and(|s| s.find(bytes, name.as_bytes()).is_some());
        let first = (scope, wanted.to_owned());
        // Numbers below were tried before, and a name once given stays given.
        let tried = self.taken.get(&first).copied();
        let mut number = tried.unwrap_or(0);
        let mut name = if tried.is_some() { format!("{wanted}_{}", number + 1) } else { wanted.to_owned() };
        number += u64::from(tried.is_some());
        while used(&name) || self.taken.contains_key(&(scope, name.clone())) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        self.made_bytes += (EDIT + 2 * name.len()) as u64;
        self.taken.insert(first, number);
        self.taken.entry((scope, name.clone())).or_insert(0);
        name
    }

    /// What was made so far is within the budget of the graph's file.
    pub(crate) fn within_budget(&mut self) -> Result<(), Error> {
        self.counted.take(std::mem::take(&mut self.made_bytes), "the new nodes and edges")?;
        Ok(())
    }

    pub(crate) fn scope_kind(&self, scope: u32) -> ScopeKind {
        self.graph.index().scope(scope).map_or(ScopeKind::Main, |s| s.kind)
    }

    /// The device of a node, which new nodes beside it get too.
    pub(crate) fn device(&self, id: NodeId) -> &'g str {
        self.graph.device(id)
    }

    fn count(&mut self, content: &[Segment]) {
        let bytes = content.iter().map(|segment| size_of::<Segment>() + segment.held());
        self.made_bytes += (EDIT + bytes.sum::<usize>()) as u64;
    }

    /// Put new nodes behind node `id`.
    pub(crate) fn insert(&mut self, id: NodeId, nodes: Vec<NewNode>) {
        let kind = self.scope_kind(id.scope);
        let content: Vec<Segment> = nodes.into_iter().flat_map(|node| node_field(kind, node.body())).collect();
        self.count(&content);
        self.patches.insert_after(self.graph.index(), id, content);
    }

    /// Put encoded node fields behind node `id`.
    pub(crate) fn insert_raw(&mut self, id: NodeId, content: Vec<Segment>) {
        self.count(&content);
        self.patches.insert_after(self.graph.index(), id, content);
    }

    /// Put new nodes in place of node `id`; one of them has taken its name.
    pub(crate) fn replace(&mut self, id: NodeId, nodes: Vec<NewNode>) {
        let kind = self.scope_kind(id.scope);
        let content: Vec<Segment> = nodes.into_iter().flat_map(|node| node_field(kind, node.body())).collect();
        self.count(&content);
        self.patches.replace_node(self.graph.index(), id, content);
    }

    /// Put `content` in place of a span within node `id`.
    pub(crate) fn patch(&mut self, id: NodeId, span: crate::graphdef::index::Span, content: Vec<Segment>) {
        self.count(&content);
        self.patches.within(self.graph.index(), id, span, content);
    }

    /// Leave our mark on a node of the input.
    pub(crate) fn mark(&mut self, id: NodeId, text: &str) {
        let content = vec![Segment::Bytes(attrs::text(mark::ATTR, text))];
        self.count(&content);
        self.patches.append(self.graph.index(), id, content);
    }

    /// Add inputs at the end of a node of the input; TensorFlow wants control edges (`^name`) there.
    pub(crate) fn add_inputs(&mut self, id: NodeId, inputs: &[String]) {
        let mut fields = Vec::new();
        for input in inputs {
            put_bytes(&mut fields, 3, input.as_bytes());
        }
        let content = vec![Segment::Bytes(fields)];
        self.count(&content);
        self.patches.append(self.graph.index(), id, content);
    }

    /// What `input` of `op` reads now.
    pub(crate) fn reads(&self, op: NodeId, input: usize) -> String {
        self.rerouted(op, input).or_else(|| self.original(op, input)).unwrap_or_default().to_owned()
    }

    /// What `input` of `op` reads in the graph that is edited.
    pub(crate) fn original(&self, op: NodeId, input: usize) -> Option<&'g str> {
        self.graph.input(op, input).map(|input| input.text.text(self.graph.bytes()))
    }

    /// What `input` of `op` reads instead, where it was rerouted.
    pub(crate) fn rerouted(&self, op: NodeId, input: usize) -> Option<&str> {
        self.rerouted.get(&(op, input)).map(String::as_str)
    }

    pub(crate) fn reroute(&mut self, op: NodeId, input: usize, reference: String) {
        self.made_bytes += (EDIT + 2 * reference.len()) as u64;
        self.rerouted.insert((op, input), reference);
    }

    /// The node already made for `reference`, quantized as `how` says, or `reference` itself when it is quantized so.
    pub(crate) fn already_made(&self, scope: u32, reference: &str, how: &str) -> Option<String> {
        let reference = self.plain(scope, reference);
        if self.quantized.get(&(scope, reference.to_owned())).is_some_and(|found| found == how) {
            return Some(reference.to_owned());
        }
        self.made.get(&(scope, reference.to_owned(), how.to_owned())).cloned()
    }

    pub(crate) fn remember(&mut self, scope: u32, reference: &str, how: &str, made: &str) {
        let reference = self.plain(scope, reference);
        self.made_bytes += (EDIT + reference.len() + 2 * how.len() + 2 * made.len()) as u64;
        self.made.insert((scope, reference.to_owned(), how.to_owned()), made.to_owned());
        self.quantized.insert((scope, made.to_owned()), how.to_owned());
    }

    /// One key for one tensor, however an edge writes its name.
    fn plain<'t>(&self, scope: u32, reference: &'t str) -> &'t str {
        let found = self.graph.index().scope(scope);
        let plain = found.map_or(reference.as_bytes(), |scope| scope.plain(reference.as_bytes()));
        reference.get(..plain.len()).unwrap_or(reference)
    }

    /// Give node `id` the name `<name>/float`, so that a new node can take its own; returns the new name.
    pub(crate) fn rename_to_float(&mut self, id: NodeId) -> String {
        let name = self.unique(id.scope, &format!("{}/float", self.graph.name(id)));
        self.rename(id, &name);
        name
    }

    /// Give node `id` another name, which nothing has.
    pub(crate) fn rename(&mut self, id: NodeId, name: &str) {
        self.made_bytes += (EDIT + 2 * name.len()) as u64;
        self.renamed.insert(id, name.to_owned());
    }

    /// Let all results of a function that are `from` leave as `to`.
    pub(crate) fn return_instead(&mut self, scope: u32, from: &str, to: &str) {
        let graph = self.graph;
        let by_text = self.returns.entry(scope).or_insert_with(|| {
            let mut by_text: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
            let returns = graph.index().scope(scope).map(|s| s.returns.as_slice()).unwrap_or_default();
            for (position, returned) in returns.iter().enumerate() {
                by_text.entry(returned.text.of(graph.bytes())).or_default().push(position);
            }
            by_text
        });
        for position in by_text.get(from.as_bytes()).into_iter().flatten() {
            self.made_bytes += (EDIT + 2 * to.len()) as u64;
            self.returned.insert((scope, *position), to.to_owned());
        }
    }

    /// `^node` for new constants beside a node in a `while` frame, so that they run in the frame too; nothing elsewhere.
    pub(crate) fn frame_control(&mut self, near: NodeId, anchor: &str) -> Option<String> {
        let graph = self.graph;
        let frames = self.frames.entry(near.scope).or_insert_with(|| Frames::of(graph, near.scope));
        frames.hold(near).then(|| format!("^{}", anchor.split(':').next().unwrap_or(anchor)))
    }

    /// Let node `id` be of type `op`. NodeDef.op = 2.
    pub(crate) fn change_op(&mut self, id: NodeId, op: &str) -> Result<(), Error> {
        let Some(node) = self.graph.index().node(id) else { return Ok(()) };
        let mut walk = crate::graphdef::index::fields(self.graph.bytes(), node.body, "NodeDef");
        let mut found = None;
        while let Some(field) = walk.next()? {
            if field.number == 2 {
                found = Some(field.span);
            }
        }
        if let Some(span) = found {
            let mut field = Vec::new();
            put_bytes(&mut field, 2, op.as_bytes());
            self.patch(id, span.into(), vec![Segment::Bytes(field)]);
        }
        Ok(())
    }

    /// Take the function that is `scope` out of the library.
    pub(crate) fn remove_function(&mut self, scope: u32) {
        self.made_bytes += EDIT as u64;
        self.patches.remove_function(self.graph.index(), scope);
    }

    /// Put `content` in place of a field of the function that is `scope`.
    pub(crate) fn in_function(&mut self, scope: u32, field: crate::graphdef::index::Span, content: Vec<u8>) {
        let content = vec![Segment::Bytes(content)];
        self.count(&content);
        self.patches.in_function(self.graph.index(), scope, field, content);
    }

    /// Take input number `input` away from node `id`.
    pub(crate) fn drop_input(&mut self, id: NodeId, input: usize) {
        if let Some(edge) = self.graph.input(id, input) {
            self.made_bytes += EDIT as u64;
            self.patches.within(self.graph.index(), id, edge.field, Vec::new());
        }
    }

    /// All edits as patches.
    ///
    /// # Errors
    /// They are more than the budget of the graph's file.
    pub(crate) fn finish(mut self) -> Result<Patches, Error> {
        self.within_budget()?;
        let index = self.graph.index();
        for ((op, input), reference) in &self.rerouted {
            if let Some(edge) = self.graph.input(*op, *input) {
                let mut field = Vec::new();
                put_bytes(&mut field, 3, reference.as_bytes());
                self.patches.within(index, *op, edge.field, vec![Segment::Bytes(field)]);
            }
        }
        for (id, name) in &self.renamed {
            if let Some(node) = index.node(*id) {
                let mut field = Vec::new();
                put_bytes(&mut field, 1, name.as_bytes());
                self.patches.within(index, *id, node.name_field, vec![Segment::Bytes(field)]);
            }
        }
        for ((scope, position), text) in &self.returned {
            let Some(returned) = index.scope(*scope).and_then(|s| s.returns.get(*position)) else { continue };
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, returned.key.of(self.graph.bytes()));
            put_bytes(&mut entry, 2, text.as_bytes());
            let mut field = Vec::new();
            put_bytes(&mut field, 4, &entry);
            self.patches.in_function(index, *scope, returned.field, vec![Segment::Bytes(field)]);
        }
        Ok(self.patches)
    }
}
