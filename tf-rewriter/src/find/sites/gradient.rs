//! Gradients that a graph computes itself: the edges by which the backward ops of a layer read the gradient of its output.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Target};

/// A tensor of the main graph: node and port.
pub(crate) type Tensor = (u32, u32);

/// What the backward ops of a layer read.
#[derive(Debug)]
pub(crate) enum Backward {
    /// The graph has no backward op of it.
    Missing,
    /// Several tensors could be the gradient of its output.
    Ambiguous,
    /// The edges that read `out_backprop`: ops and inputs, in the graph's order.
    Found(Vec<(NodeId, usize)>),
}

/// Finds backward ops in the main graph, through what quantization has put on the edges before.
#[derive(Debug)]
pub(crate) struct BackwardOps<'g> {
    graph: &'g Graph,
    /// The nodes that end a site, and the tensor that each stands for.
    sites: BTreeMap<u32, Tensor>,
    /// The other way around.
    stand_ins: BTreeMap<Tensor, Vec<u32>>,
}

/// A backward op that reads what its layer reads, and the tensor that it takes for the gradient.
type Candidate = (Tensor, (NodeId, usize));

impl<'g> BackwardOps<'g> {
    pub(crate) fn new(graph: &'g Graph) -> Result<Self, Error> {
        let sites = crate::find::trained::stand_ins(graph)?;
        let mut stand_ins: BTreeMap<Tensor, Vec<u32>> = BTreeMap::new();
        for (site, tensor) in &sites {
            stand_ins.entry(*tensor).or_default().push(*site);
        }
        Ok(Self { graph, sites, stand_ins })
    }

    /// The backward ops of `op`, whose weight is its input `weight`.
    ///
    /// The op that makes the weight's gradient must be there, since it alone tells a layer's gradients from tied layers that read the same
    /// weight. Where an op makes the gradient of the layer's input too, both must read one gradient.
    pub(crate) fn of(&self, op: NodeId, weight: usize) -> Result<Backward, Error> {
        let data = 1usize.saturating_sub(weight);
        let (Some(x), Some(w)) = (self.tensor(op, data), self.tensor(op, weight)) else { return Ok(Backward::Missing) };
        let of_weight = self.candidates(op, x, weight)?;
        let of_data = self.candidates(op, w, data)?;
        let tensors = |found: &[Candidate]| found.iter().map(|(tensor, _)| *tensor).collect::<BTreeSet<Tensor>>();
        let mut tensors_found = tensors(&of_weight);
        if of_data.is_empty() {
            // A layer beside it that reads the same input may be the one whose gradient this is.
            let backward = |reader: NodeId| of_weight.iter().any(|(_, (found, _))| *found == reader);
            let same = |reader: NodeId| self.graph.op(reader) == self.graph.op(op) && reader != op;
            if !of_weight.is_empty() && self.readers(x).any(|(reader, _)| same(reader) && !backward(reader)) {
                return Ok(Backward::Ambiguous);
            }
        } else {
            let both = tensors(&of_data);
            if !tensors_found.is_empty() && tensors_found.is_disjoint(&both) {
                return Ok(Backward::Ambiguous);
            }
            tensors_found.retain(|tensor| both.contains(tensor));
        }
        // What the layer itself is made from is no gradient of it.
        tensors_found.retain(|tensor| *tensor != (op.node, 0));
        if !tensors_found.is_empty() {
            let before = self.before(op);
            tensors_found.retain(|(node, _)| !before.contains(node));
        }
        let mut left = tensors_found.into_iter();
        Ok(match (left.next(), left.next()) {
            (None, _) => Backward::Missing,
            (Some(_), Some(_)) => Backward::Ambiguous,
            (Some(gradient), None) => {
                let weight = self.own(gradient, &of_weight, (weight, w));
                let data = self.own(gradient, &of_data, (data, x));
                let (Some(weight), Some(data)) = (weight, data) else { return Ok(Backward::Ambiguous) };
                let mut edges = [weight, data].concat();
                edges.sort_unstable();
                edges.dedup();
                Backward::Found(edges)
            }
        })
    }

    /// The edges that read `gradient`. Where layers share an input and a gradient too (branches that are added up), the layer's own is the
    /// one whose sizes are those of `reads`, its input `wanted`; `None` where that says nothing.
    fn own(
        &self,
        gradient: Tensor,
        candidates: &[Candidate],
        (wanted, reads): (usize, Tensor),
    ) -> Option<Vec<(NodeId, usize)>> {
        let edges: Vec<(NodeId, usize)> =
            candidates.iter().filter(|(tensor, _)| *tensor == gradient).map(|(_, edge)| *edge).collect();
        if edges.len() < 2 {
            return Some(edges);
        }
        // The backward ops of convolutions read the sizes of what they make where the forward op reads the thing itself.
        let sized = |reader: NodeId| match self.graph.input(reader, wanted)?.target {
            Target::Data { node, port } => {
                let sizes = NodeId { scope: reader.scope, node };
                let port = usize::try_from(port).ok()?;
                matches!(self.graph.op(sizes), b"Shape" | b"ShapeN").then(|| self.tensor(sizes, port))?
            }
            Target::Control { .. } | Target::Argument => None,
        };
        let own: Vec<(NodeId, usize)> = edges.into_iter().filter(|(reader, _)| sized(*reader) == Some(reads)).collect();
        (own.len() == 1).then_some(own)
    }

