//! From the sites of a plan to changes.

pub(crate) mod locate;
mod names;
mod read_back;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet};

use quant_math::fate::Fate;
use quant_math::fold::step;
use quant_math::plan::{NoPlan, Plan, Reason, Settings, Site};
use quant_math::weights::WeightMap;
use quant_math::{Emit, QuantType, Quantizer};

use super::edit::editor::{Editor, Wrap};
use super::edit::output::Output;
use super::edit::stem;
use super::emit::copy::{self, Copies};
use super::emit::{dorefa, fake_quant, lsq, packed, qat};
use super::thaw;
use super::weights::{Observed, WeightSite, observe_all};
use crate::codes;
use crate::error::Error;
use crate::find::injected::Function;
use crate::find::mark::TrainingSite;
use crate::find::model::Model;
use crate::find::readers::{Place, Reader, Wanted};
use crate::find::sites::{Edge, Op, OpWeight, Spot, WeightSpot};
use crate::torchscript::contents::CPU;
use crate::torchscript::folder::Folder;
use crate::torchscript::heap::ObjectId;
use locate::{Locator, WeightOp};
use write::Compressed;

impl Model {
    /// Carry out a plan that was made for this model. Weights are looked at here; they are quantized while the result is written.
    ///
    /// # Errors
    ///
    /// A plan of another model; batch normalizations that cannot be folded as it says; NaN or infinite weights.
    pub fn apply(self, plan: &Plan) -> Result<Compressed, Error> {
        let model = self.folded_by(plan)?;
        let applied = model.changes(plan);
        let (output, fates, warnings) = model.in_file(applied)?;
        Ok(Compressed::new(model, plan.clone(), output, fates, warnings))
    }

    /// The model as it is, ready to be written: for one that was [`folded`](Model::folded).
    ///
    /// # Errors
    ///
    /// A file that changes meanwhile.
    pub fn as_it_is(self) -> Result<Compressed, Error> {
        let plan = Plan {
            prepared: step(self.folds()).into_iter().collect(),
            folds: self.folds().to_vec(),
            ..Plan::of_nothing(Quantizer::Naive, Emit::Baked)
        };
        self.apply(&plan)
    }

    fn changes(&self, plan: &Plan) -> Result<(Output, Vec<Fate>, Vec<Reason>), Error> {
        let mut output = Output::new(self);
        let mut applier = Applier {
            model: self,
            locator: Locator::of(self),
            emit: plan.emit,
            editor: Editor::new(self, output.new_memo(Folder::Data)),
            output,
            copies: Copies::default(),
            wrapped: BTreeSet::new(),
            fates: Fate::all_of(plan),
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
    locator: Locator<'m>,
    emit: Emit,
    editor: Editor<'m>,
    output: Output,
    copies: Copies,
    /// Places of weights that have something around them.
    wrapped: BTreeSet<(Spot, Option<(usize, usize)>)>,
    fates: Vec<Fate>,
    warnings: Vec<Reason>,
}

/// The op and weight of every weight site of a plan, by its position there.
pub(crate) type WeightOps<'m> = BTreeMap<usize, WeightOp<'m>>;

/// The weights that a plan quantizes, found again in the model.
///
/// # Errors
///
/// A plan of another model.
pub(crate) fn weight_sites<'m>(locator: &Locator<'m>, plan: &Plan) -> Result<(WeightOps<'m>, Vec<WeightSite>), Error> {
    let (mut ops, mut sites) = (WeightOps::new(), Vec::new());
    for (position, site) in plan.sites.iter().enumerate() {
        let Some(settings) = site.settings().filter(|_| site.kind == QuantType::Weight) else { continue };
        let found = locator.weight(site).ok_or_else(|| no_site(site))?;
        let tensor = found.weight.tensor.ok_or_else(|| no_site(site))?;
        ops.insert(position, found);
        sites.push(WeightSite {
            site: position,
            name: site.tensor.clone(),
            tensor,
            settings: *settings,
            steps: site.steps.clone(),
            axis: found.weight.axis,
            biases: found.weight.biases.iter().copied().collect(),
        });
    }
    Ok((ops, sites))
}

impl<'m> Applier<'m> {
    fn run(&mut self, plan: &Plan) -> Result<(), Error> {
        let model = self.model;
        let (ops, sites) = weight_sites(&self.locator, plan)?;
        let needs_values = self.emit != Emit::Training;
        let observed = if needs_values { observe_all(model, sites)? } else { BTreeMap::new() };
        let places = self.places(&ops, plan)?;
        if self.emit == Emit::Training && !plan.is_empty() {
            self.warnings.extend(thaw::thaw(&mut self.editor, &mut self.output)?);
        }
        // Sites in the plan's order: of two wraps around one expression the later one is the outer one, and an op comes after what it reads.
        for (position, site) in plan.sites.iter().enumerate() {
            let Some(settings) = site.settings() else { continue };
            match site.kind {
                QuantType::Weight => {
                    let Some(WeightOp { op, weight, .. }) = ops.get(&position).copied() else { continue };
                    let place = places.get(&position).copied().unwrap_or(Place::InPlace);
                    self.weight(position, op, weight, settings, observed.get(&position).map(|found| (found, place)))?;
                }
                QuantType::Input | QuantType::Output => self.activation(position, site, settings)?,
                QuantType::Gradient => return Err(Error::Gradient),
            }
        }
        if self.emit == Emit::Packed {
            let in_place = |(position, _): &(&usize, &Observed)| places.get(position) == Some(&Place::InPlace);
            let observed = observed.iter().filter(in_place).map(|(_, found)| found);
            packed::pack(&mut self.editor, &mut self.output, observed, &mut self.fates);
        }
        if self.emit == Emit::Training && !plan.is_empty() {
            self.editor.number_passes();
            self.editor.give_mode();
        }
        self.editor.close_lists()
    }

