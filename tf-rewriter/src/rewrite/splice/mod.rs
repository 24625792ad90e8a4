//! Splice: the input's bytes with patches, and every enclosing length put right. What no patch names is copied as it is.
//!
//! ```text
//! Patches ──assemble──▶ [Segment] ──write──▶ bytes
//! ```

mod stream;
mod whole;

use crate::error::Error;
use crate::graphdef::attrs;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{GraphIndex, NodeId, ScopeKind, Span};
use crate::graphdef::wire::{put_varint, varint};

pub(crate) use stream::{WeightSource, WeightStream, write};

/// A stretch of the output.
#[derive(Debug)]
pub(crate) enum Segment {
    /// These bytes of the input.
    Copy(Span),
    /// Elements of a constant that are not in the graph's bytes: the number of the piece, and its length.
    Elsewhere(u64, usize),
    /// New bytes.
    Bytes(Vec<u8>),
    /// A quantized weight, computed while it is written.
    Weights(WeightStream),
}

impl Segment {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Copy(span) => span.len(),
            Self::Elsewhere(_, length) => *length,
            Self::Bytes(bytes) => bytes.len(),
            Self::Weights(stream) => stream.len(),
        }
    }

    /// Bytes that are held in memory for it until it is written.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Copy(_) | Self::Elsewhere(..) | Self::Weights(_) => 0,
            Self::Bytes(bytes) => bytes.capacity(),
        }
    }
}

/// The length of some segments.
pub(crate) fn total(segments: &[Segment]) -> usize {
    segments.iter().map(Segment::len).sum()
}

/// An attribute with the segments of a TensorProto; it begins with bytes.
pub(crate) fn tensor_attr(key: &str, tensor: Vec<Segment>) -> Vec<Segment> {
    std::iter::once(Segment::Bytes(attrs::tensor_head(key, total(&tensor)))).chain(tensor).collect()
}

/// What a patch lies in: lengths are put right from the inside out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Within a node.
    Node,
    /// Between the nodes of a scope.
    Scope,
    /// Between the functions of the library.
    Library,
}

#[derive(Debug)]
struct Patch {
    span: Span,
    level: Level,
    content: Vec<Segment>,
}

impl Patch {
    fn delta(&self) -> i64 {
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        signed(total(&self.content)) - signed(self.span.len())
    }
}

/// A message whose length changes: the field's start, and its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Container {
    field: Span,
    body: Span,
}

/// The changes to a graph.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    list: Vec<Patch>,
    nodes: Vec<Container>,
    functions: Vec<Container>,
    libraries: Vec<Container>,
}

impl Patches {
    /// Bytes that an edit takes here besides its content: itself, what encloses it, and lists that grow.
    pub(crate) const ENTRY: usize = 2 * size_of::<Patch>() + 6 * size_of::<Container>();

    /// Put `content` in place of `span`, which lies within node `id`; an empty span inserts.
    pub(crate) fn within(&mut self, index: &GraphIndex, id: NodeId, span: Span, content: Vec<Segment>) {
        if let Some(node) = index.node(id) {
            self.nodes.push(Container { field: node.field, body: node.body });
            self.enclosing(index, id.scope);
            self.list.push(Patch { span, level: Level::Node, content });
        }
    }

    /// Add fields at the end of node `id`.
    pub(crate) fn append(&mut self, index: &GraphIndex, id: NodeId, content: Vec<Segment>) {
        if let Some(node) = index.node(id) {
            self.within(index, id, Span { start: node.body.end, end: node.body.end }, content);
        }
    }

    /// Put whole node fields (in [`node_field`]'s form) behind node `id`.
    pub(crate) fn insert_after(&mut self, index: &GraphIndex, id: NodeId, content: Vec<Segment>) {
        if let Some(node) = index.node(id) {
            self.enclosing(index, id.scope);
            let span = Span { start: node.field.end, end: node.field.end };
            self.list.push(Patch { span, level: Level::Scope, content });
        }
    }

    /// Put whole node fields in place of node `id`.
    pub(crate) fn replace_node(&mut self, index: &GraphIndex, id: NodeId, content: Vec<Segment>) {
        if let Some(node) = index.node(id) {
            self.enclosing(index, id.scope);
            self.list.push(Patch { span: node.field, level: Level::Scope, content });
        }
    }

    /// Put `content` in place of a field of the function that is `scope`.
    pub(crate) fn in_function(&mut self, index: &GraphIndex, scope: u32, span: Span, content: Vec<Segment>) {
        self.enclosing(index, scope);
        self.list.push(Patch { span, level: Level::Scope, content });
    }

    /// Take the function that is `scope` out of the library; nothing else of it may be patched.
    pub(crate) fn remove_function(&mut self, index: &GraphIndex, scope: u32) {
        if let Some(ScopeKind::Function { library, function, .. }) = index.scope(scope).map(|s| s.kind) {
            self.libraries.push(Container { field: library.0, body: library.1 });
            self.list.push(Patch { span: function.0, level: Level::Library, content: Vec::new() });
        }
    }

