//! What differs between two graphs.

use quant_math::WeightData;
use quant_math::difference::Difference;

use super::fold::fold;
use crate::error::Error;
use crate::find::mark;
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, ScopeKind};
use crate::graphdef::tensor::{FloatData, TensorView};

/// The values that a node stands for, if it is a constant or stands in a constant's place.
enum Values<'a> {
    Stored(FloatData<'a>, Vec<u64>),
    Folded(super::folded::Folded),
}

/// The elements of a constant that do not stand in its node.
fn elsewhere<'a>(view: Option<&TensorView<'a>>) -> Result<&'a [u8], Error> {
    view.map_or(Ok(&[]), TensorView::elsewhere)
}

impl Values<'_> {
    fn shape(&self) -> &[u64] {
        match self {
            Self::Stored(_, shape) => shape,
            Self::Folded(folded) => &folded.shape,
        }
    }

    fn data(&self) -> &dyn WeightData {
        match self {
            Self::Stored(data, _) => data,
            Self::Folded(folded) => folded,
        }
    }
}

impl Graph {
    /// What changes from this graph to `other`: values of constants (a packed weight counts as the constant whose name it has),
    /// nodes that only one has, nodes that differ.
    ///
    /// # Errors
    /// Damaged nodes and tensors of either.
    pub fn diff(&self, other: &Self) -> Result<Difference, Error> {
        self.settled(other.settled(self.compare(other)))
    }

    fn compare(&self, other: &Self) -> Result<Difference, Error> {
        let mut found = Difference::between(self.file_len(), other.file_len());
        for id in self.all_nodes() {
            let Some(twin) = other.twin(self, id) else {
                found.only_in_first.push(self.full_name(id));
                continue;
            };
            let bodies = [(self, id), (other, twin)].map(|(g, id)| g.index().node(id).map(|n| n.body.of(g.bytes())));
            if bodies.first() == bodies.last() {
                let own = self.constant(id).map_err(|error| self.in_own_file(error))?;
                // Elements in a checkpoint are not in the node.
                if elsewhere(own.as_ref())? == elsewhere(other.constant(twin)?.as_ref())? {
                    found.same += usize::from(own.is_some_and(|view| view.float_dtype().is_some()));
                    continue;
                }
            }
            if !self.hold_values(id, other, twin, &mut found)? {
                found.changed.push(self.full_name(id));
            }
        }
        let new = other.all_nodes().filter(|id| self.twin(other, *id).is_none());
        found.only_in_second = new.map(|id| other.full_name(id)).collect();
        Ok(found)
    }

    /// The node of `self` with the name and scope that `id` has in `other`; of the main graph, also the one that is called so apart from the calls
    /// in front, as it is where one of the two comes from another container.
    fn twin(&self, other: &Self, id: NodeId) -> Option<NodeId> {
        let scope = match other.index().scope(id.scope)?.kind {
            ScopeKind::Main => 0,
            ScopeKind::Function { name, .. } => self.index().function(self.bytes(), name.of(other.bytes()))?,
        };
        let node = self.index().scope(scope)?.find(self.bytes(), other.name(id).as_bytes());
        let node = node.map(|node| NodeId { scope, node });
        let alike = || self.find_site(&other.site_name(id)).filter(|found| scope == 0 && found.scope == 0);
        node.or_else(alike)
    }

    /// Compare the values of two nodes; whether both have some, of one shape.
    fn hold_values(&self, id: NodeId, other: &Self, twin: NodeId, found: &mut Difference) -> Result<bool, Error> {
        let (Some(first), Some(second)) = (self.values(id)?, other.values(twin)?) else { return Ok(false) };
        let same_shape = first.shape() == second.shape();
        if same_shape {
            found.hold(&self.site_tensor(id, 0), first.shape(), first.data(), second.data());
        }
        Ok(same_shape)
    }

    fn values(&self, id: NodeId) -> Result<Option<Values<'_>>, Error> {
        self.read_values(id).map_err(|error| self.in_own_file(error))
    }

    fn read_values(&self, id: NodeId) -> Result<Option<Values<'_>>, Error> {
        if let Some(view) = self.constant(id)? {
            // A short form that stands for more than the file is long is not spread out.
            if view.float_dtype().is_none() || view.elements() as u64 > self.file_len() {
                return Ok(None);
            }
            let shape = view.shape().to_vec();
            return Ok(Some(Values::Stored(view.float_data()?, shape)));
        }
        let marked = match self.index().node(id) {
            Some(node) => node.attr(self.bytes(), mark::ATTR)?.is_some(),
            None => false,
        };
        Ok(if marked { fold(self, id)?.map(Values::Folded) } else { None })
    }
}