    /// Where the weights go that are stored in another form, by the positions of their sites.
    fn places(&self, ops: &WeightOps<'m>, plan: &Plan) -> Result<BTreeMap<usize, Place>, Error> {
        if !matches!(self.emit, Emit::Baked | Emit::Packed) {
            return Ok(BTreeMap::new());
        }
        let found = ops.iter().filter_map(|(position, found)| {
            let (site, number, index) = (plan.sites.get(*position)?, found.number, found.index);
            let wanted = Wanted {
                reader: Reader::Op(number, index),
                tensor: found.weight.tensor?,
                settings: *site.settings()?,
                steps: None,
                spots: found.weight.places(),
            };
            Some((*position, wanted))
        });
        let (positions, wanted): (Vec<usize>, Vec<Wanted>) = found.unzip();
        let places = self.model.places(&wanted, self.emit).into_iter();
        let named = positions.into_iter().zip(places).map(|(position, place)| match place {
            Ok(place) => Ok((position, place)),
            Err(reason) => Err(Error::Plan { message: reason.text }),
        });
        named.collect()
    }

    fn weight(
        &mut self,
        position: usize,
        op: &Op,
        weight: &OpWeight,
        settings: &Settings,
        observed: Option<(&Observed, Place)>,
    ) -> Result<(), Error> {
        let math = |source| Error::Math { tensor: weight.name.clone(), source };
        if let (Some((observed, _)), Some(fate)) = (observed, self.fates.get_mut(position)) {
            observed.tell(self.model, self.emit, fate)?;
            if *observed.map == WeightMap::Unchanged {
                return Ok(());
            }
        }
        let wrap = match (self.emit, observed) {
            (Emit::Training, _) => {
                let site = training_site(&op.name, QuantType::Weight, &weight.name, settings);
                Some(match settings.quantizer {
                    Quantizer::DoReFa => dorefa::training_weight(site),
                    Quantizer::Lsq => {
                        let facts = weight.tensor.and_then(|tensor| self.model.heap().tensor(tensor));
                        lsq::training_weight(site, facts.map_or(&[], |facts| &facts.shape)).map_err(math)?
                    }
                    Quantizer::Naive | Quantizer::Qat => qat::training_weight(site, &weight.beside).map_err(math)?,
                })
            }
            (Emit::Inference, Some((observed, _))) => {
                let dtype = observed.stored.dtype;
                let found = match settings.quantizer {
                    Quantizer::Naive | Quantizer::Qat | Quantizer::Lsq => {
                        fake_quant::mapped(&observed.map, dtype, settings.channel_axis)
                    }
                    Quantizer::DoReFa => Some(dorefa::inference_weight(settings)),
                };
                found.map(|(wrap, function)| self.using(wrap, function))
            }
            (Emit::Baked, Some((observed, Place::InPlace))) => {
                self.output.bake(observed);
                None
            }
            (Emit::Baked | Emit::Packed, Some((observed, Place::Copy))) => {
                let copy = self.copies.wrap(self.model, &mut self.output, &mut self.editor.used, observed, self.emit);
                if copy.is_some() {
                    self.warnings.push(copy::warning(&weight.name, &op.name));
                }
                copy
            }
            _ => None,
        };
        let Some(wrap) = wrap else { return Ok(()) };
        // What one expression hands to several calls is quantized once.
        let mut spots = weight.spots.clone();
        spots.retain(|spot| self.wrapped.insert((spot.spot, spot.element)));
        let Some(home) = spots.first().map(|spot| spot.spot.object) else { return Ok(()) };
        let stem = stem::weight(op, weight, self.path(home));
        let device = weight.tensor.map_or(CPU, |tensor| self.model.contents().device(tensor));
        let missed = self.editor.wrap(&spots, &stem, &wrap, device)?;
        if !missed.is_empty() {
            let text =
                format!("`{}` is also read in modules that cannot reach its quantizer, and float there", weight.name);
            self.warnings.push(Reason::new(codes::WEIGHT_BYPASSED, text));
        }
        self.added(position, &wrap);
        Ok(())
    }