    fn enclosing(&mut self, index: &GraphIndex, scope: u32) {
        if let Some(ScopeKind::Function { library, function, .. }) = index.scope(scope).map(|s| s.kind) {
            self.functions.push(Container { field: function.0, body: function.1 });
            self.libraries.push(Container { field: library.0, body: library.1 });
        }
    }

    /// The output as segments: untouched stretches and patches in order, lengths put right.
    pub(crate) fn assemble(mut self, bytes: &[u8]) -> Result<Vec<Segment>, Error> {
        let levels = [
            (std::mem::take(&mut self.nodes), Level::Node, Level::Scope),
            (std::mem::take(&mut self.functions), Level::Scope, Level::Library),
            (std::mem::take(&mut self.libraries), Level::Library, Level::Library),
        ];
        for (mut containers, inside, outside) in levels {
            containers.sort_unstable();
            containers.dedup();
            self.sort();
            let headers = self.headers(bytes, &containers, inside, outside)?;
            self.list.extend(headers);
        }
        self.sort();

        let mut segments = Vec::with_capacity(2 * self.list.len() + 1);
        let mut done = 0;
        for patch in self.list {
            if patch.span.start < done {
                return Err(Error::Verify {
                    message: format!("two patches overlap at offset {:#x}", patch.span.start),
                });
            }
            if done < patch.span.start {
                segments.push(Segment::Copy(Span { start: done, end: patch.span.start }));
            }
            done = patch.span.end;
            segments.extend(patch.content);
        }
        let end = Span::new(done as usize, bytes.len());
        if end.len() > 0 {
            segments.push(Segment::Copy(end));
        }
        Ok(segments)
    }

    /// By place; at one place first what is inserted, inner before outer. Stable, so that insertions keep their order.
    fn sort(&mut self) {
        self.list.sort_by_key(|p| (p.span.start, p.span.len() > 0, p.level));
    }

    /// New tags-with-lengths for `containers`, given the (sorted) patches of level `inside` and below.
    fn headers(
        &self,
        bytes: &[u8],
        containers: &[Container],
        inside: Level,
        outside: Level,
    ) -> Result<Vec<Patch>, Error> {
        let relevant: Vec<&Patch> = self.list.iter().filter(|p| p.level <= inside).collect();
        let mut sums = Vec::with_capacity(relevant.len() + 1);
        sums.push(0i64);
        sums.extend(relevant.iter().scan(0i64, |sum, p| {
            *sum += p.delta();
            Some(*sum)
        }));
        let mut headers = Vec::new();
        for container in containers {
            let first = relevant.partition_point(|p| p.span.start < container.body.start);
            let last = relevant.partition_point(|p| {
                p.span.start < container.body.end || (p.span.start == container.body.end && p.span.len() == 0)
            });
            let sum = |i: usize| sums.get(i).copied().unwrap_or_default();
            let delta = sum(last) - sum(first);
            let old = i64::try_from(container.body.len()).unwrap_or(i64::MAX);
            let len = u64::try_from(old + delta)
                .map_err(|_| Error::Verify { message: "a message of negative length".to_owned() })?;
            let tag = varint(container.field.of(bytes)).map_or(0, |(_, n)| n);
            let start = container.field.start();
            let mut header = bytes.get(start..start + tag).unwrap_or_default().to_vec();
            put_varint(&mut header, len);
            headers.push(Patch {
                span: Span { start: container.field.start, end: container.body.start },
                level: outside,
                content: vec![Segment::Bytes(header)],
            });
        }
        Ok(headers)
    }
}

/// A node's body as a field of the scope it goes into: GraphDef.node = 1, FunctionDef.node_def = 3.
pub(crate) fn node_field(scope: ScopeKind, body: Vec<Segment>) -> Vec<Segment> {
    let number = match scope {
        ScopeKind::Main => 1,
        ScopeKind::Function { .. } => 3,
    };
    let mut header = Vec::new();
    crate::graphdef::wire::put_tag(&mut header, number, 2);
    put_varint(&mut header, total(&body) as u64);
    std::iter::once(Segment::Bytes(header)).chain(body).collect()
}

impl Graph {
    /// The graph with patches carried out, in memory, with the same named outputs. Elements that are elsewhere stay there.
    pub(crate) fn patched(&self, patches: Patches) -> Result<Self, Error> {
        self.patched_for(patches, self.named_outputs())
    }

    /// The same, with `outputs` of this one as its named outputs.
    pub(crate) fn patched_for(&self, patches: Patches, outputs: &[NodeId]) -> Result<Self, Error> {
        let segments = patches.assemble(self.bytes())?;
        let mut bytes = Vec::with_capacity(total(&segments));
        write(&segments, self, &mut bytes, &|_| {})?;
        self.made_for(bytes, outputs)
    }
}
