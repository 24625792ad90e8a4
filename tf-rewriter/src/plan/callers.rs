//! A function that is called several times stands in the flat graph as often: what was measured or written of one place holds in the others.
//!
//! Without the names of calls a name means the same in whatever graph was made of the model, be it for one signature or for all.

use std::collections::BTreeMap;

use quant_math::budget::Share;
use quant_math::config::ConfigList;
use quant_math::plan::Site;
use quant_math::ranges::{Ranges, SiteRange};
use quant_math::{Plan, QuantType};

use super::SITES;
use crate::error::Error;
use crate::find::sites::tensor_name;
use crate::graphdef::graph::{Graph, without_calls};
use crate::graphdef::index::{NodeId, node_of};

impl Graph {
    /// Ranges with entries for sites that are called otherwise than where they were measured. `None` where none is missing.
    pub(super) fn for_all_callers(&self, config: &ConfigList, ranges: &Ranges) -> Result<Option<Ranges>, Error> {
        let has_call = |name: &str| without_calls(name).len() < name.len();
        if !self.has_short_names() && !ranges.ranges.iter().any(|entry| has_call(&entry.site)) {
            return Ok(None);
        }
        let lookup = ranges.lookup();
        let (sites, _) = self.activations(config)?;
        let mut missing =
            sites.iter().filter(|site| lookup.find(&site.op, site.kind, &site.tensor).is_none()).peekable();
        if missing.peek().is_none() {
            return Ok(None);
        }
        let known = Known::of(ranges);
        let mut all = ranges.clone();
        for site in missing {
            if let Some(entry) = known.find(&self.short(&site.op), site.kind, &self.short(&site.tensor)) {
                let (site, tensor) = (site.op.clone(), site.tensor.clone());
                self.budget()
                    .take((size_of::<SiteRange>() + site.len() + tensor.len()) as u64, "the ranges of callers")?;
                all.ranges.push(SiteRange { site, tensor, ..entry.clone() });
            }
        }
        Ok(Some(all))
    }

    /// The short name of what a plan of this graph calls so: an op, or a tensor.
    fn short(&self, name: &str) -> String {
        let node = node_of(name);
        match self.find_site(node) {
            Some(id) if id.scope == 0 => [&self.short_name(id), name.get(node.len()..).unwrap_or_default()].concat(),
            _ => name.to_owned(),
        }
    }

    /// A plan with the names that this graph has for its sites, and a site for each op that the plan's name can mean.
    pub(crate) fn with_own_names(&self, plan: &Plan) -> Result<Plan, Error> {
        let mut counted = Share::of(self.budget());
        let mut sites = Vec::with_capacity(plan.sites.len());
        for site in &plan.sites {
            let mut copies: Vec<NodeId> = match self.find_site(&site.op) {
                Some(op) => vec![op],
                None => self.alike(&site.op).collect(),
            };
            // An op of a function is called as it is.
            copies.retain(|op| op.scope == 0);
            // What it reads as the first of them that reads such a tensor does, the others read at the same place.
            let place = copies.iter().find_map(|op| self.input_called(*op, &site.tensor));
            for op in &copies {
                let tensor = self.tensor_of_copy(site, *op, place);
                let named = Site { op: self.site_name(*op), tensor, ..site.clone() };
                counted.take(named.held(), SITES)?;
                sites.push(named);
            }
            if copies.is_empty() {
                counted.take(site.held(), SITES)?;
                sites.push(site.clone());
            }
        }
        Ok(Plan { sites, ..plan.clone() })
    }

    /// The first input of an op that reads a tensor of this short name.
    fn input_called(&self, op: NodeId, tensor: &str) -> Option<usize> {
        let count = self.index().node(op).zip(self.index().scope(op.scope)).map_or(0, |(n, s)| s.inputs(n).len());
        let short = without_calls(tensor);
        (0..count).find(|input| self.short(&tensor_name(self, op, *input)) == short)
    }

    /// What the graph calls the tensor of a site of one of several copies of its op.
    fn tensor_of_copy(&self, site: &Site, op: NodeId, place: Option<usize>) -> String {
        let said = node_of(&site.tensor);
        let port = site.tensor.get(said.len()..).unwrap_or_default();
        match (site.kind, place) {
            (QuantType::Output, _) => format!("{}{port}", self.site_name(op)),
            (QuantType::Input | QuantType::Gradient, Some(place)) => tensor_name(self, op, place),
            _ => {
                let alike = || {
                    let name = self.name(op);
                    let call = name.get(..name.len() - without_calls(name).len()).unwrap_or_default();
                    self.alike(said).find(|id| self.name(*id).starts_with(call))
                };
                let found = self.find_site(said).or_else(alike);
                found.map_or_else(|| site.tensor.clone(), |id| format!("{}{port}", self.site_name(id)))
            }
        }
    }
}

