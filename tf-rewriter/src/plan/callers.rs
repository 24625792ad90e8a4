//! A function that is called several times stands in the flat graph as often: what was measured in one place holds in the others.
//!
//! The nodes of a call have its name in front: `StatefulPartitionedCall/dense/MatMul`. Without the names of calls, which begin with those that
//! TensorFlow gives to them, a name means the same in whatever graph was made of the model, be it for one signature or for all.

use std::collections::BTreeMap;

use quant_math::QuantType;
use quant_math::config::ConfigList;
use quant_math::ranges::{Ranges, SiteRange};

use crate::error::Error;
use crate::graphdef::graph::Graph;

impl Graph {
    /// Ranges with entries for sites that are called otherwise than where they were measured. `None` where none is missing.
    pub(super) fn for_all_callers(&self, config: &ConfigList, ranges: &Ranges) -> Result<Option<Ranges>, Error> {
        let has_call = |name: &str| within(name).len() < name.len();
        let any = self.index().scope(0).into_iter().flat_map(|scope| &scope.nodes);
        let any = any.map(|node| node.name.text(self.bytes())).any(has_call);
        if !any && !ranges.ranges.iter().any(|entry| has_call(&entry.site)) {
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
            if let Some(entry) = known.find(&site.op, site.kind, &site.tensor) {
                let (site, tensor) = (site.op.clone(), site.tensor.clone());
                self.budget()
                    .take((size_of::<SiteRange>() + site.len() + tensor.len()) as u64, "the ranges of callers")?;
                all.ranges.push(SiteRange { site, tensor, ..entry.clone() });
            }
        }
        Ok(Some(all))
    }
}

/// A name without the names of calls in front.
fn within(name: &str) -> &str {
    let is_call = |part: &str| {
        let end = part.strip_prefix("Stateful").unwrap_or(part).strip_prefix("PartitionedCall");
        let number = |end: &str| end.strip_prefix('_').is_some_and(|end| end.bytes().all(|byte| byte.is_ascii_digit()));
        end.is_some_and(|end| end.is_empty() || number(end))
    };
    let mut rest = name;
    while let Some((first, more)) = rest.split_once('/')
        && is_call(first)
    {
        rest = more;
    }
    rest
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
            let (site, kind, tensor) = (within(&entry.site), entry.kind, within(&entry.tensor));
            let same = |known: &SiteRange| {
                (known.min.to_bits(), known.max.to_bits()) == (entry.min.to_bits(), entry.max.to_bits())
            };
            let by_tensor = found.by_tensor.entry((site, kind, tensor)).or_insert(Some(entry));
            *by_tensor = by_tensor.filter(|known| same(known));
            let by_site = found.by_site.entry((site, kind)).or_insert(Some(entry));
            *by_site = by_site.filter(|known| same(known) && within(&known.tensor) == tensor);
        }
        found
    }

    fn find(&self, site: &str, kind: QuantType, tensor: &str) -> Option<&'a SiteRange> {
        let (site, tensor) = (within(site), within(tensor));
        let by_tensor = self.by_tensor.get(&(site, kind, tensor)).copied();
        by_tensor.unwrap_or_else(|| self.by_site.get(&(site, kind)).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_calls_are_in_front() {
        for (name, rest) in [
            ("StatefulPartitionedCall/StatefulPartitionedCall_1/dense/MatMul", "dense/MatMul"),
            ("PartitionedCall_12/x:0", "x:0"),
            ("dense/PartitionedCall/MatMul", "dense/PartitionedCall/MatMul"),
            ("StatefulPartitionedCalls/x", "StatefulPartitionedCalls/x"),
            ("PartitionedCall_a/x", "PartitionedCall_a/x"),
            ("StatefulPartitionedCall", "StatefulPartitionedCall"),
        ] {
            assert_eq!(within(name), rest);
        }
    }

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
