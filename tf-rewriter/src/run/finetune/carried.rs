//! What was trained in a part of a graph, carried over to the whole.

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::rewrite::emit::Editor;
use crate::rewrite::splice::Segment;

impl Graph {
    /// The graph with the values that the constants of the same names have in `trained`, which was made from a part of it. Where they stand in
    /// its model they have other values: of what is written they are constants or variables of one graph.
    ///
    /// # Errors
    /// A file that changes while it is read; a graph of 2 GiB.
    pub(super) fn with_constants_of(&self, trained: &Self) -> Result<Self, Error> {
        let mut editor = Editor::new(self);
        for id in self.all_nodes().filter(|id| id.scope == 0 && self.op(*id) == b"Const") {
            let twin = trained.named(self.name(id)).filter(|twin| trained.op(*twin) == b"Const");
            let bodies = self.index().node(id).zip(twin.and_then(|twin| trained.index().node(twin)));
            let Some((own, new)) = bodies.map(|(own, new)| (own.body, new.body.of(trained.bytes()))) else { continue };
            if own.of(self.bytes()) != new {
                editor.patch(id, own, vec![Segment::Bytes(new.to_vec())]);
            }
        }
        let made = self.patched(editor.finish()?)?.known_as(self, 0);
        self.settled(trained.settled(Ok(made)))
    }
}
