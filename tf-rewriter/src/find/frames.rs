//! Which nodes run inside a `while` frame: their constants must be held there by a control edge.

use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Target, node_of};

/// The nodes of a scope that run inside a frame.
#[derive(Debug)]
pub(crate) struct Frames {
    scope: u32,
    inside: Vec<bool>,
}

impl Frames {
    pub(crate) fn of(graph: &Graph, scope: u32) -> Self {
        Self { scope, inside: frames(graph, scope) }
    }

    /// Those of the main graph.
    pub(crate) fn of_main(graph: &Graph) -> Self {
        Self::of(graph, 0)
    }

    /// Whether a node of the scope runs inside a frame.
    pub(crate) fn hold(&self, id: NodeId) -> bool {
        id.scope == self.scope && self.inside.get(id.node as usize).copied().unwrap_or(false)
    }

    /// With the frames of the main graph: whether a node can reach the main graph's variables, which those of functions and frames cannot.
    pub(crate) fn reaches_state(&self, id: NodeId) -> bool {
        id.scope == self.scope && !self.hold(id)
    }

    /// With the frames of the main graph: why a tensor of a plan (`node:port`, a function's with its name in front) cannot be fetched
    /// from outside, if it cannot.
    pub(crate) fn unfetchable(&self, graph: &Graph, tensor: &str) -> Option<&'static str> {
        if tensor.contains("::") {
            return Some("is in a function body, from which nothing can be fetched");
        }
        let node = graph.find_site(node_of(tensor))?;
        self.hold(node).then_some("is in a loop, from which nothing can be fetched")
    }
}

/// For each node of a scope, whether it runs inside a frame. An `Enter` opens one, an `Exit` leaves the innermost.
fn frames(graph: &Graph, scope: u32) -> Vec<bool> {
    let Some(found) = graph.index().scope(scope) else { return Vec::new() };
    let op = |node: u32| graph.op(NodeId { scope, node });
    let count = u32::try_from(found.nodes.len()).unwrap_or(u32::MAX);
    if !(0..count).any(|node| enters(op(node))) {
        return vec![false; found.nodes.len()];
    }
    // The depth of frames behind each node, once it is known. Sources first; what a `NextIteration` hands on is in the frame that its
    // `Merge` knows from an `Enter`, and without those edges the graph has no cycle.
    let sources = |node: u32| {
        let inputs = found.nodes.get(node as usize).map(|n| found.inputs(n)).unwrap_or_default();
        let targets = inputs.iter().filter_map(|input| match input.target {
            Target::Data { node, .. } | Target::Control { node } => Some(node),
            Target::Argument => None,
        });
        targets.filter(|source| !matches!(op(*source), b"NextIteration" | b"RefNextIteration"))
    };
    let mut behind: Vec<Option<u32>> = vec![None; found.nodes.len()];
    let mut inside = vec![false; found.nodes.len()];
    for start in 0..count {
        let mut open = vec![start];
        while let Some(&node) = open.last() {
            let known = |source: u32| behind.get(source as usize).copied().flatten();
            if known(node).is_some() {
                open.pop();
                continue;
            }
            let waiting = open.len();
            open.extend(sources(node).filter(|source| known(*source).is_none()));
            if open.len() > waiting {
                continue;
            }
            open.pop();
            let depth = sources(node).filter_map(known).max().unwrap_or(0);
            // An `Exit` gives its result to the frame around.
            let own = match op(node) {
                enter if enters(enter) => depth + 1,
                b"Exit" | b"RefExit" => depth.saturating_sub(1),
                _ => depth,
            };
            if let Some(slot) = inside.get_mut(node as usize) {
                *slot = own > 0;
            }
            if let Some(slot) = behind.get_mut(node as usize) {
                *slot = Some(own);
            }
        }
    }
    inside
}

fn enters(op: &[u8]) -> bool {
    matches!(op, b"Enter" | b"RefEnter")
}

#[cfg(test)]
mod tests {
    use super::Frames;
    use crate::graphdef::graph::Graph;

    #[test]
    fn what_leaves_a_loop_is_outside_of_it() {
        let node = |name: &str, op: &str, input: &str| format!("node {{ name: \"{name}\" op: \"{op}\" {input} }}\n");
        let nodes = [
            node("x", "Placeholder", ""),
            node("enter", "Enter", "input: \"x\""),
            node("inner", "Enter", "input: \"enter\""),
            node("between", "Exit", "input: \"inner\""),
            node("result", "Exit", "input: \"between\""),
            node("y", "Relu", "input: \"result\""),
        ];
        let graph = Graph::from_bytes(crate::graphdef::text::parse(nodes.concat().as_bytes()).unwrap()).unwrap();
        let frames = Frames::of_main(&graph);
        let inside =
            ["x", "enter", "inner", "between", "result", "y"].map(|name| frames.hold(graph.named(name).unwrap()));
        assert_eq!(inside, [false, true, true, true, false, false]);
        assert_eq!(frames.unfetchable(&graph, "result:0"), None);
    }
}
