//! NNI's own calls for this adapter's models.

use quant_math::config::ConfigList;
use quant_math::nni::{self, Compress};
use quant_math::plan::PlanOptions;

use crate::error::Error;
use crate::find::model::Model;
use crate::rewrite::apply::write::Compressed;

/// NNI's `NaiveQuantizer`: 8-bit symmetric weights of every default op.
///
/// ```no_run
/// use torch_adapter::{Model, NaiveQuantizer};
///
/// # fn main() -> Result<(), torch_adapter::Error> {
/// let report = NaiveQuantizer::new(Model::open("model.pt")?).compress()?.write_to("quantized.pt")?;
/// println!("{} bytes", report.bytes_after);
/// # Ok(())
/// # }
/// ```
pub type NaiveQuantizer = nni::NaiveQuantizer<Model>;

/// NNI's `QAT_Quantizer`: weights and activations after Jacob et al. 2018.
pub type QatQuantizer = nni::QatQuantizer<Model>;

/// NNI's `DoReFaQuantizer`: weights and activations after Zhou et al. 2016.
pub type DoReFaQuantizer = nni::DoReFaQuantizer<Model>;

/// NNI's `LsqQuantizer`: weights and activations after Esser et al. 2020.
pub type LsqQuantizer = nni::LsqQuantizer<Model>;

impl Compress for Model {
    type Compressed = Compressed;
    type Error = Error;

    fn compress(self, config_list: &ConfigList, options: PlanOptions<'_>) -> Result<Compressed, Error> {
        let plan = self.plan(config_list, options)?;
        self.apply(&plan)
    }
}