/// What was measured, by names without calls; nothing where several places say different things.
struct Known<'a> {
    by_tensor: BTreeMap<(&'a str, QuantType, &'a str), Option<&'a SiteRange>>,
    /// For ops of which one tensor alone was measured: it may be called otherwise, an input of the model for one.
    by_site: BTreeMap<(&'a str, QuantType), Option<&'a SiteRange>>,
}

impl<'a> Known<'a> {
    fn of(ranges: &'a Ranges) -> Self {
        let mut found = Self { by_tensor: BTreeMap::new(), by_site: BTreeMap::new() };
        for entry in &ranges.ranges {
            let (site, kind, tensor) = (without_calls(&entry.site), entry.kind, without_calls(&entry.tensor));
            let same = |known: &SiteRange| {
                (known.min.to_bits(), known.max.to_bits()) == (entry.min.to_bits(), entry.max.to_bits())
            };
            let by_tensor = found.by_tensor.entry((site, kind, tensor)).or_insert(Some(entry));
            *by_tensor = by_tensor.filter(|known| same(known));
            let by_site = found.by_site.entry((site, kind)).or_insert(Some(entry));
            *by_site = by_site.filter(|known| same(known) && without_calls(&known.tensor) == tensor);
        }
        found
    }

    fn find(&self, site: &str, kind: QuantType, tensor: &str) -> Option<&'a SiteRange> {
        let by_tensor = self.by_tensor.get(&(site, kind, tensor)).copied();
        by_tensor.unwrap_or_else(|| self.by_site.get(&(site, kind)).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two calls of one function, each with an input of its own.
    #[test]
    fn what_was_measured_in_one_call_holds_in_the_others() {
        let copy = |input: &str, call: &str| {
            format!(
                "node {{ name: '{input}' op: 'Placeholder' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} }}
                 node {{ name: '{call}/fc' op: 'MatMul' input: '{input}' input: 'w' attr {{ key: 'T' value {{ type: DT_FLOAT }} }} }}"
            )
        };
        let weight = "dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 1 } } float_val: 1";
        let text = [
            format!("node {{ name: 'w' op: 'Const' attr {{ key: 'value' value {{ tensor {{ {weight} }} }} }} }}"),
            copy("x", "StatefulPartitionedCall"),
            copy("y", "StatefulPartitionedCall_1"),
        ]
        .concat();
        let graph = Graph::from_bytes(crate::graphdef::text::parse(text.as_bytes()).unwrap()).unwrap();
        let entry = |site: &str, tensor: &str, max: f32| {
            SiteRange::new(site, QuantType::Input, tensor, quant_math::Range { min: 0.0, max })
        };
        let ranges = |entries: Vec<SiteRange>| Ranges {
            version: quant_math::ranges::RANGES_VERSION,
            framework: "tensorflow 2.21.0".to_owned(),
            model: quant_math::ranges::ModelId { file: String::new(), fingerprint: graph.fingerprint() },
            config: None,
            observer: quant_math::plan::Observer::MinMax,
            samples: 1,
            batch: None,
            folded: Vec::new(),
            ranges: entries,
        };
        let config = "[{ op_types: ['MatMul'], quant_types: ['input'], quant_bits: 8 }]";
        let config = ConfigList::parse(config, Some(quant_math::Quantizer::Qat)).unwrap();
        let all = |entries| {
            let found = graph.for_all_callers(&config, &ranges(entries)).unwrap().unwrap();
            found.ranges.into_iter().map(|entry| (entry.site, entry.tensor, entry.max)).collect::<Vec<_>>()
        };
        let named = |site: &str, tensor: &str, max: f32| (site.to_owned(), tensor.to_owned(), max);
        let copies = [
            named("fc", "input:0", 2.0),
            named("StatefulPartitionedCall/fc", "x:0", 2.0),
            named("StatefulPartitionedCall_1/fc", "y:0", 2.0),
        ];
        assert_eq!(all(vec![entry("fc", "input:0", 2.0)]), copies);
        // Two calls that saw different values say nothing of a third.
        let different = vec![entry("PartitionedCall/fc", "a:0", 2.0), entry("PartitionedCall_1/fc", "b:0", 3.0)];
        assert_eq!(all(different).len(), 2);
        let complete =
            vec![entry("StatefulPartitionedCall/fc", "x:0", 1.0), entry("StatefulPartitionedCall_1/fc", "y:0", 2.0)];
        assert!(graph.for_all_callers(&config, &ranges(complete)).unwrap().is_none());
    }
}
