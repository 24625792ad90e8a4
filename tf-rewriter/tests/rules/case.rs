//! A rule case: a graph in text form whose leading comments say how to quantize it.
//!
//! ```text
//! # What the rule is.
//! # quantizer: qat
//! # config: [{op_types: ["default"], quant_types: ["weight"], quant_bits: 8}]
//! # emit: baked packed inference
//! # outputs: relu
//! # range: relu:0 0 6
//! # run: no
//! ```
//!
//! `quantizer` is `naive` unless given, `emit` all but `training`, `gradient` is `op`. `range` may stand more than once. `run: no` marks a graph that TensorFlow
//! loads but cannot run as it stands.
#![allow(dead_code, reason = "the comparison with TensorFlow uses more of it")]

use quant_math::config::ConfigList;
use quant_math::plan::Observer;
use quant_math::ranges::{ModelId, RANGES_VERSION, Ranges, SiteRange};
use quant_math::{Emit, Plan, QuantType, Quantizer, Range};
use tf_rewriter::{Compressed, Error, Gradient, Graph, PlanOptions};

/// A case, read.
#[derive(Debug)]
pub(crate) struct Case {
    /// The whole file; its comments are comments to the graph reader too.
    pub(crate) bytes: Vec<u8>,
    pub(crate) config: ConfigList,
    pub(crate) emits: Vec<Emit>,
    gradient: Gradient,
    outputs: Vec<String>,
    ranges: Vec<SiteRange>,
    /// Whether TensorFlow can run the graph.
    pub(crate) runs: bool,
}

impl Case {
    pub(crate) fn read(text: &str) -> Self {
        let lines = text.lines().map_while(|line| line.strip_prefix('#'));
        let keys: Vec<(&str, &str)> = lines
            .filter_map(|line| line.trim().split_once(": "))
            .filter(|(key, _)| ["quantizer", "config", "emit", "gradient", "outputs", "range", "run"].contains(key))
            .collect();
        let find = |wanted: &str| keys.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        let quantizer = match find("quantizer").unwrap_or("naive") {
            "naive" => Quantizer::Naive,
            "qat" => Quantizer::Qat,
            "dorefa" => Quantizer::DoReFa,
            other => panic!("no quantizer `{other}`"),
        };
        let config = find("config").map_or_else(
            || ConfigList::default_for(quantizer),
            |config| ConfigList::parse(config, Some(quantizer)).unwrap_or_else(|errors| panic!("{errors:?}")),
        );
        let emits = find("emit").unwrap_or("baked packed inference").split(' ').map(|emit| match emit {
            "baked" => Emit::Baked,
            "packed" => Emit::Packed,
            "inference" => Emit::Inference,
            "training" => Emit::Training,
            other => panic!("no form `{other}`"),
        });
        let ranges = keys.iter().filter(|(key, _)| *key == "range").map(|(_, value)| {
            let [tensor, min, max] = value.split(' ').collect::<Vec<_>>()[..] else { panic!("no range: {value}") };
            let range = Range::new(min.parse().unwrap(), max.parse().unwrap()).unwrap();
            SiteRange::new("", QuantType::Output, tensor, range)
        });
        Self {
            bytes: text.as_bytes().to_vec(),
            config,
            emits: emits.collect(),
            gradient: if find("gradient") == Some("composed") { Gradient::Composed } else { Gradient::Op },
            outputs: find("outputs").map_or_else(Vec::new, |names| names.split(' ').map(str::to_owned).collect()),
            ranges: ranges.collect(),
            runs: find("run") != Some("no"),
        }
    }

    /// A graph with the case's outputs: the case's own, or one that was made from it.
    pub(crate) fn open(&self, bytes: &[u8]) -> Result<Graph, Error> {
        Graph::from_bytes(bytes.to_vec())?.with_outputs(&self.outputs)
    }

    /// The case's ranges, for this graph.
    pub(crate) fn ranges(&self, graph: &Graph) -> Option<Ranges> {
        (!self.ranges.is_empty()).then(|| Ranges {
            version: RANGES_VERSION,
            framework: String::new(),
            model: ModelId { file: String::new(), fingerprint: graph.fingerprint() },
            config: None,
            observer: Observer::MinMax,
            samples: 1,
            batch: None,
            folded: Vec::new(),
            ranges: self.ranges.clone(),
        })
    }

    pub(crate) fn plan(&self, graph: &Graph, emit: Emit) -> Result<Plan, Error> {
        let ranges = self.ranges(graph);
        graph.plan(
            &self.config,
            PlanOptions {
                emit: Some(emit),
                ranges: ranges.as_ref(),
                gradient: self.gradient,
                ..PlanOptions::default()
            },
        )
    }

    pub(crate) fn compress(&self, emit: Emit) -> Result<Compressed, Error> {
        let graph = self.open(&self.bytes)?;
        let plan = self.plan(&graph, emit)?;
        // What a plan says when it is written down and read again.
        let written = serde_json::to_string(&plan).map(|json| Plan::parse(&json));
        assert_eq!(written.unwrap().unwrap(), plan, "{emit}");
        assert_eq!(graph.check_plan(&plan)?, plan, "{emit}");
        graph.apply(&plan)
    }
}
