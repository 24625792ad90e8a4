//! A graph of whose main graph some nodes are others: the rest is copied byte for byte, and the elements of long constants stay in the graph's file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::values::LARGE;
use crate::error::Error;
use crate::graphdef::attrs;
use crate::graphdef::graph::{Graph, Piece, mark};
use crate::graphdef::index::{NodeId, Span, fields, payload};
use crate::graphdef::wire::{put_bytes, put_tag, put_varint};

/// What of the nodes of a graph is another in its copy. Nodes are those of the main graph, by their numbers.
#[derive(Debug)]
pub(crate) struct Copied {
    /// Elements of constants that are elsewhere, by their numbers.
    pub(crate) pieces: Vec<Arc<Piece>>,
    /// Nodes that are left out.
    pub(crate) gone: BTreeSet<u32>,
    /// Whole NodeDefs in place of a node.
    pub(crate) instead: BTreeMap<u32, Vec<Vec<u8>>>,
    /// NodeDefs in front of a node.
    pub(crate) before: BTreeMap<u32, Vec<Vec<u8>>>,
    /// Fields of a node that are others.
    pub(crate) within: BTreeMap<u32, Vec<(Span, Vec<u8>)>>,
}

impl Copied {
    /// Of a graph, and so far the same.
    pub(crate) fn of(graph: &Graph) -> Self {
        Self {
            pieces: graph.elsewhere().pieces().to_vec(),
            gone: BTreeSet::new(),
            instead: BTreeMap::new(),
            before: BTreeMap::new(),
            within: BTreeMap::new(),
        }
    }

    /// The copy's bytes, and the elements of its constants that are elsewhere. GraphDef.node = 1; all other fields are copied.
    ///
    /// # Errors
    /// Damaged nodes.
    pub(crate) fn made(mut self, graph: &Graph) -> Result<(Vec<u8>, Vec<Arc<Piece>>), Error> {
        let nodes = graph.index().scope(0).map(|scope| scope.nodes.as_slice()).unwrap_or_default();
        let numbers: BTreeMap<u32, u32> =
            (0u32..).zip(nodes).map(|(number, node)| (node.field.start, number)).collect();
        let mut out = Vec::new();
        let mut walk = fields(graph.bytes(), Span::new(0, graph.bytes().len()), "GraphDef");
        while let Some(field) = walk.next()? {
            let span = Span::from(field.span.clone());
            let number = (field.number == 1).then(|| numbers.get(&span.start).copied()).flatten();
            let Some(number) = number else {
                out.extend_from_slice(span.of(graph.bytes()));
                continue;
            };
            for new in self.before.get(&number).into_iter().flatten() {
                put_bytes(&mut out, 1, new);
            }
            if let Some(instead) = self.instead.get(&number) {
                for new in instead {
                    put_bytes(&mut out, 1, new);
                }
            } else if !self.gone.contains(&number) {
                self.stays(graph, number, span, &mut out)?;
            }
        }
        Ok((out, self.pieces))
    }

    /// A node that stays, with the fields that are others.
    fn stays(&mut self, graph: &Graph, number: u32, field: Span, out: &mut Vec<u8>) -> Result<(), Error> {
        let bytes = graph.bytes();
        let id = NodeId { scope: 0, node: number };
        let mut changes = self.within.get(&number).cloned().unwrap_or_default();
        if changes.is_empty() {
            changes.extend(self.left_in_file(graph, id)?);
        }
        if changes.is_empty() {
            out.extend_from_slice(field.of(bytes));
            return Ok(());
        }
        changes.sort_by_key(|(span, _)| span.start);
        let body = graph.index().node(id).map(|node| node.body).unwrap_or_default();
        let mut node = Vec::new();
        let mut done = body.start();
        for (span, new) in changes {
            node.extend_from_slice(bytes.get(done..span.start()).unwrap_or_default());
            node.extend(new);
            done = span.end();
        }
        node.extend_from_slice(bytes.get(done..body.end()).unwrap_or_default());
        put_bytes(out, 1, &node);
        Ok(())
    }

    /// The attribute of a constant whose elements are many and lie in the graph's file: they stay there. It is written again as it was.
    fn left_in_file(&mut self, graph: &Graph, id: NodeId) -> Result<Option<(Span, Vec<u8>)>, Error> {
        let (Some(file), Some(tensor)) = (graph.mapped(), graph.constant_span(id)?) else { return Ok(None) };
        let bytes = graph.bytes();
        let Some(attr) = graph.index().node(id).map(|node| node.attr(bytes, "value")).transpose()?.flatten() else {
            return Ok(None);
        };
        let mut walk = fields(bytes, tensor, "TensorProto");
        let mut content = None;
        while let Some(field) = walk.next()? {
            if field.number == 4 {
                content = Some((Span::from(field.span.clone()), payload(&field, "TensorProto.tensor_content")?));
            }
        }
        let Some((field, content)) = content.filter(|(_, content)| content.len() >= LARGE) else { return Ok(None) };
        let mut header = Vec::new();
        put_tag(&mut header, 4, 2);
        put_varint(&mut header, content.len() as u64);
        let same_header = field.len() == header.len() + content.len();
        let before = Span { start: attr.entry.start, end: tensor.start };
        let is_last = tensor.end == attr.entry.end && attrs::tensor_head("value", tensor.len()) == before.of(bytes);
        if !same_header || !is_last {
            return Ok(None);
        }
        let mut value = bytes.get(tensor.start()..field.start()).unwrap_or_default().to_vec();
        value.extend(mark(self.pieces.len()));
        value.extend_from_slice(bytes.get(field.end()..tensor.end()).unwrap_or_default());
        self.pieces.push(Arc::new(Piece::File(file.clone(), content.start()..content.end())));
        Ok(Some((attr.entry, attrs::tensor("value", &value))))
    }
}
