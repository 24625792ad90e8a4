//! A model whose weights can be exchanged once it is loaded, for `sensitivity`: float, or quantized at some number of bits, and back.
//!
//! Each op gets a tensor of its own in the place of its weight, as `baked` gives one to an op that shares its weight with others. So an op is
//! exchanged alone whoever else reads its weight, and a frozen model's constants, which are a part of its code, are exchanged like parameters. Where
//! no module can hold such a tensor, and nobody else reads the weight, it is the weight itself that is exchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use quant_math::fate::Fate;
use quant_math::metrics::Metrics;
use quant_math::plan::{Plan, Reason};
use quant_math::sensitivity::plan_at;
use quant_math::weights::{CHUNK, Errors, Form, WeightMap};
use quant_math::{Emit, Quantizer};

use super::apply::locate::{Locator, WeightOp};
use super::apply::write::Compressed;
use super::apply::{no_site, weight_sites};
use super::edit::editor::{Editor, Wrap};
use super::edit::output::Output;
use super::edit::stem;
use super::edit::stream::Pending;
use super::edit::value::{Content, NewTensor};
use super::weights::{Observed, observe_all};
use crate::codes;
use crate::error::Error;
use crate::find::injected::Function;
use crate::find::model::Model;
use crate::find::readers::{Place, Reader, Wanted};
use crate::find::sites::Spot;
use crate::torchscript::contents::{CPU, Stored};
use crate::torchscript::folder::Folder;
use crate::torchscript::heap::{Item, ObjectId, TensorId};

/// A tensor of the loaded model that takes other values.
#[derive(Debug)]
pub(crate) struct Holder {
    /// How it is reached from the root.
    pub(crate) way: Vec<Step>,
    /// Its float values.
    stored: Stored,
    /// The position in the plan of the site whose values it has.
    site: usize,
}

impl Holder {
    /// Bytes of its elements.
    pub(crate) fn len(&self) -> u64 {
        self.stored.span.end.saturating_sub(self.stored.span.start)
    }

    /// Bytes of one of them.
    pub(crate) fn item(&self) -> usize {
        self.stored.dtype.size()
    }
}

/// A step on the way to a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// To an attribute.
    Attribute(String),
    /// To an element of a list or tuple.
    Element(usize),
    /// To what a dictionary has under a key.
    Key(String),
}

/// What a plan comes to.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// How each weight is quantized, by number of bits and position in the plan.
    observed: Vec<BTreeMap<usize, Observed>>,
    pub(crate) holders: Vec<Holder>,
    /// The sites that are exchanged, by their positions in the plan, and the holder of each.
    pub(crate) sites: Vec<(usize, usize)>,
    pub(crate) warnings: Vec<Reason>,
    output: Output,
}

impl Model {
    /// The model with tensors in the place of the weights that `plan` quantizes, and what they are at each of these numbers of bits.
    ///
    /// # Errors
    ///
    /// A plan of another model; NaN or infinite weights.
    pub(crate) fn exchange(&self, plan: &Plan, bits: &[u32]) -> Result<Exchange, Error> {
        let locator = Locator::of(self);
        let (ops, _) = weight_sites(&locator, plan)?;
        let observed = bits.iter().map(|bits| observe_all(self, weight_sites(&locator, &plan_at(plan, *bits))?.1));
        let mut output = Output::new(self);
        let mut placer = Placer {
            model: self,
            observed: observed.collect::<Result<_, _>>()?,
            editor: Editor::new(self, output.new_memo(Folder::Data)),
            output,
            held: BTreeMap::new(),
            wrapped: BTreeSet::new(),
            holders: Vec::new(),
        };
        let (mut sites, mut warnings) = (Vec::new(), Vec::new());
        for (position, op) in &ops {
            match placer.place(plan, *position, *op)? {
                Ok(holder) => sites.push((*position, holder)),
                Err(why) => {
                    let text = format!("the weight of `{}` cannot be exchanged, and stays in float: {why}", op.op.name);
                    warnings.push(Reason::new(codes::NOT_TRIED, text));
                }
            }
        }
        let Placer { mut editor, mut output, observed, holders, .. } = placer;
        editor.close_lists()?;
        output.finish(editor)?;
        // The mobile interpreter does not run it.
        output.drop_bytecode(self);
        Ok(Exchange { observed, holders, sites, warnings, output })
    }
}

