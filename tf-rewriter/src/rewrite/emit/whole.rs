//! Ops that read a piece of a weight: the weight is quantized as a whole where it is whole last, and the pieces are cut off that.

use std::collections::{BTreeMap, BTreeSet};

use super::Editor;
use super::path::{Substitute, ends_at, reroute};
use crate::error::Error;
use crate::find::sites::{Weight, between, passed_on, read};
use crate::graphdef::graph::{Graph, Place};
use crate::graphdef::index::NodeId;

/// An op, its weight input and the weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge<'w> {
    pub(crate) op: NodeId,
    pub(crate) input: usize,
    pub(crate) weight: &'w Weight,
}

impl Edge<'_> {
    /// Where the weight is whole last: there it is quantized.
    pub(super) fn whole(&self, graph: &Graph) -> (NodeId, usize) {
        self.weight.whole_edge(graph, self.op, self.input)
    }

    /// What is read there. An op that cuts a piece off it, and is chosen itself, reads its own quantized whole by now.
    pub(super) fn float(&self, editor: &Editor<'_>) -> String {
        let (reader, at) = self.whole(editor.graph);
        match self.weight.cut() {
            Some(_) => editor.original(reader, at).unwrap_or_default().to_owned(),
            None => editor.reads(reader, at),
        }
    }
}

/// The quantized wholes that ops are to read pieces of, by the edge that cuts them.
#[derive(Debug, Default)]
pub(crate) struct Pieces<'w> {
    by_cut: BTreeMap<(NodeId, usize), Vec<(Edge<'w>, String)>>,
}

impl<'w> Pieces<'w> {
    /// Let an op read `quantized` in place of its weight: at once, or when all ops are known that read pieces of it.
    pub(crate) fn read(&mut self, editor: &mut Editor<'_>, edge: Edge<'w>, quantized: String) {
        if edge.weight.cut().is_none() {
            editor.reroute(edge.op, edge.input, quantized);
        } else {
            self.by_cut.entry(edge.whole(editor.graph)).or_default().push((edge, quantized));
        }
    }

    /// Let the cutting ops read the quantized wholes. Where others read them too, or the whole is quantized in several ways, the chosen ops
    /// get copies of them. `beside` gives the edges that are to read what an op reads as its weight.
    ///
    /// # Errors
    /// Damaged nodes.
    pub(crate) fn reroute(
        self,
        editor: &mut Editor<'_>,
        beside: impl Fn(NodeId, usize) -> Vec<(NodeId, usize)>,
    ) -> Result<(), Error> {
        let graph = editor.graph;
        for ((cut, at), pieces) in self.by_cut {
            // An op that cuts pieces off for others, as a gather does, can be chosen itself: it reads its own quantized whole by now.
            let own = editor.rerouted(cut, at);
            let wholes: BTreeSet<&str> = pieces.iter().map(|(_, whole)| whole.as_str()).chain(own).collect();
            let (is_one, is_own) = (wholes.len() == 1, own.is_some());
            let mut edges: BTreeSet<(NodeId, usize)> = BTreeSet::new();
            for (edge, _) in &pieces {
                edges.insert((edge.op, edge.input));
                edges.extend(beside(edge.op, edge.input));
            }
            let places = passed_on(graph, cut, at)?.unwrap_or_default();
            match pieces.first() {
                Some(_) if is_one && is_own => {}
                Some((_, quantized)) if is_one && ends_at(graph, places, &edges, &BTreeSet::new())? => {
                    editor.reroute(cut, at, quantized.clone());
                }
                _ => copy(editor, (cut, at), pieces)?,
            }
        }
        Ok(())
    }
}

fn copy(editor: &mut Editor<'_>, (cut, at): (NodeId, usize), pieces: Vec<(Edge<'_>, String)>) -> Result<(), Error> {
    let graph = editor.graph;
    let Some(goal): Option<Place> = read(graph, cut, at) else { return Ok(()) };
    for (Edge { op, input, weight }, reference) in pieces {
        let nodes = between(graph, (op, input), goal, &weight.via, false)?.unwrap_or_default();
        reroute(editor, (op, input), &[Substitute { goal, reference }], (&nodes, &weight.via))?;
    }
    Ok(())
}
