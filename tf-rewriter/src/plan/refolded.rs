//! Ranges that were measured while other batch normalizations were in the layers before them: what such a layer makes was another tensor then.

use std::collections::BTreeSet;

use quant_math::fold::layers;
use quant_math::ranges::Ranges;

use crate::find::sites::changes_shape;
use crate::graphdef::graph::{Graph, without_calls};
use crate::graphdef::index::{NodeId, node_of};

/// Nodes that are looked at behind a layer. Frameworks write a handful.
const MOST: usize = 64;

impl Graph {
    /// The layers that have taken batch normalizations, by name.
    pub(crate) fn folded_layers(&self) -> Vec<String> {
        let layers: BTreeSet<&str> = layers(self.folds()).collect();
        layers.into_iter().map(str::to_owned).collect()
    }

    /// The ranges without those of tensors that are others now. `None` where none is.
    pub(super) fn still_true(&self, ranges: &Ranges) -> Option<Ranges> {
        let own = self.folded_layers();
        let own: BTreeSet<&str> = own.iter().map(|name| without_calls(name)).collect();
        let then: BTreeSet<&str> = ranges.folded.iter().map(|name| without_calls(name)).collect();
        let differing: BTreeSet<&str> = own.symmetric_difference(&then).copied().collect();
        if differing.is_empty() {
            return None;
        }
        let mut others = BTreeSet::new();
        for (number, node) in (0u32..).zip(self.index().scope(0).into_iter().flat_map(|scope| &scope.nodes)) {
            if differing.contains(without_calls(node.name.text(self.bytes()))) {
                others.extend(self.made_of(NodeId { scope: 0, node: number }));
            }
        }
        let mut ranges = ranges.clone();
        ranges.ranges.retain(|entry| {
            let node = without_calls(node_of(&entry.tensor));
            !differing.contains(node) && !others.contains(node)
        });
        Some(ranges)
    }

    /// The node, and those that make the same of its value in other shapes, by name.
    fn made_of(&self, id: NodeId) -> BTreeSet<&str> {
        let (mut found, mut open) = (BTreeSet::new(), vec![id.node]);
        let Some(scope) = self.index().scope(id.scope) else { return found };
        while let Some(node) = open.pop() {
            let at = NodeId { scope: id.scope, node };
            if found.len() > MOST || !found.insert(without_calls(self.name(at))) {
                continue;
            }
            let readers = scope.data_edges(node).into_iter().filter(|(_, input)| *input == 0).map(|(reader, _)| reader);
            open.extend(readers.filter(|reader| changes_shape(self.op(NodeId { scope: id.scope, node: *reader }))));
        }
        found
    }
}
