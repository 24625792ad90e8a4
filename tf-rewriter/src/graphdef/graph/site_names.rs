//! What an op is called in a plan, in ranges and in reports: one name, whichever container the model came in.
//!
//! A function that was inlined has the name of its call in front: `StatefulPartitionedCall/dense/MatMul`. Which calls those are depends on
//! who wrote the model and for which signature it was made one graph; the name behind them does not. It is the op's where it is the only
//! one of that name.

use super::Graph;
use crate::graphdef::index::{NodeId, node_of};

/// The nodes of the main graph, by their names without calls; empty where no name has one.
#[derive(Debug, Default)]
pub(super) struct SiteNames {
    sorted: Vec<u32>,
}

impl SiteNames {
    fn of(graph: &Graph) -> Self {
        let Some(scope) = graph.index().scope(0) else { return Self::default() };
        let name = |node: &u32| graph.name(NodeId { scope: 0, node: *node });
        let nodes = 0..u32::try_from(scope.nodes.len()).unwrap_or(u32::MAX);
        if !nodes.clone().any(|node| without_calls(name(&node)).len() < name(&node).len()) {
            return Self::default();
        }
        let mut sorted: Vec<u32> = nodes.collect();
        sorted.sort_by(|a, b| without_calls(name(a)).cmp(without_calls(name(b))).then(a.cmp(b)));
        Self { sorted }
    }
}

/// A name without the names of calls in front, as TensorFlow gives them.
pub(crate) fn without_calls(name: &str) -> &str {
    let is_call = |part: &str| {
        let end = part.strip_prefix("Stateful").unwrap_or(part).strip_prefix("PartitionedCall");
        let number = |end: &str| end.strip_prefix('_').is_some_and(|end| end.bytes().all(|byte| byte.is_ascii_digit()));
        end.is_some_and(|end| end.is_empty() || number(end))
    };
    let mut rest = name;
    while let Some((first, more)) = rest.split_once('/')
        && is_call(first)
    {
        rest = more;
    }
    rest
}

impl Graph {
    fn site_names(&self) -> &SiteNames {
        self.site_names.get_or_init(|| SiteNames::of(self))
    }

    /// Whether some node is in an inlined call.
    pub(crate) fn has_calls_inlined(&self) -> bool {
        !self.site_names().sorted.is_empty()
    }

    /// The nodes of the main graph that have the name `name`, the names of calls apart.
    pub(crate) fn alike(&self, name: &str) -> impl Iterator<Item = NodeId> {
        let name = without_calls(name);
        let sorted = self.site_names().sorted.as_slice();
        let only = if sorted.is_empty() { self.named(name).filter(|id| id.scope == 0) } else { None };
        let of = |node: &u32| without_calls(self.name(NodeId { scope: 0, node: *node }));
        let from = sorted.partition_point(|node| of(node) < name);
        let to = from + sorted.get(from..).map_or(0, |rest| rest.partition_point(|node| of(node) == name));
        let found = sorted.get(from..to).unwrap_or_default();
        found.iter().map(|node| NodeId { scope: 0, node: *node }).chain(only)
    }

    /// What plans, ranges and reports call an op: its name without the names of calls in front, where no other has that; else its whole name.
    /// An op of a function has the function's name in front.
    pub(crate) fn site_name(&self, id: NodeId) -> String {
        let short = without_calls(self.name(id));
        if id.scope == 0 && short.len() < self.name(id).len() && self.alike(short).count() == 1 {
            return short.to_owned();
        }
        self.full_name(id)
    }

    /// The other name of an op of the main graph, by which a config may select it too: the whole one, or the one without calls, which several
    /// may have.
    pub(crate) fn other_name(&self, id: NodeId) -> Option<&str> {
        let (whole, short) = (self.name(id), without_calls(self.name(id)));
        if id.scope != 0 || short.len() == whole.len() {
            return None;
        }
        Some(if self.alike(short).count() == 1 { whole } else { short })
    }

    /// What plans, ranges and reports call the tensor at output `port` of a node.
    pub(crate) fn site_tensor(&self, id: NodeId, port: u32) -> String {
        format!("{}:{port}", self.site_name(id))
    }

    /// The node that [`Graph::site_name`] or [`Graph::full_name`] calls so, or that has this name in another graph of the model, if it is the
    /// only one.
    pub(crate) fn find_site(&self, name: &str) -> Option<NodeId> {
        self.named(name).or_else(|| {
            let mut alike = self.alike(name);
            alike.next().filter(|_| alike.next().is_none())
        })
    }

    /// The whole name of a tensor `node:port`, by which the graph is run.
    #[cfg(feature = "run")]
    pub(crate) fn whole_tensor_name(&self, tensor: &str) -> String {
        let node = node_of(tensor);
        match self.find_site(node) {
            Some(id) if id.scope == 0 => [self.name(id), tensor.get(node.len()..).unwrap_or_default()].concat(),
            _ => tensor.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_calls_are_in_front() {
        for (name, rest) in [
            ("StatefulPartitionedCall/StatefulPartitionedCall_1/dense/MatMul", "dense/MatMul"),
            ("PartitionedCall_12/x:0", "x:0"),
            ("dense/PartitionedCall/MatMul", "dense/PartitionedCall/MatMul"),
            ("StatefulPartitionedCalls/x", "StatefulPartitionedCalls/x"),
            ("PartitionedCall_a/x", "PartitionedCall_a/x"),
            ("StatefulPartitionedCall", "StatefulPartitionedCall"),
        ] {
            assert_eq!(without_calls(name), rest);
        }
    }

    #[test]
    fn the_short_name_is_the_ops_where_it_is_the_only_one() {
        let nodes = ["x", "StatefulPartitionedCall/fc", "PartitionedCall/twice", "PartitionedCall_1/twice", "y"];
        let text: String = nodes.iter().map(|name| format!("node {{ name: '{name}' op: 'NoOp' }}")).collect();
        let graph = Graph::from_bytes(crate::graphdef::text::parse(text.as_bytes()).unwrap()).unwrap();
        let names: Vec<String> = graph.all_nodes().map(|id| graph.site_name(id)).collect();
        assert_eq!(names, ["x", "fc", "PartitionedCall/twice", "PartitionedCall_1/twice", "y"]);
        let others: Vec<Option<&str>> = graph.all_nodes().map(|id| graph.other_name(id)).collect();
        assert_eq!(others, [None, Some("StatefulPartitionedCall/fc"), Some("twice"), Some("twice"), None]);
        let ids: Vec<NodeId> = graph.all_nodes().collect();
        for (name, expected) in [("fc", Some(1)), ("StatefulPartitionedCall/fc", Some(1)), ("twice", None), ("y", Some(4)), ("PartitionedCall_3/fc", Some(1))] {
            assert_eq!(graph.find_site(name), expected.map(|at: usize| ids[at]), "{name}");
        }
        assert_eq!(graph.alike("twice").collect::<Vec<_>>(), ids[2..4]);
    }
}