impl Exchange {
    /// The values of a holder's tensor as they lie in memory: at the number of bits of this position, or in float. With them how far the
    /// quantized ones are off.
    ///
    /// # Errors
    ///
    /// Damaged records; what the writer says.
    pub(crate) fn write_values(
        &self,
        model: &Model,
        holder: &Holder,
        step: Option<usize>,
        out: &mut impl Write,
    ) -> Result<Metrics, Error> {
        /// Chunks that are made at a time.
        const CHUNKS: usize = 16;
        let stored = &holder.stored;
        let observed = step.and_then(|step| self.observed.get(step)?.get(&holder.site));
        let observed = observed.filter(|observed| *observed.map != WeightMap::Unchanged);
        let pending = observed.map(|observed| Pending::new(observed, Form::Values(stored.dtype)));
        let source = stored.bytes(model.archive())?;
        let stretch = Form::Values(stored.dtype).bytes(CHUNK).saturating_mul(CHUNKS);
        let (errors, mut made) = (Errors::default(), Vec::new());
        let len = usize::try_from(holder.len()).unwrap_or(usize::MAX);
        for at in (0..len).step_by(stretch.max(1)) {
            made.resize(stretch.min(len - at), 0);
            match &pending {
                Some(pending) => pending.fill(&source, at as u64, &mut made, &errors)?,
                None => stored.fill(&source, at as u64, &mut made)?,
            }
            out.write_all(&made).map_err(|source| Error::Io { action: "write the values of a weight", source })?;
        }
        Ok(errors.metrics())
    }

    /// The archive, ready to be written.
    pub(crate) fn archive(self, model: Model) -> Compressed {
        // Nothing is quantized: there is nothing to report of.
        let plan = Plan::of_nothing(Quantizer::Naive, Emit::Baked);
        Compressed::new(model, plan, self.output, Vec::<Fate>::new(), Vec::new())
    }
}

struct Placer<'m> {
    model: &'m Model,
    observed: Vec<BTreeMap<usize, Observed>>,
    output: Output,
    editor: Editor<'m>,
    /// The holders by the expressions that they stand around.
    held: BTreeMap<Vec<Around>, usize>,
    wrapped: BTreeSet<Around>,
    holders: Vec<Holder>,
}

/// An expression, and which element of it.
type Around = (Spot, Option<(usize, usize)>);