    fn activation(&mut self, position: usize, site: &Site, settings: &Settings) -> Result<(), Error> {
        let math = |source| Error::Math { tensor: site.tensor.clone(), source };
        let Some((op, Edge::Spots { spots, .. })) = self.locator.activation(site) else { return Err(no_site(site)) };
        let said = || training_site(&site.op, site.kind, &site.tensor, settings);
        let wrap = match (self.emit, settings.quantizer) {
            (Emit::Training, Quantizer::DoReFa) => dorefa::training_activation(said()),
            (Emit::Training, Quantizer::Lsq) => lsq::training_activation(said()).map_err(math)?,
            (Emit::Training, _) => qat::training_activation(said()).map_err(math)?,
            (_, Quantizer::DoReFa) => {
                let (wrap, function) = dorefa::inference_activation(settings);
                self.using(wrap, function)
            }
            (_, Quantizer::Lsq) => {
                let Some([step]) = site.steps.as_deref() else { return Err(no_site(site)) };
                let found = lsq::inference_activation(settings, *step, self.model.float_type());
                let (wrap, function) = found.map_err(math)?;
                self.using(wrap, function)
            }
            _ => {
                let range = site.range.ok_or_else(|| NoPlan::MissingRanges(vec![site.tensor.clone()]))?;
                let ((wrap, function), scale) =
                    qat::inference_activation(settings, range, self.model.float_type()).map_err(math)?;
                if let Some(fate) = self.fates.get_mut(position) {
                    fate.scale = Some((scale, scale));
                }
                self.using(wrap, function)
            }
        };
        let Some(home) = spots.first().map(|spot| spot.object) else { return Ok(()) };
        let stem = stem::activation(op, &site.tensor, self.path(home));
        let spots: Vec<WeightSpot> =
            spots.iter().map(|spot| WeightSpot { spot: *spot, call: spot.expr, element: None }).collect();
        let near = op.weights.iter().find_map(|weight| weight.tensor);
        let device =
            near.map_or_else(|| self.model.contents().device_of(home), |tensor| self.model.contents().device(tensor));
        self.editor.wrap(&spots, &stem, &wrap, device)?;
        self.added(position, &wrap);
        Ok(())
    }

    /// `wrap`, whose function is then a part of the output.
    fn using(&mut self, wrap: Wrap, function: Option<Function>) -> Wrap {
        self.editor.used.functions.extend(function);
        wrap
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

/// What a quantizer says of itself once it has a home.
fn training_site(op: &str, kind: QuantType, tensor: &str, settings: &Settings) -> TrainingSite {
    let (op, tensor) = (op.to_owned(), tensor.to_owned());
    TrainingSite { home: String::new(), op, kind, tensor, settings: *settings }
}

pub(crate) fn no_site(site: &Site) -> Error {
    Error::Plan { message: format!("op `{}` has no {} `{}` that can be quantized", site.op, site.kind, site.tensor) }
}