    /// The tensor at an input, behind sites.
    pub(crate) fn tensor(&self, op: NodeId, input: usize) -> Option<Tensor> {
        match self.graph.input(op, input)?.target {
            Target::Data { node, port } => Some(self.sites.get(&node).copied().unwrap_or((node, port))),
            Target::Control { .. } | Target::Argument => None,
        }
    }

    /// The edges that read a tensor, be it through sites.
    fn readers(&self, tensor: Tensor) -> impl Iterator<Item = (NodeId, usize)> {
        let sources = std::iter::once(tensor.0).chain(self.stand_ins.get(&tensor).into_iter().flatten().copied());
        let scope = self.graph.index().scope(0);
        let edges = sources.flat_map(move |source| scope.map(|scope| scope.data_edges(source)).unwrap_or_default());
        let edges = edges.map(|(node, input)| (NodeId { scope: 0, node }, input));
        edges.filter(move |(reader, input)| self.tensor(*reader, *input) == Some(tensor))
    }

    /// The ops behind `op` in the graph that make the gradient of its input `wanted` from `other`, the tensor at its other input.
    fn candidates(&self, op: NodeId, other: Tensor, wanted: usize) -> Result<Vec<Candidate>, Error> {
        let mut found = Vec::new();
        for (reader, input) in self.readers(other) {
            // A gradient's own backward op would be the layer, which comes before.
            if reader.node <= op.node {
                continue;
            }
            let Some((from, gradient)) = self.roles(op, reader, wanted)? else { continue };
            if from == input
                && let Some(tensor) = self.tensor(reader, gradient)
            {
                found.push((tensor, (reader, gradient)));
            }
        }
        Ok(found)
    }

    /// Whether an op by its kind can make the gradient of input `wanted` of `op`: where it reads the other input, and where the gradient of
    /// the output (the gradients that TensorFlow 2.21 registers for Conv2D, DepthwiseConv2dNative and MatMul).
    fn roles(&self, op: NodeId, backward: NodeId, wanted: usize) -> Result<Option<(usize, usize)>, Error> {
        let of_filter = wanted == 1;
        Ok(match (self.graph.op(op), self.graph.op(backward)) {
            (b"Conv2D", b"Conv2DBackpropFilter")
            | (b"DepthwiseConv2dNative", b"DepthwiseConv2dNativeBackpropFilter")
                if of_filter =>
            {
                Some((0, 2))
            }
            (b"Conv2D", b"Conv2DBackpropInput") | (b"DepthwiseConv2dNative", b"DepthwiseConv2dNativeBackpropInput")
                if !of_filter =>
            {
                Some((1, 2))
            }
            (b"MatMul", b"MatMul") => {
                let [ta, tb] = self.transposed(op)?;
                // C = A·B: dA = dC·Bᵀ and dB = Aᵀ·dC; where A or B is transposed, so is its gradient.
                let (roles, expected) = match (wanted, ta, tb) {
                    (0, false, _) => ((1, 0), [false, !tb]),
                    (0, true, _) => ((0, 1), [tb, true]),
                    (_, _, false) => ((0, 1), [!ta, false]),
                    (_, _, true) => ((1, 0), [true, ta]),
                };
                (self.transposed(backward)? == expected).then_some(roles)
            }
            _ => None,
        })
    }

    fn transposed(&self, op: NodeId) -> Result<[bool; 2], Error> {
        let bytes = self.graph.bytes();
        let Some(node) = self.graph.index().node(op) else { return Ok([false; 2]) };
        Ok([node.attr_bool(bytes, "transpose_a")?, node.attr_bool(bytes, "transpose_b")?])
    }

    /// The nodes that `op` depends on.
    fn before(&self, op: NodeId) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let Some(scope) = self.graph.index().scope(op.scope) else { return found };
        let mut open = vec![op.node];
        while let Some(id) = open.pop() {
            let Some(node) = scope.nodes.get(id as usize) else { continue };
            for input in scope.inputs(node) {
                if let Target::Data { node, .. } = input.target
                    && found.insert(node)
                {
                    open.push(node);
                }
            }
        }
        found
    }
}