impl Placer<'_> {
    /// Give a site a tensor that can be exchanged: the position of its holder, or why there is none.
    fn place(&mut self, plan: &Plan, position: usize, found: WeightOp<'_>) -> Result<Result<usize, String>, Error> {
        let site = plan.sites.get(position);
        let (Some(site), Some(tensor)) = (site, found.weight.tensor) else {
            return Ok(Err("it is computed".to_owned()));
        };
        let wanted = Wanted {
            reader: Reader::Op(found.number, found.index),
            tensor,
            settings: *site.settings().ok_or_else(|| no_site(site))?,
            steps: None,
            spots: found.weight.places(),
        };
        let stored = match self.model.contents().stored(tensor) {
            Ok(stored) => stored,
            Err(reason) => return Ok(Err(reason.text)),
        };
        let mut spots: Vec<Around> = found
            .weight
            .spots
            .iter()
            .map(|spot| (spot.spot, spot.element))
            .filter(|_| !wanted.spots.is_empty())
            .collect();
        spots.sort_unstable();
        spots.dedup();
        if let Some(holder) = self.held.get(&spots) {
            // What one expression hands to several calls is quantized for all of them.
            return Ok(Ok(*holder));
        }
        let way = match self.model.copyable(&wanted) {
            Ok(_) if spots.iter().any(|spot| self.wrapped.contains(spot)) => {
                let text = "one expression hands it to this call and to others, which read it elsewhere too";
                return Ok(Err(text.to_owned()));
            }
            Ok(_) => {
                let copied = self.copy(found, tensor, &stored)?;
                copied.ok_or_else(|| "no way leads through modules to where it is read".to_owned())
            }
            Err(reason) => Err(reason.text),
        };
        let way = match way.or_else(|why| self.in_place(&wanted).ok_or(why)) {
            Ok(way) => way,
            Err(why) => return Ok(Err(why)),
        };
        let holder = self.holders.len();
        self.holders.push(Holder { way, stored, site: position });
        if !spots.is_empty() {
            self.wrapped.extend(spots.iter().copied());
            self.held.insert(spots, holder);
        }
        Ok(Ok(holder))
    }

    /// Put a tensor of its own around every expression by which the op gets its weight; how it is reached.
    fn copy(&mut self, found: WeightOp<'_>, tensor: TensorId, stored: &Stored) -> Result<Option<Vec<Step>>, Error> {
        /// Stands for the tensor in the text around an expression.
        const VALUES: &str = "exchanged";
        let model = self.model;
        let Some(home) = found.weight.spots.first().map(|spot| spot.spot.object) else { return Ok(None) };
        let (Some(mut way), Some((_, facts, _))) = (self.way(home), model.contents().tensor(tensor)) else {
            return Ok(None);
        };
        let key = self.output.records(Folder::Data).reserve();
        self.output.moved.insert(format!("{}/{key}", Folder::Data.name()), stored.clone());
        let new = NewTensor {
            kind: facts.kind,
            shape: facts.sizes.clone(),
            strides: Some(facts.strides.clone()),
            content: Content::Record(key),
            memo: None,
            requires_grad: false,
            device: CPU.to_owned(),
        };
        self.editor.used.functions.insert(Function::Copy);
        let wrap = Wrap::Call {
            before: format!("{}(", Function::Copy.qualified()),
            after: format!(", {{{VALUES}}}, )"),
            tensors: vec![(VALUES, new)],
        };
        let path = model.heap().object(home).map_or("", |object| &object.path);
        let stem = stem::weight(found.op, found.weight, path);
        let names = self.editor.declare(home, &stem, &wrap, CPU);
        let (mut spots, mut seen) = (found.weight.spots.clone(), BTreeSet::new());
        spots.retain(|spot| seen.insert((spot.spot, spot.element)));
        self.editor.put(&spots, home, &wrap, &names)?;
        way.extend(names.into_iter().map(Step::Attribute));
        Ok(Some(way))
    }

    /// How the weight itself is reached, where its op is the only one that reads its bytes.
    fn in_place(&self, wanted: &Wanted) -> Option<Vec<Step>> {
        let (model, tensor) = (self.model, wanted.tensor);
        let places = model.places(std::slice::from_ref(wanted), Emit::Baked);
        let in_data = model.contents().place(tensor).is_some_and(|place| place.folder == Folder::Data);
        if places.first() != Some(&Ok(Place::InPlace)) || !in_data || model.uses().assigned(tensor).is_some() {
            return None;
        }
        let attribute = |owner: ObjectId, name: &str| {
            let mut way = self.way(owner)?;
            way.push(Step::Attribute(name.to_owned()));
            Some(way)
        };
        let heap = model.heap();
        let named = model.uses().owners(heap, tensor).into_iter().find_map(|(owner, name)| attribute(owner, name));
        named.or_else(|| {
            model.uses().lists(heap, tensor).into_iter().find_map(|(owner, name, positions)| {
                let (mut way, position) = (attribute(owner, name)?, *positions.first()?);
                way.push(match heap.object(owner)?.attribute(name)? {
                    Item::List(_) => Step::Element(position),
                    Item::Dict(pairs) => Step::Key(pairs.get(position)?.0.clone()),
                    _ => return None,
                });
                Some(way)
            })
        })
    }

    /// The attributes that lead from the root to an object, through modules: Python does not get at the attributes of other objects.
    fn way(&self, object: ObjectId) -> Option<Vec<Step>> {
        let (heap, mut at) = (self.model.heap(), self.model.heap().root?);
        let names = if at == object { Vec::new() } else { heap.way(at, object)? };
        for name in &names {
            match heap.object(at)?.attribute(name)? {
                Item::Object(next) if self.model.is_module(*next) => at = *next,
                _ => return None,
            }
        }
        Some(names.into_iter().map(Step::Attribute).collect())
    }
}
