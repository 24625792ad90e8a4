//! From the sites of a plan to changes.

use std::collections::BTreeMap;

use quant_math::plan::{Plan, Reason, Settings, Site};
use quant_math::ranges::{RangeLookup, Ranges};
use quant_math::weights::WeightMap;
use quant_math::{Emit, QuantType, Quantizer};

use super::class_edit::Listed;
use super::compressed::{Compressed, Fate};
use super::editor::{Editor, Wrap};
use super::output::Output;
use super::value::NewValue;
use super::weights::{Observed, WeightSite, observe_all};
use super::{dorefa, naive, packed, qat, stem, thaw};
use crate::error::Error;
use crate::model::Model;
use crate::sites::heap::ObjectId;
use crate::sites::{Edge, Op, OpWeight, WeightSpot};

impl Model {
    /// Carry out a plan that was made for this model. Weights are looked at here; they are quantized while the result is written.
    ///
    /// `ranges` are those that the plan was made with.
    ///
    /// # Errors
    ///
    /// A plan of another model; NaN or infinite weights.
    pub fn apply(self, plan: &Plan, ranges: Option<&Ranges>) -> Result<Compressed, Error> {
        let applied = self.changes(plan, ranges);
        let (output, fates, warnings) = self.in_file(applied)?;
        Ok(Compressed::new(self, plan.clone(), output, fates, warnings))
    }

    fn changes(&self, plan: &Plan, ranges: Option<&Ranges>) -> Result<(Output, Vec<Fate>, Vec<Reason>), Error> {
        let mut applier = Applier {
            model: self,
            emit: plan.emit,
            ranges: ranges.map(Ranges::lookup),
            editor: Editor::new(self),
            output: Output::new(self),
            fates: plan.sites.iter().map(Fate::before).collect(),
            warnings: Vec::new(),
        };
        applier.run(plan)?;
        if !plan.is_empty() {
            applier.output.mark(self.mark(), plan)?;
        }
        let Applier { editor, mut output, fates, mut warnings, .. } = applier;
        output.finish(editor)?;
        warnings.extend(output.drop_bytecode(self));
        Ok((output, fates, warnings))
    }
}

struct Applier<'m> {
    model: &'m Model,
    emit: Emit,
    ranges: Option<RangeLookup<'m>>,
    editor: Editor<'m>,
    output: Output,
    fates: Vec<Fate>,
    warnings: Vec<Reason>,
}

/// The op and weight of every weight site of a plan.
type WeightOps<'m> = BTreeMap<usize, (&'m Op, &'m OpWeight)>;

impl<'m> Applier<'m> {
    fn run(&mut self, plan: &Plan) -> Result<(), Error> {
        let model = self.model;
        let mut ops: WeightOps<'m> = BTreeMap::new();
        let mut sites = Vec::new();
        for (position, site) in plan.sites.iter().enumerate() {
            let Some(settings) = site.settings().filter(|_| site.kind == QuantType::Weight) else { continue };
            let (op, weight, tensor) = find_weight(model, site)?;
            ops.insert(position, (op, weight));
            sites.push(WeightSite {
                site: position,
                name: site.tensor.clone(),
                tensor,
                settings: *settings,
                axis: weight.axis,
            });
        }
        let needs_values = self.emit != Emit::Training;
        let observed = if needs_values { observe_all(model, sites)? } else { Vec::new() };
        let observed: BTreeMap<usize, Observed> = observed.into_iter().map(|found| (found.site.site, found)).collect();
        // Sites in the plan's order: of two wraps around one expression the later one is the outer one, and an op comes after what it reads.
        for (position, site) in plan.sites.iter().enumerate() {
            let Some(settings) = site.settings() else { continue };
            match site.kind {
                QuantType::Weight => {
                    let Some((op, weight)) = ops.get(&position).copied() else { continue };
                    self.weight(position, op, weight, settings, observed.get(&position))?;
                }
                QuantType::Input | QuantType::Output => self.activation(position, site, settings)?,
                QuantType::Gradient => return Err(Error::Gradient),
            }
        }
        if self.emit == Emit::Packed {
            packed::pack(&mut self.editor, &mut self.output, observed.values(), &mut self.fates);
        }
        if self.emit == Emit::Training && !plan.is_empty() {
            self.warnings.extend(thaw::thaw(&mut self.editor, &mut self.output)?);
            self.give_mode();
        }
        self.editor.close_lists()
    }

    /// A frozen model has no mode; what trains needs one.
    fn give_mode(&mut self) {
        let Some(root) = self.model.heap().root else { return };
        if self.model.is_frozen() {
            let name = "training";
            if self.editor.unique(root, name) == name {
                self.editor.add(root, name, "bool".to_owned(), Listed::No, NewValue::Bool(false));
            }
        }
    }

