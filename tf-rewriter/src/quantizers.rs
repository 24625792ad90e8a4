//! NNI's own calls, over plan and apply.

use quant_math::config::ConfigList;
use quant_math::plan::PlanOptions;
use quant_math::ranges::Ranges;
use quant_math::{Emit, Quantizer};

use crate::Error;
use crate::apply::Compressed;
use crate::graph::Graph;

/// What all quantizers hold.
#[derive(Debug)]
struct Call {
    graph: Graph,
    config_list: ConfigList,
    emit: Option<Emit>,
    ranges: Option<Ranges>,
}

impl Call {
    fn new(graph: Graph, config_list: &ConfigList, expected: Quantizer) -> Result<Self, Error> {
        let found = config_list.quantizer;
        if found != expected {
            return Err(Error::Quantizer { found, expected });
        }
        Ok(Self { graph, config_list: config_list.clone(), emit: None, ranges: None })
    }

    fn compress(self) -> Result<Compressed, Error> {
        let options = PlanOptions { emit: self.emit, ranges: self.ranges.as_ref(), strict: false };
        let plan = self.graph.plan(&self.config_list, options)?;
        self.graph.apply(&plan, self.ranges.as_ref())
    }
}

macro_rules! quantizer {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Call);

        impl $name {
            /// Choose the form of the output.
            #[must_use]
            pub fn emit(mut self, emit: Emit) -> Self {
                self.0.emit = Some(emit);
                self
            }

            /// Plan and apply.
            ///
            /// # Errors
            /// As [`Graph::plan`] and [`Graph::apply`].
            pub fn compress(self) -> Result<Compressed, Error> {
                self.0.compress()
            }
        }
    };
}

quantizer! {
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
    NaiveQuantizer
}

quantizer! {
    /// NNI's `QAT_Quantizer`: weights and activations after Jacob et al. 2018.
    QatQuantizer
}

quantizer! {
    /// NNI's `DoReFaQuantizer`: weights and activations after Zhou et al. 2016.
    DoReFaQuantizer
}

impl NaiveQuantizer {
    /// Quantize with the default config; see [`NaiveQuantizer::with_config`] for another.
    pub fn new(graph: Graph) -> Self {
        let config_list = ConfigList::default_for(Quantizer::Naive);
        Self(Call { graph, config_list, emit: None, ranges: None })
    }

    /// Quantize what a `config_list` selects.
    ///
    /// # Errors
    /// [`Error::Quantizer`] for a config of another quantizer.
    pub fn with_config(graph: Graph, config_list: &ConfigList) -> Result<Self, Error> {
        Call::new(graph, config_list, Quantizer::Naive).map(Self)
    }
}

impl QatQuantizer {
    /// Quantize what a `config_list` selects.
    ///
    /// # Errors
    /// [`Error::Quantizer`] for a config of another quantizer.
    pub fn new(graph: Graph, config_list: &ConfigList) -> Result<Self, Error> {
        Call::new(graph, config_list, Quantizer::Qat).map(Self)
    }

    /// Measured activation ranges, which `inference` needs for inputs and outputs.
    #[must_use]
    pub fn ranges(mut self, ranges: Ranges) -> Self {
        self.0.ranges = Some(ranges);
        self
    }
}

impl DoReFaQuantizer {
    /// Quantize what a `config_list` selects.
    ///
    /// # Errors
    /// [`Error::Quantizer`] for a config of another quantizer.
    pub fn new(graph: Graph, config_list: &ConfigList) -> Result<Self, Error> {
        Call::new(graph, config_list, Quantizer::DoReFa).map(Self)
    }
}
