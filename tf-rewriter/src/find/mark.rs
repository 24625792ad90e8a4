//! The mark that our own output carries, so that a second run knows what was done.

use crate::graphdef::graph::Graph;
use crate::graphdef::index::NodeId;

/// Attribute of a node whose output is quantized. TensorFlow keeps attributes that begin with `_` and looks at none it does not know.
pub(crate) const ATTR: &str = "_quantization";

/// Attribute of every node that a `training` graph has and a frozen one has not: its part in the site, or in what all sites share.
pub(crate) const PART: &str = "_quantization_part";

/// The part of a site that reads what is added to its op's output, which is no part of it.
pub(crate) const BIAS: &str = "bias";

/// The part of a site that is LSQ's step: a variable that is trained.
pub(crate) const STEP_SIZE: &str = "step_size";

/// Attribute of the last node of a site in a `training` graph: how it is quantized, as JSON.
pub(crate) const SITE: &str = "_quantization_site";

/// TensorFlow's attribute of a node that is to stand on one device with others: a list of `loc:@name`.
pub(crate) const COLOCATED: &str = "_class";

/// The part that a node has in a training graph.
pub(crate) fn part(graph: &Graph, id: NodeId) -> Option<&str> {
    let node = graph.index().node(id)?;
    node.attr_bytes(graph.bytes(), PART).ok().flatten().map(|span| span.text(graph.bytes()))
}
