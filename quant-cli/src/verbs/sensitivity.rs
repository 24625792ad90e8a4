//! `sensitivity`: what each site costs at each number of bits. Adapters run the model; this is what they are told, and what they tell.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use quant_math::Quantizer;
use quant_math::config::ConfigList;
use quant_math::plan::Reason;
use quant_math::sensitivity::Sensitivity;

use crate::args::{GlobalArgs, QuantizeArgs, probe};
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::files::Files;
use crate::sensitivity::{sensitivity, sensitivity_html};

/// Arguments of `sensitivity`, but for the model and what it runs on.
#[derive(Debug, Args)]
pub struct TrialArgs {
    #[command(flatten)]
    quantize: QuantizeArgs,

    /// The numbers of bits at which each site is tried (comma-separated)
    #[arg(long, value_name = "BITS", value_delimiter = ',', default_values_t = [8, 6, 4, 3])]
    pub bits: Vec<u32>,

    /// Try every site but one, too: which one is missed most
    #[arg(long)]
    pub all_but: bool,

    /// Write every number as one HTML file
    #[arg(long, value_name = "R.html")]
    report: Option<PathBuf>,
}

impl TrialArgs {
    /// With what else is read and written.
    #[must_use]
    pub fn files(&self, files: Files) -> Files {
        let files = files.may_read("the config", self.quantize.config.as_ref());
        files.may_write("the report", self.report.as_ref())
    }

    /// The config that was given, or every weight of the default ops by the naive quantizer. Bits that its quantizer does not have, and a report
    /// that cannot be made, are refused before there is work.
    ///
    /// # Errors
    /// Those; everything that is wrong with the config.
    pub fn config_list(&self) -> Result<ConfigList, Failure> {
        let mut given = self.quantize.clone();
        if given.config.is_none() && given.quantizer.is_none() {
            given.quantizer = Some(Quantizer::Naive);
        }
        let config = given.config_list()?;
        let row = config.quantizer.row();
        if let Some(wrong) = self.bits.iter().find(|bits| !row.bits.contains(**bits)) {
            let (name, words) = (row.name, row.bits.words);
            let text = format!("`--bits`: {wrong} is out of range for {name}, expected {words}");
            return Err(Failure::usage(Diagnostic::error("U0203", text)));
        }
        if let Some(report) = &self.report {
            probe(report)?;
        }
        Ok(config)
    }

    /// What of the config matches nothing, as `compress` takes it, and what else there is to know.
    ///
    /// # Errors
    /// Those of [`QuantizeArgs::check`].
    pub fn check(&self, global: &GlobalArgs, warnings: &[Reason]) -> Result<(), Failure> {
        self.quantize.check_all(global, warnings)
    }

    /// Write the report, and print what was measured.
    ///
    /// # Errors
    /// A file or a stream that cannot be written.
    pub fn tell(&self, global: &GlobalArgs, found: &Sensitivity) -> Result<(), Failure> {
        if let Some(path) = &self.report {
            model_file::atomic::write(path, sensitivity_html(found).as_bytes())?;
        }
        let mut out = global.out();
        if global.json {
            out.json(found)?;
        } else {
            write!(out, "{}", sensitivity(found))?;
        }
        Ok(out.finish()?)
    }
}
