//! The sites of a training graph, found by their parts: names may have been prefixed by whoever imported it.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::QuantType;
use quant_math::plan::Settings;
use serde::Deserialize;

use crate::Error;
use crate::emit::training::{BIAS, part};
use crate::graph::Graph;
use crate::index::{NodeId, ScopeKind, Target};
use crate::mark;

/// A quantized tensor.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: QuantType,
    pub(super) settings: Settings,
    /// The float tensor that it is made from.
    from: (String, Target),
    /// The variables of its range.
    pub(super) range: Option<(NodeId, NodeId)>,
    /// Variables and other nodes that its values depend on, by part.
    pub(super) step: Option<NodeId>,
}

/// All sites, by the node that ends them.
pub(super) type Sites = BTreeMap<NodeId, Found>;

/// What a site's last node says of it.
#[derive(Deserialize)]
struct Said {
    kind: QuantType,
    settings: Settings,
}

pub(super) fn find(graph: &Graph) -> Result<Sites, Error> {
    let mut sites = BTreeMap::new();
    for id in graph.all_nodes() {
        if is_site(graph, id) {
            sites.insert(id, read(graph, id)?);
        }
    }
    Ok(sites)
}

pub(super) fn is_site(graph: &Graph, id: NodeId) -> bool {
    part(graph, id) == Some("site")
}

fn read(graph: &Graph, last: NodeId) -> Result<Found, Error> {
    let bytes = graph.bytes();
    let strange = |what: &str| Error::NotTraining { found: format!("`{}` {what}", graph.full_name(last)) };
    let said = graph.index().node(last).map(|node| node.attr_bytes(bytes, mark::SITE)).transpose()?.flatten();
    let said: Option<Said> = said.and_then(|span| serde_json::from_slice(span.of(bytes)).ok());
    let said = said.ok_or_else(|| strange("does not say how it quantizes"))?;
    let scope = graph.index().scope(last.scope).ok_or_else(|| strange("is gone"))?;
    let mut parts = BTreeMap::new();
    let mut from: Option<(String, Target)> = None;
    let mut seen = BTreeSet::from([last]);
    let mut open = vec![last];
    while let Some(id) = open.pop() {
        let Some(node) = graph.index().node(id) else { continue };
        for input in scope.inputs(node) {
            let inside = match input.target {
                Target::Control { .. } => continue,
                Target::Argument => None,
                Target::Data { node, .. } => Some(NodeId { scope: last.scope, node }),
            };
            if let Some((id, own)) = inside.and_then(|id| Some((id, part(graph, id).filter(|part| *part != "site")?))) {
                parts.insert(own, id);
                if seen.insert(id) && own != BIAS {
                    open.push(id);
                }
                continue;
            }
            let text = || input.text.text(bytes).to_owned();
            match &from {
                None => from = Some((text(), input.target)),
                Some((known, target))
                    if *target == input.target && (input.target != Target::Argument || *known == text()) => {}
                Some(_) => return Err(strange("quantizes more than one tensor")),
            }
        }
    }
    let from = from.ok_or_else(|| strange("quantizes no tensor"))?;
    let handle = |name: &str| parts.get(name).copied();
    Ok(Found {
        kind: said.kind,
        settings: said.settings,
        from,
        range: handle("lower").zip(handle("upper")),
        step: handle("step"),
    })
}

/// Producers whose names were given to the quantized tensor, with the name that they get back.
pub(super) fn renamed(graph: &Graph, sites: &Sites) -> BTreeMap<NodeId, String> {
    let mut found = BTreeMap::new();
    for (last, site) in sites.iter().filter(|(_, site)| site.kind == QuantType::Output) {
        if let Target::Data { node, .. } = site.from.1 {
            let producer = NodeId { scope: last.scope, node };
            let own = graph.name(*last);
            if graph.name(producer).strip_prefix(own).is_some_and(|rest| rest.starts_with("/float")) {
                found.insert(producer, own.to_owned());
            }
        }
    }
    found
}

impl Found {
    /// The node that makes the float tensor, behind other sites.
    pub(super) fn producer(&self, scope: u32, sites: &Sites) -> Option<(NodeId, u32)> {
        let mut target = self.from.1;
        // Edges make no cycle among the sites.
        for _ in 0..=sites.len() {
            let Target::Data { node, port } = target else { return None };
            let id = NodeId { scope, node };
            match sites.get(&id) {
                Some(site) => target = site.from.1,
                None => return Some((id, port)),
            }
        }
        None
    }

    /// How an edge reads the float tensor once the sites are gone.
    pub(super) fn edge(&self, graph: &Graph, scope: u32, sites: &Sites, renamed: &BTreeMap<NodeId, String>) -> String {
        let main = graph.index().scope(scope).is_some_and(|scope| matches!(scope.kind, ScopeKind::Main));
        match self.producer(scope, sites) {
            Some((id, port)) if main => {
                let name = renamed.get(&id).map_or_else(|| graph.name(id), String::as_str);
                if port == 0 { name.to_owned() } else { format!("{name}:{port}") }
            }
            _ => self.from.0.clone(),
        }
    }
}
