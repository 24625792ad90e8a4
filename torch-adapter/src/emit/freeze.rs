//! `freeze`: a trained archive becomes `inference`, `baked` or `packed`.
//!
//! Every call of a quantizer module is replaced: by an op with constants (`inference`), or by its bare argument, whose values are then quantized
//! where they are stored (`baked`, `packed`). The quantizer modules go.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::plan::{Decision, Plan, Reason, Settings};
use quant_math::weights::observe_ranges;
use quant_math::{Affine, Emit, Grid, QuantType, Quantizer, Range};

use super::compressed::{Compressed, Fate};
use super::editor::{Editor, Wrap};
use super::observer::Observer;
use super::output::Output;
use super::weights::{Observed, WeightSite, bytes, layout, observe_all};
use super::{dorefa, fake_quant, packed};
use crate::code::{ExprKind, StatementKind};
use crate::error::{At, Error};
use crate::model::Model;
use crate::sites::heap::ObjectId;
use crate::sites::{QuantizerCall, Spot};

/// The least scale that torch's observers give (1.13: `torch.finfo(torch.float32).eps`).
const LEAST_SCALE: f32 = f32::EPSILON;

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
        if emit == Emit::Training {
            return Err(Error::Emit {
                emit,
                why: "is what is frozen, not what comes out".to_owned(),
                help: "use `inference`, `baked` or `packed`".to_owned(),
            });
        }
        let observers = Observer::all(self)?;
        if observers.is_empty() {
            return Err(Error::NotTraining);
        }
        let plan = self.freeze_plan(&observers, emit);
        let mut freezer = Freezer {
            model: self,
            emit,
            editor: Editor::new(self),
            output: Output::new(self),
            fates: plan.sites.iter().map(Fate::before).collect(),
            gone: BTreeSet::new(),
        };
        freezer.run(&observers, &plan)?;
        freezer.output.mark(self.mark(), &plan)?;
        let Freezer { editor, mut output, fates, .. } = freezer;
        output.finish(editor)?;
        let warnings = output.drop_bytecode(self).into_iter().collect();
        Ok((plan, output, fates, warnings))
    }
}

struct Freezer<'m> {
    model: &'m Model,
    emit: Emit,
    editor: Editor<'m>,
    output: Output,
    fates: Vec<Fate>,
    /// Quantizers that go.
    gone: BTreeSet<ObjectId>,
}

