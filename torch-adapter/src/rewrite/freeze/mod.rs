//! `freeze`: a trained archive becomes `inference`, `baked` or `packed`.
//!
//! Every call of a quantizer module is replaced: by an op with constants (`inference`), or by its bare argument, whose values are then quantized
//! where they are stored (`baked`, `packed`). The quantizer modules go.

mod calls;
mod plan;
pub(crate) mod trained;

use std::collections::{BTreeMap, BTreeSet};

use quant_math::fate::Fate;
use quant_math::kernels::torch::{CodeType, QParams, Scheme};
use quant_math::plan::{Decision, NoPlan, Plan, Reason, Settings};
use quant_math::weights::{WeightMap, weight_ranges};
use quant_math::{Affine, Emit, Grid, QuantType, Quantizer, Range, frozen};

use super::apply::write::Compressed;
use super::edit::editor::{Editor, Wrap};
use super::edit::output::Output;
use super::emit::copy::{self, Copies};
use super::emit::{dorefa, fake_quant, lsq, packed};
use super::weights::{Observed, WeightSite, layout, observe_all};
use crate::codes;
use crate::error::{At, Error};
use crate::find::injected::{Class, Function, PASSES};
use crate::find::model::Model;
use crate::find::readers::Place;
use crate::find::sites::Spot;
use crate::torchscript::code::ExprKind;
use crate::torchscript::folder::Folder;
use crate::torchscript::heap::{ObjectId, unmangle};
use calls::Calls;
use plan::FreezePlan;
use trained::Trained;

impl Model {
    /// Turn what a `training` archive has learnt into another form of output.
    ///
    /// # Errors
    ///
    /// `training` as the form; an archive without quantizers; NaN or infinite weights.
    pub fn freeze(self, emit: Emit) -> Result<Compressed, Error> {
        let frozen = self.make_frozen(emit);
        let (plan, output, fates, warnings) = self.in_file(frozen)?;
        Ok(Compressed::new(self, plan, output, fates, warnings))
    }

    fn make_frozen(&self, emit: Emit) -> Result<(Plan, Output, Vec<Fate>, Vec<Reason>), Error> {
        frozen::check_form(emit)?;
        let all_trained = Trained::all(self)?;
        if all_trained.is_empty() {
            return Err(Error::NotTraining);
        }
        let calls = Calls::of(self);
        let FreezePlan { plan, places, shared } = self.freeze_plan(&all_trained, &calls, emit);
        let mut output = Output::new(self);
        let mut freezer = Freezer {
            model: self,
            emit,
            calls,
            places,
            editor: Editor::new(self, output.new_memo(Folder::Data)),
            output,
            copies: Copies::default(),
            fates: Fate::all_of(&plan),
            warnings: Vec::new(),
            gone: BTreeSet::new(),
        };
        freezer.run(&all_trained, &plan)?;
        freezer.output.mark(self.mark(), &plan)?;
        let Freezer { editor, mut output, mut fates, mut warnings, .. } = freezer;
        for (fate, first) in (all_trained.len()..).zip(shared) {
            let first = fates.get(first).cloned();
            if let Some((fate, first)) = fates.get_mut(fate).zip(first) {
                *fate = first;
            }
        }
        output.finish(editor)?;
        warnings.extend(output.drop_bytecode(self));
        Ok((plan, output, fates, warnings))
    }
}

struct Freezer<'m> {
    model: &'m Model,
    emit: Emit,
    calls: Calls<'m>,
    /// Where weights go, by the positions of their sites.
    places: BTreeMap<usize, Place>,
    editor: Editor<'m>,
    output: Output,
    copies: Copies,
    fates: Vec<Fate>,
    warnings: Vec<Reason>,
    /// Quantizers that go.
    gone: BTreeSet<ObjectId>,
}

