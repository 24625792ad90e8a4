//! NNI's own calls for graphs of the `tensorflow` crate: a graph goes in, a graph comes out, to be trained or run with the crate's own
//! session.
//!
//! ```no_run
//! use quant_math::config::ConfigList;
//! use quant_math::Quantizer;
//! use tf_rewriter::run::{self, QatQuantizer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! run::load()?;
//! let mut graph = tensorflow::Graph::new();
//! // … the model, with variables …
//! let config_list = ConfigList::parse("[{quant_types: ['weight', 'output'], quant_bits: 8, op_types: 'default'}]", Some(Quantizer::Qat))?;
//! let quantized: tensorflow::Graph = QatQuantizer::new(&graph, &config_list)?.compress()?;
//! # Ok(())
//! # }
//! ```

use quant_math::config::ConfigList;
use quant_math::nni::{self, Compress};
use quant_math::plan::{Gradient, PlanOptions};
use tensorflow::ImportGraphDefOptions;

use super::RunError;
use crate::error::Error;
use crate::graphdef::graph::Graph;

/// NNI's `NaiveQuantizer` for a graph of the `tensorflow` crate.
pub type NaiveQuantizer<'g> = nni::NaiveQuantizer<GraphRef<'g>>;

/// NNI's `QAT_Quantizer` for a graph of the `tensorflow` crate. Gradients pass the rounding in the form that the crate's
/// `add_gradients` can differentiate ([`Gradient::Composed`]).
pub type QatQuantizer<'g> = nni::QatQuantizer<GraphRef<'g>>;

/// NNI's `DoReFaQuantizer` for a graph of the `tensorflow` crate.
pub type DoReFaQuantizer<'g> = nni::DoReFaQuantizer<GraphRef<'g>>;

/// A graph of the `tensorflow` crate that is to be quantized.
#[derive(Debug, Clone, Copy)]
pub struct GraphRef<'g>(&'g tensorflow::Graph);

impl<'g> From<&'g tensorflow::Graph> for GraphRef<'g> {
    fn from(graph: &'g tensorflow::Graph) -> Self {
        Self(graph)
    }
}

impl Compress for GraphRef<'_> {
    type Compressed = tensorflow::Graph;
    type Error = Error;

    fn compress(self, config_list: &ConfigList, options: PlanOptions<'_>) -> Result<tensorflow::Graph, Error> {
        let failed = |action: &str| {
            let action = action.to_owned();
            move |status: tensorflow::Status| RunError::TensorFlow {
                action,
                on: String::new(),
                message: status.to_string(),
            }
        };
        super::load()?;
        let graph = Graph::from_bytes(self.0.graph_def().map_err(failed("write the graph"))?)?;
        let options = PlanOptions { gradient: Gradient::Composed, ..options };
        let mut bytes = Vec::new();
        let plan = graph.plan(config_list, options)?;
        graph.apply(&plan)?.write(&mut bytes)?;
        let mut quantized = tensorflow::Graph::new();
        quantized
            .import_graph_def(&bytes, &ImportGraphDefOptions::new())
            .map_err(failed("read the quantized graph"))?;
        Ok(quantized)
    }
}
