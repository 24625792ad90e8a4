//! NNI's own calls for this adapter's models.

use quant_math::config::ConfigList;
use quant_math::nni::{self, Compress};
use quant_math::plan::PlanOptions;

use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::rewrite::apply::Compressed;

/// NNI's `NaiveQuantizer`: 8-bit symmetric weights of every default op.
///
/// ```
/// use tf_rewriter::{Graph, NaiveQuantizer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits.pb");
/// # let folder = tempfile::tempdir()?;
/// # let output = folder.path().join("quantized.pb");
/// let report = NaiveQuantizer::new(Graph::open(model)?).compress()?.write_to(&output)?;
/// assert!(report.sites.iter().all(|site| site.site.settings().is_some()));
/// # Ok(())
/// # }
/// ```
pub type NaiveQuantizer = nni::NaiveQuantizer<Graph>;

/// NNI's `QAT_Quantizer`: weights and activations after Jacob et al. 2018.
pub type QatQuantizer = nni::QatQuantizer<Graph>;

/// NNI's `DoReFaQuantizer`: weights and activations after Zhou et al. 2016.
pub type DoReFaQuantizer = nni::DoReFaQuantizer<Graph>;

/// NNI's `LsqQuantizer`: weights and activations after Esser et al. 2020.
pub type LsqQuantizer = nni::LsqQuantizer<Graph>;

impl Compress for Graph {
    type Compressed = Compressed;
    type Error = Error;

    fn compress(self, config_list: &ConfigList, options: PlanOptions<'_>) -> Result<Compressed, Error> {
        let plan = self.plan(config_list, options)?;
        self.apply(&plan)
    }
}