impl Freezer<'_> {
    fn run(&mut self, all_trained: &[Trained], plan: &Plan) -> Result<(), Error> {
        let observed = self.observe(all_trained, plan)?;
        for (position, (trained, site)) in all_trained.iter().zip(&plan.sites).enumerate() {
            let keeps = matches!(&site.decision, Decision::Skip(reason) if keeps_quantizer(reason));
            if keeps {
                continue;
            }
            let wrap = match (site.settings(), self.emit) {
                (Some(settings), Emit::Inference) => {
                    Some(self.constant(position, trained, settings, observed.get(&position))?)
                }
                (Some(_), _) => {
                    if let Some(found) = observed.get(&position) {
                        if let Some(fate) = self.fates.get_mut(position) {
                            found.tell(self.model, self.emit, fate)?;
                        }
                        let stored = self.stored(position, found);
                        if stored.is_some() {
                            self.warnings.push(copy::warning(&site.tensor, &site.op));
                        }
                        stored
                    } else {
                        None
                    }
                }
                (None, _) => None,
            };
            self.replace_calls(trained, wrap.as_ref())?;
            self.gone.insert(trained.object);
        }
        if self.emit == Emit::Packed {
            let in_place = |(position, _): &(&usize, &Observed)| self.places.get(position) == Some(&Place::InPlace);
            let observed = observed.iter().filter(in_place).map(|(_, found)| found);
            packed::pack(&mut self.editor, &mut self.output, observed, &mut self.fates);
        }
        self.remove_modules();
        Ok(())
    }

    /// Put a weight's quantized form where it goes: `None`, or what is put in the place of the quantizer.
    fn stored(&mut self, position: usize, weight: &Observed) -> Option<Wrap> {
        match (self.places.get(&position)?, self.emit) {
            (Place::InPlace, Emit::Baked) => {
                self.output.bake(weight);
                None
            }
            (Place::InPlace, _) => None,
            (Place::Copy, _) => {
                let wrap = self.copies.wrap(self.model, &mut self.output, &mut self.editor.used, weight, self.emit)?;
                if let Some(fate) = self.fates.get_mut(position) {
                    fate.bytes_after += wrap.bytes();
                }
                Some(wrap)
            }
        }
    }

    fn observe(&self, all_trained: &[Trained], plan: &Plan) -> Result<BTreeMap<usize, Observed>, Error> {
        let mut sites = Vec::new();
        for (position, (trained, site)) in all_trained.iter().zip(&plan.sites).enumerate() {
            let tensor = self.calls.tensor(trained.object);
            if let (Some(settings), Some(tensor), QuantType::Weight) = (site.settings(), tensor, site.kind) {
                let calls = self.calls.of_quantizer(trained.object).iter();
                sites.push(WeightSite {
                    site: position,
                    name: site.tensor.clone(),
                    tensor,
                    settings: *settings,
                    steps: site.steps.clone(),
                    axis: None,
                    biases: calls.filter_map(|call| call.bias).collect(),
                });
            }
        }
        observe_all(self.model, sites)
    }

    /// The op with constants that does what the quantizer does in evaluation, bit for bit.
    fn constant(
        &mut self,
        position: usize,
        trained: &Trained,
        settings: &Settings,
        weight: Option<&Observed>,
    ) -> Result<Wrap, Error> {
        let math = |source| Error::Math { tensor: trained.path.clone(), source };
        if let (Some(weight), Some(fate)) = (weight, self.fates.get_mut(position)) {
            weight.tell(self.model, self.emit, fate)?;
        }
        if settings.quantizer == Quantizer::DoReFa {
            return Ok(self.using(match weight {
                Some(_) => dorefa::inference_weight(settings),
                None => dorefa::inference_activation(settings),
            }));
        }
        let Some(weight) = weight else {
            if let Some([step]) = trained.steps() {
                let wrap = lsq::inference_activation(settings, *step, self.model.float_type()).map_err(math)?;
                if let Some(fate) = self.fates.get_mut(position) {
                    fate.scale = Some((*step, *step));
                }
                return Ok(self.using(wrap));
            }
            let range = trained.range().ok_or_else(|| NoPlan::MissingRanges(vec![trained.path.clone()]))?;
            let affine = parameters(settings, range).map_err(math)?;
            if let Some(fate) = self.fates.get_mut(position) {
                fate.scale = Some((affine.scale(), affine.scale()));
            }
            return Ok(self.using(fake_quant::activation(affine, self.model.float_type())));
        };
        let stored = &weight.stored;
        let axis = settings.channel_axis;
        if let (Some(_), WeightMap::Affine(map)) = (trained.steps(), &*weight.map) {
            return Ok(self.using(fake_quant::weight(map.channels(), stored.dtype, axis)));
        }
        let layout =
            layout(stored, axis).ok_or_else(|| Error::Plan { message: "a channel axis is gone".to_owned() })?;
        let bytes = stored.bytes(self.model.archive())?;
        let data = stored.data(&bytes);
        let ranges = weight_ranges(settings, layout, &weight.biases, &data).map_err(math)?;
        let channels: Vec<Affine> =
            ranges.into_iter().map(|range| parameters(settings, range)).collect::<Result<_, _>>().map_err(math)?;
        Ok(self.using(fake_quant::weight(&channels, stored.dtype, axis)))
    }

    /// A wrap, whose function is then a part of the output.
    fn using(&mut self, (wrap, function): (Wrap, Option<Function>)) -> Wrap {
        self.editor.used.functions.extend(function);
        wrap
    }

    /// Put `wrap`, or nothing, in the place of every call of the quantizer.
    fn replace_calls(&mut self, trained: &Trained, wrap: Option<&Wrap>) -> Result<(), Error> {
        let model = self.model;
        let calls = self.calls.of_quantizer(trained.object).to_vec();
        let stem = trained.path.rsplit('.').next().unwrap_or_default().replace("_quantizer", "");
        let home = model.holders(trained.object).first().map(|(holder, _)| *holder);
        let names = match (home, wrap) {
            (Some(home), Some(wrap)) => {
                let tensor = self.calls.tensor(trained.object);
                let device =
                    tensor.map_or_else(|| model.contents().device_of(home), |tensor| model.contents().device(tensor));
                self.editor.declare(home, &stem, wrap, device)
            }
            _ => Vec::new(),
        };
        for call in calls {
            let around = match (home, wrap) {
                (Some(home), Some(wrap)) => self.editor.text_at(call.spot, home, wrap, &names)?,
                _ => Some((String::new(), String::new())),
            };
            let Some((before, after)) = around else { continue };
            self.replace_call(call.spot, before, after)?;
        }
        Ok(())
    }

    fn replace_call(&mut self, spot: Spot, before: String, after: String) -> Result<(), Error> {
        let gone = || Error::Code { message: "a call of a quantizer is gone".to_owned(), at: At::default() };
        let function = self.model.program().function(spot.function).ok_or_else(gone)?;
        let call = function.expr(spot.expr).ok_or_else(gone)?;
        let ExprKind::Call { arguments, .. } = &call.kind else { return Err(gone()) };
        let argument = arguments.first().and_then(|argument| function.expr(argument.value)).ok_or_else(gone)?;
        let edit = self.editor.edits.entry(spot.object).or_default();
        edit.replace(call.span.start, argument.span.start, before);
        edit.replace(argument.span.end, call.span.end, after);
        Ok(())
    }

    /// Take the quantizers out of the modules that hold them, and the lines that read them.
    fn remove_modules(&mut self) {
        let model = self.model;
        self.gone.extend(self.idle_passes());
        for quantizer in &self.gone {
            for (holder, name) in model.holders(*quantizer) {
                if self.gone.contains(&holder) {
                    continue;
                }
                self.editor.edits.entry(holder).or_default().dropped.push(name.to_owned());
                self.output.removed_attributes.push((holder, name.to_owned()));
            }
        }
        for read in &model.sites().quantizer_reads {
            if self.gone.contains(&read.quantizer) {
                self.remove_line(read.spot);
            }
        }
        for call in &model.sites().quantizers {
            let is_passes = |object| model.heap().object(object).is_some_and(|found| unmangle(&found.class) == PASSES);
            if self.gone.contains(&call.quantizer) && is_passes(call.quantizer) {
                self.remove_line(call.spot);
            }
        }
        self.output.drop_objects(model, &self.gone);
    }

    /// The objects that number passes for quantizers of which none stays.
    fn idle_passes(&self) -> Vec<ObjectId> {
        let objects = self.model.heap().objects.iter().enumerate();
        let passes = objects.filter(|(_, object)| unmangle(&object.class) == PASSES).map(|(id, _)| ObjectId(id));
        let is_quantizer = |holder: ObjectId| {
            self.model.heap().object(holder).is_some_and(|found| Class::of(&unmangle(&found.class)).is_some())
        };
        let idle = |passes: &ObjectId| {
            let mut holders = self.model.holders(*passes).into_iter().map(|(holder, _)| holder);
            holders.all(|holder| self.gone.contains(&holder) || !is_quantizer(holder))
        };
        passes.filter(idle).collect()
    }

    /// Remove a statement that is, or takes the value of, an expression; one that is a part of a call is replaced with the call as a whole.
    fn remove_line(&mut self, spot: Spot) {
        let program = self.model.program();
        let Some(function) = program.function(spot.function) else { return };
        let Some(position) = self.calls.statement(spot.function, spot.expr) else { return };
        let Some(statement) = function.body.get(position) else { return };
        let neighbour = |at: Option<usize>| {
            at.and_then(|at| function.body.get(at)).is_some_and(|other| other.depth == statement.depth)
        };
        // A block must keep a line.
        let alone = !neighbour(position.checked_sub(1)) && !neighbour(position.checked_add(1));
        let text = program.text(spot.function.file);
        let edit = self.editor.edits.entry(spot.object).or_default();
        if alone {
            edit.replace(statement.span.start, statement.span.end, "pass".to_owned());
        } else {
            let line = super::edit::class_edit::whole_line(text, &statement.span);
            edit.replace(line.start, line.end, String::new());
        }
    }
}

/// Reasons for which a quantizer stays as it is.
fn keeps_quantizer(reason: &Reason) -> bool {
    reason.is(codes::SETTINGS_UNKNOWN) || reason.is(codes::COMPUTED_WEIGHT)
}

/// Scale and zero point as torch's observers compute them.
fn parameters(settings: &Settings, range: Range) -> Result<Affine, quant_math::MathError> {
    let (grid, scheme, codes) = if settings.symmetric {
        (Grid::signed_narrow(settings.bits)?, Scheme::Symmetric, CodeType::QInt8)
    } else {
        (Grid::unsigned(settings.bits)?, Scheme::Affine, CodeType::QUInt8)
    };
    let computed = QParams::new(scheme, codes, Some((grid.quant_min(), grid.quant_max())))?;
    let (scale, zero_point) = computed.calculate(Some(range))?;
    let Range { min, max } = range;
    Affine::from_parts(scale, zero_point, grid).ok_or(quant_math::MathError::RangeOverflow { min, max })
}
