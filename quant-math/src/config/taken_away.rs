//! What a later entry takes away from an earlier one, since the last that matches decides whole.

use std::collections::BTreeMap;

use super::select::{OpFacts, Selection};
use super::{ConfigList, Selector};
use crate::codes;
use crate::plan::{QuantType, Reason};

/// An entry that decides, the one that would decide without it, and the tensors that only that one names.
type Taken = (usize, usize, Vec<QuantType>);

impl Selector<'_> {
    fn taken(&self, op: &OpFacts<'_>, selection: Selection<'_>) -> Option<Taken> {
        let Selection::Selected { entry, config } = selection else { return None };
        let Selection::Selected { entry: earlier, config: given } = self.select_before(op, entry) else { return None };
        let kinds = given.quant_types.iter().copied();
        let kinds: Vec<_> = kinds.filter(|kind| !config.quant_types.contains(kind)).collect();
        (!kinds.is_empty()).then_some((entry, earlier, kinds))
    }

    /// Why one of an op's tensors stays float, where an earlier entry would quantize it and the one that decides does not.
    pub fn taken_away(&self, op: &OpFacts<'_>, selection: Selection<'_>, kind: QuantType) -> Option<Reason> {
        let (entry, earlier, kinds) = self.taken(op, selection)?;
        kinds.contains(&kind).then(|| {
            Reason::new(
                codes::TAKEN_AWAY,
                format!(
                    "config_list[{entry}] decides about this op and does not name `{kind}`, which config_list[{earlier}] does: the last \
                     entry that matches decides whole"
                ),
            )
        })
    }
}

impl ConfigList {
    /// Where an entry takes a tensor of ops away that an earlier one gave: one reason for each two entries and kind of tensor.
    pub fn taken_away(&self, ops: &[OpFacts<'_>]) -> Vec<Reason> {
        if self.entries.len() < 2 {
            return Vec::new();
        }
        let selector = self.selector();
        let mut found: BTreeMap<(usize, usize, QuantType), (usize, &str)> = BTreeMap::new();
        for op in ops {
            let Some((entry, earlier, kinds)) = selector.taken(op, selector.select(op)) else { continue };
            for kind in kinds {
                found.entry((entry, earlier, kind)).or_insert((0, op.name)).0 += 1;
            }
        }
        let reason = |((entry, earlier, kind), (count, first)): ((usize, usize, QuantType), (usize, &str))| {
            let ops = if count == 1 { format!("`{first}`") } else { format!("{count} ops, for example `{first}`") };
            let text = format!(
                "config_list[{entry}] takes `{kind}` away from {ops}, which config_list[{earlier}] gives it: the last entry that matches \
                 decides whole; name `{kind}` in its `quant_types` too, if that is to stay"
            );
            Reason::new(codes::TAKEN_AWAY, text)
        };
        found.into_iter().map(reason).collect()
    }
}
