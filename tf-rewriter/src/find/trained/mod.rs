//! The sites of a training graph, found by their parts: names may have been prefixed by whoever imported it.

mod parts;

use std::collections::BTreeMap;

use quant_math::QuantType;
use quant_math::plan::Settings;
use serde::Deserialize;

use parts::{From, Part, Parts};

use crate::error::Error;
use crate::find::mark::{self, part};
use crate::graphdef::graph::Graph;
use crate::graphdef::index::{NodeId, Target};

/// A quantized tensor.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) kind: QuantType,
    pub(crate) settings: Settings,
    /// The float tensor that it is made from.
    from: (String, Target),
    /// The node that makes it, and which of its outputs it is; `None` for a function's argument.
    pub(crate) producer: Option<(NodeId, u32)>,
    /// The variables of its range.
    pub(crate) range: Option<(NodeId, NodeId)>,
    /// The variable that counts the training passes.
    pub(crate) step: Option<NodeId>,
    /// LSQ: the variable that is its step.
    pub(crate) step_size: Option<NodeId>,
}

/// All sites, by the node that ends them.
pub(crate) type Sites = BTreeMap<NodeId, Found>;

/// What a site's last node says of it.
#[derive(Deserialize)]
struct Said {
    kind: QuantType,
    settings: Settings,
}

pub(crate) fn find(graph: &Graph) -> Result<Sites, Error> {
    let mut parts = Parts::of(graph);
    let mut sites = BTreeMap::new();
    for id in graph.all_nodes() {
        if parts.part(id) == Some(Part::Site) {
            sites.insert(id, read(graph, &mut parts, id)?);
        }
    }
    producers(&mut sites);
    Ok(sites)
}

pub(crate) fn is_site(graph: &Graph, id: NodeId) -> bool {
    part(graph, id) == Some("site")
}

/// The nodes of the main graph that end a site of a training graph, and the float tensors (node, port) that they stand for.
pub(crate) fn stand_ins(graph: &Graph) -> Result<BTreeMap<u32, (u32, u32)>, Error> {
    let sites = find(graph)?;
    let found = sites.iter().filter(|(last, _)| last.scope == 0).filter_map(|(last, site)| {
        let (producer, port) = site.producer?;
        Some((last.node, (producer.node, port)))
    });
    Ok(found.collect())
}

fn read(graph: &Graph, parts: &mut Parts<'_>, last: NodeId) -> Result<Found, Error> {
    let bytes = graph.bytes();
    let strange = |what: &str| Error::NotTraining { found: format!("`{}` {what}", graph.full_name(last)) };
    let said = graph.index().node(last).map(|node| node.attr_bytes(bytes, mark::SITE)).transpose()?.flatten();
    let said: Option<Said> = said.and_then(|span| serde_json::from_slice(span.of(bytes)).ok());
    let said = said.ok_or_else(|| strange("does not say how it quantizes"))?;
    let behind = parts.behind(last);
    let from = match behind.from {
        From::Nothing => return Err(strange("quantizes no tensor")),
        From::Several => return Err(strange("quantizes more than one tensor")),
        From::One(text, target) => (text.text(bytes).to_owned(), target),
    };
    Ok(Found {
        kind: said.kind,
        settings: said.settings,
        from,
        producer: None,
        range: behind.lower.zip(behind.upper),
        step: behind.step,
        step_size: behind.step_size,
    })
}

/// Fill in the nodes that make the float tensors, behind other sites.
fn producers(sites: &mut Sites) {
    let mut known: BTreeMap<NodeId, Option<(NodeId, u32)>> = BTreeMap::new();
    for start in sites.keys() {
        let mut way = Vec::new();
        let mut at = *start;
        let end = loop {
            if let Some(end) = known.get(&at) {
                break *end;
            }
            // Until it is known: sites in a circle have no producer.
            known.insert(at, None);
            way.push(at);
            match sites.get(&at).map(|site| site.from.1) {
                Some(Target::Data { node, port }) => {
                    let source = NodeId { scope: at.scope, node };
                    if !sites.contains_key(&source) {
                        break Some((source, port));
                    }
                    at = source;
                }
                _ => break None,
            }
        };
        known.extend(way.into_iter().map(|site| (site, end)));
    }
    for (id, site) in sites {
        site.producer = known.get(id).copied().flatten();
    }
}

/// Producers whose names were given to the quantized tensor, with the name that they get back.
pub(crate) fn renamed(graph: &Graph, sites: &Sites) -> BTreeMap<NodeId, String> {
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
    /// The name of the function's argument that the site which ends in `last` quantizes.
    pub(crate) fn argument(&self, graph: &Graph, last: NodeId) -> String {
        graph.name_in(last.scope, &self.from.0)
    }

    /// How an edge reads the float tensor once the sites are gone.
    pub(crate) fn edge(&self, graph: &Graph, renamed: &BTreeMap<NodeId, String>) -> String {
        match self.producer {
            Some((id, port)) if id.scope == 0 => {
                let name = renamed.get(&id).map_or_else(|| graph.name(id), String::as_str);
                if port == 0 { name.to_owned() } else { format!("{name}:{port}") }
            }
            _ => self.from.0.clone(),
        }
    }
}
