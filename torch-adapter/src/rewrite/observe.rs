//! A model that measures its activations while it runs, whatever runs it: `Model::observe`.
//!
//! Every activation that needs a range goes through a module that looks at it and hands it on. The modules look in any mode, so that the model
//! can be in evaluation; what they saw is in their buffers, which `torch.jit.save` keeps and `measured` reads.

use quant_math::QuantType;
use quant_math::config::ConfigList;
use quant_math::fate::Fate;
use quant_math::fold::layers;
use quant_math::plan::{Emit, Plan, Reason, Site, nothing_to_measure};
use quant_math::ranges::ModelId;
use serde::{Deserialize, Serialize};

use super::apply::locate::Locator;
use super::apply::write::Compressed;
use super::edit::editor::Editor;
use super::edit::output::Output;
use super::edit::stem;
use super::emit::observe;
use crate::error::{Error, RunError};
use crate::find::mark::TrainingSite;
use crate::find::model::Model;
use crate::find::sites::{Edge, WeightSpot};
use crate::torchscript::folder::Folder;

/// What a model that observes says of the one that it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) model: ModelId,
    /// The config's fingerprint.
    pub(crate) config: String,
    /// How histograms count.
    pub(crate) counting: Counting,
    /// The layers that have taken batch norms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) folded: Vec<String>,
    /// The activations, in the model's order.
    pub(crate) sites: Vec<Key>,
}

/// Op, kind and tensor of an activation.
pub(crate) type Key = (String, QuantType, String);

/// How a model observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counting {
    /// Histograms count some values of a large tensor, at equal distances: [`SAMPLED`] or more. The smallest and the largest value are exact.
    #[default]
    Sampled,
    /// Histograms count every value.
    Exact,
}

/// How many values of a call's tensor [`Counting::Sampled`] counts at least, where there are four times as many or more. By the inequality of
/// Dvoretzky, Kiefer and Wolfowitz a share of n values that were drawn by chance is off by more than `sqrt(ln(2/p) / 2n)` with a probability of
/// at most p: for one call and p = 10⁻⁶ that is 0.03, and it falls with the root of the number of calls.
pub const SAMPLED: u32 = 1 << 13;

impl Model {
    /// The model with what measures the activations that `config` names. One that was [`folded`](Model::folded) is measured so.
    ///
    /// # Errors
    ///
    /// A config without activations that need a range; a model that observes already.
    pub fn observe(self, config: &ConfigList, counting: Counting) -> Result<Compressed, Error> {
        let made = self.observing(config, counting);
        let (output, warnings) = self.in_file(made)?;
        // Nothing is quantized: there is nothing to report of.
        let plan = Plan { warnings, ..Plan::of_nothing(config.quantizer, Emit::Inference) };
        Ok(Compressed::new(self, plan, output, Vec::<Fate>::new(), Vec::new()))
    }

    fn observing(&self, config: &ConfigList, counting: Counting) -> Result<(Output, Vec<Reason>), Error> {
        let (sites, unmatched) = self.activations(config)?;
        if sites.is_empty() {
            let (message, help) = nothing_to_measure(config.quantizer, &unmatched);
            return Err(RunError::Request { message, help: help.to_owned() }.into());
        }
        let mut output = Output::new(self);
        let mut editor = Editor::new(self, output.new_memo(Folder::Data));
        let mut locator = Locator::of(self);
        let most = match counting {
            Counting::Sampled => i64::from(SAMPLED),
            Counting::Exact => 0,
        };
        for site in &sites {
            place(&mut editor, &mut locator, site, most)?;
        }
        let file = self.path().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        let model = ModelId { file: file.unwrap_or_default(), fingerprint: self.fingerprint() };
        let keys = sites.into_iter().map(|site| (site.op, site.kind, site.tensor)).collect();
        let folded = layers(self.folds()).map(str::to_owned).collect();
        let source = Source { model, config: config.calibration_fingerprint(), counting, folded, sites: keys };
        let source = serde_json::to_string(&source).map_err(|error| Error::Plan { message: error.to_string() })?;
        editor.count_samples(source);
        editor.give_mode();
        output.finish(editor)?;
        let mut warnings = unmatched;
        warnings.extend(output.drop_bytecode(self));
        Ok((output, warnings))
    }
}

/// Put an observer around a site.
fn place(editor: &mut Editor<'_>, locator: &mut Locator<'_>, site: &Site, most: i64) -> Result<(), Error> {
    let gone = || Error::Plan { message: format!("op `{}` has no {} `{}`", site.op, site.kind, site.tensor) };
    let settings = *site.settings().ok_or_else(gone)?;
    let Some((op, Edge::Spots { spots, .. })) = locator.activation(site) else { return Err(gone()) };
    let said = TrainingSite {
        home: String::new(),
        op: site.op.clone(),
        kind: site.kind,
        tensor: site.tensor.clone(),
        settings,
    };
    let wrap = observe::observer(said, most);
    let model = editor.model;
    let Some(home) = spots.first().map(|spot| spot.object) else { return Ok(()) };
    let path = model.heap().object(home).map_or("", |object| &object.path);
    let stem = stem::activation(op, &site.tensor, path);
    let spots: Vec<WeightSpot> =
        spots.iter().map(|spot| WeightSpot { spot: *spot, call: spot.expr, element: None }).collect();
    let near = op.weights.iter().find_map(|weight| weight.tensor);
    let device = near.map_or_else(|| model.contents().device_of(home), |tensor| model.contents().device(tensor));
    editor.wrap(&spots, &stem, &wrap, device)?;
    Ok(())
}
