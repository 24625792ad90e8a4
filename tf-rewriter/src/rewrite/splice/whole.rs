//! Elements of constants that stand in other files, put where the graph has them when it is written.

use std::borrow::Cow;

use super::{Patches, Segment, tensor_attr, total, write};
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Span, fields};
use crate::graphdef::tensor::{Elements, MARK};
use crate::graphdef::wire::{Value, put_tag, put_varint};

impl Patches {
    /// The output as segments, complete: what the patches leave of constants whose elements are elsewhere has them.
    pub(crate) fn assemble_whole(mut self, graph: &Graph) -> Result<Vec<Segment>, Error> {
        if !graph.elsewhere().is_empty() {
            let mut patched: Vec<Span> =
                self.list.iter().map(|patch| patch.span).filter(|span| span.len() > 0).collect();
            patched.sort_unstable();
            for id in graph.all_nodes() {
                let Some(constant) = Constant::of(graph, id)? else { continue };
                let before = patched.partition_point(|span| span.end <= constant.entry.start);
                if patched.get(before).is_none_or(|span| span.start >= constant.entry.end) {
                    self.within(graph.index(), id, constant.entry, constant.whole(graph));
                }
            }
        }
        self.assemble(graph.bytes())
    }
}

impl Graph {
    /// The binary GraphDef, complete: those elements of its constants that stand in other files are copied.
    ///
    /// # Errors
    /// One of 2 GiB or more, which TensorFlow does not load.
    pub fn whole_bytes(&self) -> Result<Cow<'_, [u8]>, Error> {
        if self.elsewhere().is_empty() {
            return Ok(Cow::Borrowed(self.bytes()));
        }
        let segments = Patches::default().assemble_whole(self)?;
        crate::graphdef::io::check_length(total(&segments) as u64)?;
        let mut bytes = Vec::with_capacity(total(&segments));
        write(&segments, self, &mut bytes, &|_| {})?;
        Ok(Cow::Owned(bytes))
    }
}

/// A constant whose elements are elsewhere.
struct Constant {
    /// The entry of its attribute `value`.
    entry: Span,
    tensor: Span,
    /// The field that stands for the elements.
    mark: Span,
    number: u64,
}

impl Constant {
    fn of(graph: &Graph, id: NodeId) -> Result<Option<Self>, Error> {
        let bytes = graph.bytes();
        let Some(node) = graph.index().node(id).filter(|node| node.op.of(bytes) == b"Const") else { return Ok(None) };
        let Some(entry) = node.attr(bytes, "value")?.map(|attr| attr.entry) else { return Ok(None) };
        let Some(tensor) = node.attr_tensor(bytes, "value")? else { return Ok(None) };
        let mut walk = fields(bytes, tensor, "TensorProto");
        while let Some(field) = walk.next()? {
            if let (MARK, Value::Varint(number)) = (field.number, &field.value) {
                return Ok(Some(Self { entry, tensor, mark: field.span.clone().into(), number: *number }));
            }
        }
        Ok(None)
    }

    /// The attribute with the elements. TensorProto.tensor_content = 4.
    fn whole(&self, graph: &Graph) -> Vec<Segment> {
        let length = graph.elsewhere().get(self.number).map_or(0, Elements::len);
        let mut head = Vec::new();
        put_tag(&mut head, 4, 2);
        put_varint(&mut head, length as u64);
        let before = Span { start: self.tensor.start, end: self.mark.start };
        let after = Span { start: self.mark.end, end: self.tensor.end };
        let tensor = vec![
            Segment::Copy(before),
            Segment::Bytes(head),
            Segment::Elsewhere(self.number, length),
            Segment::Copy(after),
        ];
        tensor_attr("value", tensor)
    }
}
