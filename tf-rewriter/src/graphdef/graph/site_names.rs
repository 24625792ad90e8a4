//! What an op is called in a plan, in ranges and in reports: one name, whichever container the model came in.
//!
//! A function that was inlined has the name of its call in front: `StatefulPartitionedCall/dense/MatMul`. Which calls those are depends on
//! who wrote the model and for which signature it was made one graph; the name behind them does not. So it is with inputs, which are
//! `serving_default_x` in one graph and `x` in another, and which the signature calls `x`. That short name is the op's where no other has it.

use std::collections::BTreeMap;

use super::{Graph, Interface};
use crate::graphdef::index::NodeId;
#[cfg(feature = "run")]
use crate::graphdef::index::node_of;

/// The nodes of the main graph by their short names; empty where each is called so anyway.
#[derive(Debug, Default)]
pub(super) struct SiteNames {
    sorted: Vec<u32>,
    /// What signatures call the inputs.
    keys: BTreeMap<u32, String>,
}

impl SiteNames {
    fn of(graph: &Graph) -> Self {
        let Some(scope) = graph.index().scope(0) else { return Self::default() };
        let mut names = Self { sorted: Vec::new(), keys: keys(graph) };
        let nodes = 0..u32::try_from(scope.nodes.len()).unwrap_or(u32::MAX);
        let short = |node: &u32| names.short(graph, *node);
        if nodes.clone().all(|node| short(&node) == graph.name(NodeId { scope: 0, node })) {
            return Self::default();
        }
        let mut sorted: Vec<u32> = nodes.collect();
        sorted.sort_by(|a, b| short(a).cmp(short(b)).then(a.cmp(b)));
        names.sorted = sorted;
        names
    }

    fn short<'a>(&'a self, graph: &'a Graph, node: u32) -> &'a str {
        let key = self.keys.get(&node).map(String::as_str);
        key.unwrap_or_else(|| without_calls(graph.name(NodeId { scope: 0, node })))
    }
}

/// What the signatures of a graph call its inputs; of one that several call differently, nothing.
fn keys(graph: &Graph) -> BTreeMap<u32, String> {
    let mut found: BTreeMap<u32, Option<String>> = BTreeMap::new();
    let mut add = |interface: &Interface| {
        for input in &interface.inputs {
            let Some(id) = graph.named(input.node()).filter(|id| id.scope == 0) else { continue };
            let known = found.entry(id.node).or_insert_with(|| Some(input.key.clone()));
            *known = known.take().filter(|known| *known == input.key);
        }
    };
    add(graph.interface());
    for (_, signature) in graph.origin().into_iter().flat_map(|origin| origin.meta.signatures()) {
        add(&Interface::of(signature));
    }
    found.into_iter().filter_map(|(node, key)| Some((node, key?))).collect()
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

    /// What the graph itself calls a tensor `node:port` of a site.
    #[cfg(feature = "run")]
    pub(crate) fn whole_name(&self, tensor: &str) -> String {
        let node = node_of(tensor);
        match self.find_site(node) {
            Some(id) if id.scope == 0 => [self.name(id), tensor.get(node.len()..).unwrap_or_default()].concat(),
            _ => tensor.to_owned(),
        }
    }

    /// Whether some op has a short name.
    pub(crate) fn has_short_names(&self) -> bool {
        !self.site_names().sorted.is_empty()
    }

    /// The short name of an op, which others may have too: of an input what the signature calls it, else the name without calls in front. Of an
    /// op of a function it is the whole name.
    pub(crate) fn short_name(&self, id: NodeId) -> String {
        if id.scope == 0 { self.site_names().short(self, id.node).to_owned() } else { self.full_name(id) }
    }

    /// The nodes of the main graph that have this short name, in their order; `name` may have calls in front.
    pub(crate) fn alike(&self, name: &str) -> impl Iterator<Item = NodeId> {
        let name = without_calls(name);
        let names = self.site_names();
        let sorted = names.sorted.as_slice();
        let only = if sorted.is_empty() { self.named(name).filter(|id| id.scope == 0) } else { None };
        let from = sorted.partition_point(|node| names.short(self, *node) < name);
        let to = sorted.get(from..).map_or(0, |rest| rest.partition_point(|node| names.short(self, *node) == name));
        let found = sorted.get(from..from + to).unwrap_or_default();
        found.iter().map(|node| NodeId { scope: 0, node: *node }).chain(only)
    }

    /// What plans, ranges and reports call an op: its short name where no other has that, else its whole name. An op of a function has the
    /// function's name in front.
    pub(crate) fn site_name(&self, id: NodeId) -> String {
        self.both_names(id).0
    }

    /// [`Graph::site_name`], and the other name of an op of the main graph, by which a config may select it too: the whole one, or the short
    /// one, which several may have.
    pub(crate) fn both_names(&self, id: NodeId) -> (String, Option<String>) {
        let whole = self.full_name(id);
        if !self.has_short_names() {
            return (whole, None);
        }
        let short = self.short_name(id);
        if short == whole {
            return (whole, None);
        }
        let is_only = self.alike(&short).nth(1).is_none();
        if is_only { (short, Some(whole)) } else { (whole, Some(short)) }
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
    fn the_short_name_is_the_ops_where_no_other_has_it() {
        let nodes = ["x", "StatefulPartitionedCall/fc", "PartitionedCall/twice", "PartitionedCall_1/twice", "y"];
        let text = nodes.map(|name| format!("node {{ name: '{name}' op: 'NoOp' }}")).concat();
        let graph = Graph::from_bytes(crate::graphdef::text::parse(text.as_bytes()).unwrap()).unwrap();
        let names: Vec<String> = graph.all_nodes().map(|id| graph.site_name(id)).collect();
        assert_eq!(names, ["x", "fc", "PartitionedCall/twice", "PartitionedCall_1/twice", "y"]);
        let others: Vec<Option<String>> = graph.all_nodes().map(|id| graph.both_names(id).1).collect();
        let others: Vec<Option<&str>> = others.iter().map(Option::as_deref).collect();
        assert_eq!(others, [None, Some("StatefulPartitionedCall/fc"), Some("twice"), Some("twice"), None]);
        let ids: Vec<NodeId> = graph.all_nodes().collect();
        for (name, expected) in [
            ("fc", Some(1)),
            ("StatefulPartitionedCall/fc", Some(1)),
            ("twice", None),
            ("y", Some(4)),
            ("PartitionedCall_3/fc", Some(1)),
        ] {
            assert_eq!(graph.find_site(name), expected.map(|at: usize| ids[at]), "{name}");
        }
        assert_eq!(graph.alike("twice").collect::<Vec<_>>(), ids[2..4]);
    }
}
