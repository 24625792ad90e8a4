//! What the parts of sites stand on, found once for all sites that share them.

use std::collections::BTreeMap;

use crate::find::mark::{BIAS, STEP_SIZE, part};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Span, Target};

/// The part that a node has, as far as sites are read by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The last node of a site.
    Site,
    Lower,
    Upper,
    Step,
    StepSize,
    /// Not looked behind: a bias is nothing that the site quantizes.
    Bias,
    Other,
}

/// The tensors that are no parts themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum From {
    #[default]
    Nothing,
    One(Span, Target),
    Several,
}

/// What a part is made from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Behind {
    pub(super) from: From,
    pub(super) lower: Option<NodeId>,
    pub(super) upper: Option<NodeId>,
    pub(super) step: Option<NodeId>,
    pub(super) step_size: Option<NodeId>,
}

/// What an input reads: the part that makes it, if one does, its text and its target.
type Source = (Option<(NodeId, Part)>, Span, Target);

/// All nodes that are parts.
pub(super) struct Parts<'g> {
    graph: &'g Graph,
    by_node: BTreeMap<NodeId, Part>,
    /// `None` while it is looked for.
    behind: BTreeMap<NodeId, Option<Behind>>,
}

impl<'g> Parts<'g> {
    pub(super) fn of(graph: &'g Graph) -> Self {
        let parts = graph.all_nodes().filter_map(|id| {
            let part = match part(graph, id)? {
                "site" => Part::Site,
                "lower" => Part::Lower,
                "upper" => Part::Upper,
                "step" => Part::Step,
                STEP_SIZE => Part::StepSize,
                BIAS => Part::Bias,
                _ => Part::Other,
            };
            Some((id, part))
        });
        Self { graph, by_node: parts.collect(), behind: BTreeMap::new() }
    }

    pub(super) fn part(&self, id: NodeId) -> Option<Part> {
        self.by_node.get(&id).copied()
    }

    /// What a node is made from through parts that end no site.
    pub(super) fn behind(&mut self, start: NodeId) -> Behind {
        let mut open = vec![start];
        while let Some(&id) = open.last() {
            match self.behind.get(&id) {
                Some(Some(_)) => {
                    open.pop();
                }
                None => {
                    self.behind.insert(id, None);
                    let waiting = open.len();
                    for (source, _, _) in self.sources(id) {
                        let source = source.filter(|(_, part)| *part != Part::Bias).map(|(id, _)| id);
                        open.extend(source.filter(|id| !self.behind.contains_key(id)));
                    }
                    if open.len() == waiting {
                        self.close(id);
                        open.pop();
                    }
                }
                // Its sources are known now, but for those that it is a source of itself.
                Some(None) => {
                    self.close(id);
                    open.pop();
                }
            }
        }
        self.behind.get(&start).copied().flatten().unwrap_or_default()
    }

    /// The data inputs of a node.
    fn sources(&self, id: NodeId) -> Vec<Source> {
        let Some((scope, node)) = self.graph.index().scope(id.scope).zip(self.graph.index().node(id)) else {
            return Vec::new();
        };
        let data = scope.inputs(node).iter().filter(|input| !matches!(input.target, Target::Control { .. }));
        let data = data.map(|input| {
            let source = match input.target {
                Target::Data { node, .. } => Some(NodeId { scope: id.scope, node }),
                Target::Control { .. } | Target::Argument => None,
            };
            let inner = source.and_then(|id| Some((id, self.part(id).filter(|part| *part != Part::Site)?)));
            (inner, input.text, input.target)
        });
        data.collect()
    }

    fn close(&mut self, id: NodeId) {
        let mut found = Behind::default();
        for (source, text, target) in self.sources(id) {
            let Some((source, part)) = source else {
                found.from = self.both(found.from, From::One(text, target));
                continue;
            };
            if let Some(behind) = self.behind.get(&source).copied().flatten() {
                found.from = self.both(found.from, behind.from);
                found.lower = behind.lower.or(found.lower);
                found.upper = behind.upper.or(found.upper);
                found.step = behind.step.or(found.step);
                found.step_size = behind.step_size.or(found.step_size);
            }
            match part {
                Part::Lower => found.lower = Some(source),
                Part::Upper => found.upper = Some(source),
                Part::Step => found.step = Some(source),
                Part::StepSize => found.step_size = Some(source),
                Part::Site | Part::Bias | Part::Other => {}
            }
        }
        self.behind.insert(id, Some(found));
    }

    fn both(&self, a: From, b: From) -> From {
        let bytes = self.graph.bytes();
        match (a, b) {
            (From::Nothing, other) | (other, From::Nothing) => other,
            (From::One(text, target), From::One(other, same))
                if target == same && (target != Target::Argument || text.of(bytes) == other.of(bytes)) =>
            {
                a
            }
            _ => From::Several,
        }
    }
}