impl Freezer<'_> {
    fn run(&mut self, observers: &[Observer], plan: &Plan) -> Result<(), Error> {
        let observed = self.observe(observers, plan)?;
        for (position, (observer, site)) in observers.iter().zip(&plan.sites).enumerate() {
            let keeps = matches!(&site.decision, Decision::Skip(reason) if keeps_quantizer(&reason.code));
            if keeps {
                continue;
            }
            let wrap = match (site.settings(), self.emit) {
                (Some(settings), Emit::Inference) => {
                    Some(self.constant(position, observer, settings, observed.get(&position))?)
                }
                (Some(_), _) => {
                    if let Some(found) = observed.get(&position) {
                        if let Some(fate) = self.fates.get_mut(position) {
                            fate.observed(found);
                        }
                        if self.emit == Emit::Baked {
                            self.output.bake(found);
                        }
                    }
                    None
                }
                (None, _) => None,
            };
            self.replace_calls(observer, wrap.as_ref())?;
            self.gone.insert(observer.object);
        }
        if self.emit == Emit::Packed {
            packed::pack(&mut self.editor, &mut self.output, observed.values(), &mut self.fates);
        }
        self.remove_modules();
        Ok(())
    }

    fn observe(&self, observers: &[Observer], plan: &Plan) -> Result<BTreeMap<usize, Observed>, Error> {
        let mut sites = Vec::new();
        for (position, (observer, site)) in observers.iter().zip(&plan.sites).enumerate() {
            let tensor = self.model.quantized_tensor(observer.object);
            if let (Some(settings), Some(tensor), QuantType::Weight) = (site.settings(), tensor, site.kind) {
                sites.push(WeightSite {
                    site: position,
                    name: site.tensor.clone(),
                    tensor,
                    settings: *settings,
                    axis: None,
                });
            }
        }
        Ok(observe_all(self.model, sites)?.into_iter().map(|found| (found.site.site, found)).collect())
    }

    /// The op with constants that does what the quantizer does in evaluation, bit for bit.
    fn constant(
        &mut self,
        position: usize,
        observer: &Observer,
        settings: &Settings,
        weight: Option<&Observed>,
    ) -> Result<Wrap, Error> {
        let math = |source| Error::Math { tensor: observer.path.clone(), source };
        if let (Some(weight), Some(fate)) = (weight, self.fates.get_mut(position)) {
            fate.observed(weight);
        }
        if settings.quantizer == Quantizer::DoReFa {
            let (wrap, function) = match weight {
                Some(_) => dorefa::inference_weight(settings),
                None => dorefa::inference_activation(settings),
            };
            self.editor.used.functions.insert(function);
            return Ok(wrap);
        }
        let Some(weight) = weight else {
            let range = observer.range().ok_or_else(|| Error::MissingRanges { sites: vec![observer.path.clone()] })?;
            let affine = parameters(settings, range).map_err(math)?;
            if let Some(fate) = self.fates.get_mut(position) {
                fate.scale = Some((affine.scale(), affine.scale()));
            }
            return Ok(fake_quant::activation(affine, self.model.float_type()));
        };
        let stored = &weight.stored;
        let axis = settings.channel_axis;
        let layout =
            layout(stored, axis).ok_or_else(|| Error::Plan { message: "a channel axis is gone".to_owned() })?;
        let bytes = bytes(self.model.archive(), stored)?;
        let data = quant_math::data::LittleEndian::new(stored.dtype, &bytes);
        let ranges = observe_ranges(layout, &data).map_err(math)?;
        let channels: Vec<Affine> =
            ranges.into_iter().map(|range| parameters(settings, range)).collect::<Result<_, _>>().map_err(math)?;
        Ok(fake_quant::weight(&channels, stored.dtype, axis))
    }

    /// Put `wrap`, or nothing, in the place of every call of the quantizer.
    fn replace_calls(&mut self, observer: &Observer, wrap: Option<&Wrap>) -> Result<(), Error> {
        let model = self.model;
        let calls: Vec<QuantizerCall> =
            model.sites().quantizers.iter().filter(|call| call.quantizer == observer.object).copied().collect();
        let stem = observer.path.rsplit('.').next().unwrap_or_default().replace("_quantizer", "");
        let home = model.holders(observer.object).first().map(|(holder, _)| *holder);
        let names = match (home, wrap) {
            (Some(home), Some(wrap)) => self.editor.declare(home, &stem, wrap),
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
        for quantizer in &self.gone {
            for (holder, name) in model.holders(*quantizer) {
                self.editor.edits.entry(holder).or_default().dropped.push(name.to_owned());
                self.output.removed_attributes.push((holder, name.to_owned()));
            }
        }
        for read in &model.sites().quantizer_reads {
            if self.gone.contains(&read.quantizer) {
                self.remove_line(read.spot);
            }
        }
        self.output.drop_objects(model, &self.gone);
    }

    /// Remove the statement `name = object.quantizer`; where the read is a part of a call, the call is replaced as a whole.
    fn remove_line(&mut self, spot: Spot) {
        let program = self.model.program();
        let Some(function) = program.function(spot.function) else { return };
        let position = function.body.iter().position(
            |statement| matches!(&statement.kind, StatementKind::Assign { value, .. } if *value == spot.expr),
        );
        let Some(position) = position else { return };
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
            let line = super::class_edit::whole_line(text, &statement.span);
            edit.replace(line.start, line.end, String::new());
        }
    }
}

/// Reasons for which a quantizer stays as it is.
fn keeps_quantizer(code: &str) -> bool {
    matches!(code, "settings-unknown" | "computed-weight")
}

/// Scale and zero point as torch's observers compute them (1.13, `UniformQuantizationObserverBase._calculate_qparams`).
fn parameters(settings: &Settings, range: Range) -> Result<Affine, quant_math::MathError> {
    let Range { min, max } = range.with_zero();
    let grid = if settings.symmetric { Grid::signed_narrow(settings.bits)? } else { Grid::unsigned(settings.bits)? };
    #[expect(clippy::cast_precision_loss, reason = "grid ends are at most 65,535")]
    let top = grid.quant_max() as f32;
    let wide = if settings.symmetric { (-min).max(max) } else { max - min };
    let scale = (wide / top).max(LEAST_SCALE);
    let zero_point = if settings.symmetric {
        0
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "at most the number of steps, and `as` saturates")]
        let steps = -(min / scale).round_ties_even() as i32;
        steps.clamp(grid.quant_min(), grid.quant_max())
    };
    Affine::from_parts(scale, zero_point, grid).ok_or(quant_math::MathError::RangeOverflow { min, max })
}