    fn weight(
        &mut self,
        position: usize,
        op: &Op,
        weight: &OpWeight,
        settings: &Settings,
        observed: Option<&Observed>,
    ) -> Result<(), Error> {
        let math = |source| Error::Math { tensor: weight.name.clone(), source };
        if let (Some(observed), Some(fate)) = (observed, self.fates.get_mut(position)) {
            fate.observed(observed);
            if *observed.map == WeightMap::Unchanged {
                return Ok(());
            }
        }
        let wrap = match (self.emit, observed) {
            (Emit::Training, _) => Some(match settings.quantizer {
                Quantizer::DoReFa => dorefa::training_weight(settings),
                Quantizer::Naive | Quantizer::Qat => qat::training_weight(settings).map_err(math)?,
            }),
            (Emit::Inference, Some(observed)) => {
                let dtype = observed.stored.dtype;
                match settings.quantizer {
                    Quantizer::Naive => naive::inference_weight(&observed.map, dtype, settings.channel_axis),
                    Quantizer::Qat => qat::inference_weight(&observed.map, dtype, settings.channel_axis),
                    Quantizer::DoReFa => {
                        let (wrap, function) = dorefa::inference_weight(settings);
                        self.editor.used.functions.insert(function);
                        Some(wrap)
                    }
                }
            }
            (Emit::Baked, Some(observed)) => {
                self.output.bake(observed);
                None
            }
            _ => None,
        };
        let Some(wrap) = wrap else { return Ok(()) };
        let Some(home) = weight.spots.first().map(|spot| spot.spot.object) else { return Ok(()) };
        let stem = stem::weight(op, weight, self.path(home));
        let missed = self.editor.wrap(&weight.spots, &stem, &wrap)?;
        if !missed.is_empty() {
            let text =
                format!("`{}` is also read in modules that cannot reach its quantizer, and float there", weight.name);
            self.warnings.push(Reason::new("weight-bypassed", text));
        }
        self.added(position, &wrap);
        Ok(())
    }

    fn activation(&mut self, position: usize, site: &Site, settings: &Settings) -> Result<(), Error> {
        let math = |source| Error::Math { tensor: site.tensor.clone(), source };
        let op = find_op(self.model, site)?;
        let mut edges = op.activations(site.kind).into_iter();
        let Some((_, Edge::Spots(spots))) = edges.find(|(tensor, _)| *tensor == site.tensor) else {
            return Err(no_site(site));
        };
        let wrap = match (self.emit, settings.quantizer) {
            (Emit::Training, Quantizer::DoReFa) => dorefa::training_activation(settings),
            (Emit::Training, _) => qat::training_activation(settings).map_err(math)?,
            (_, Quantizer::DoReFa) => {
                let (wrap, function) = dorefa::inference_activation(settings);
                self.editor.used.functions.insert(function);
                wrap
            }
            _ => {
                let range = self.ranges.as_ref().and_then(|ranges| ranges.find(&site.op, site.kind, &site.tensor));
                let range = range.ok_or_else(|| Error::MissingRanges { sites: vec![site.tensor.clone()] })?;
                let (wrap, scale) =
                    qat::inference_activation(settings, range, self.model.float_type()).map_err(math)?;
                if let Some(fate) = self.fates.get_mut(position) {
                    fate.scale = Some((scale, scale));
                }
                wrap
            }
        };
        let Some(home) = spots.first().map(|spot| spot.object) else { return Ok(()) };
        let stem = stem::activation(op, &site.tensor, self.path(home));
        let spots: Vec<WeightSpot> =
            spots.iter().map(|spot| WeightSpot { spot: *spot, call: spot.expr, element: None }).collect();
        self.editor.wrap(&spots, &stem, &wrap)?;
        self.added(position, &wrap);
        Ok(())
    }

    fn path(&self, object: ObjectId) -> &'m str {
        self.model.heap().object(object).map_or("", |object| &object.path)
    }

    fn added(&mut self, position: usize, wrap: &Wrap) {
        if let Some(fate) = self.fates.get_mut(position) {
            fate.bytes_after += wrap.bytes();
        }
    }
}

fn find_op<'m>(model: &'m Model, site: &Site) -> Result<&'m Op, Error> {
    model.sites().ops.iter().find(|op| op.name == site.op).ok_or_else(|| no_site(site))
}

fn find_weight<'m>(
    model: &'m Model,
    site: &Site,
) -> Result<(&'m Op, &'m OpWeight, crate::sites::heap::TensorId), Error> {
    let op = find_op(model, site)?;
    let weight = op.weights.iter().find(|weight| weight.name == site.tensor && weight.blocked.is_none());
    let weight = weight.ok_or_else(|| no_site(site))?;
    Ok((op, weight, weight.tensor.ok_or_else(|| no_site(site))?))
}

fn no_site(site: &Site) -> Error {
    Error::Plan { message: format!("op `{}` has no {} `{}` that can be quantized", site.op, site.kind, site.tensor) }
}
