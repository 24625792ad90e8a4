//! Collects what changes: text per object, new attributes, new records.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{At, Error};
use crate::find::injected::{Class, OBSERVED, PASSES};
use crate::find::mark::TrainingSite;
use crate::find::model::Model;
use crate::find::sites::{ClassRef, FunctionRef, Read, Spot, WeightSpot};
use crate::rewrite::edit::class_edit::{ClassEdit, Declaration, Listed, TextWrap};
use crate::rewrite::edit::library::Used;
use crate::rewrite::edit::value::{NewTensor, NewValue};
use crate::torchscript::code::{ExprId, ExprKind, Function, Parameter, Span, text_of};
use crate::torchscript::heap::ObjectId;

/// What is put around a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wrap {
    /// A call with constants.
    Call {
        /// The callee and `(`.
        before: String,
        /// Arguments that are constants, and `)`; `{name}` stands for the tensor `name` of `tensors`.
        after: String,
        /// Tensors among the arguments.
        tensors: Vec<(&'static str, NewTensor)>,
    },
    /// A module with a state of its own.
    Module {
        /// Its class.
        class: Class,
        /// Its settings, in the order of [`Class::settings`].
        settings: Vec<NewValue>,
        /// What it says of itself, but for the module that will hold it.
        site: TrainingSite,
        /// How many channels have a parameter each; `None`: there is one for the tensor, if there are any.
        channels: Option<u64>,
        /// What is added to the channels of what it quantizes: by the expression that it is put around, one in the same function.
        beside: BTreeMap<Spot, ExprId>,
    },
}

impl Wrap {
    /// A module that gets nothing but the tensor.
    pub(crate) fn module(class: Class, settings: Vec<NewValue>, site: TrainingSite) -> Self {
        Self::Module { class, settings, site, channels: None, beside: BTreeMap::new() }
    }

    /// Bytes of the tensors that it adds.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Call { tensors, .. } => tensors.iter().map(|(_, tensor)| tensor.len()).sum(),
            Self::Module { class, channels, .. } => {
                let buffers: u64 = class.buffers().iter().map(|name| if *name == "step" { 8 } else { 4 }).sum();
                buffers + class.parameters().len() as u64 * channels.unwrap_or(1).saturating_mul(4)
            }
        }
    }
}

/// All changes to a model's code and objects.
#[derive(Debug)]
pub(crate) struct Editor<'m> {
    pub(crate) model: &'m Model,
    pub(crate) edits: BTreeMap<ObjectId, ClassEdit>,
    /// New attributes, in order.
    pub(crate) attributes: BTreeMap<ObjectId, Vec<(String, NewValue)>>,
    pub(crate) used: Used,
    /// Lists of tensors of which some elements are wrapped: where, and element → text around it.
    lists: BTreeMap<(Spot, usize), BTreeMap<usize, (String, String)>>,
    taken: BTreeMap<ObjectId, Taken>,
    /// The names of `__parameters__`.
    parameters: BTreeMap<ClassRef, BTreeSet<&'m str>>,
    /// Constants that are read as attributes now, and how.
    pub(crate) moved: BTreeMap<(FunctionRef, ExprId), String>,
    /// The memo position of the object that numbers passes.
    passes: u32,
}

impl<'m> Editor<'m> {
    /// No changes; `passes` is a free memo position of `data.pkl`.
    pub(crate) fn new(model: &'m Model, passes: u32) -> Self {
        Self {
            model,
            edits: BTreeMap::new(),
            attributes: BTreeMap::new(),
            used: Used::default(),
            lists: BTreeMap::new(),
            taken: BTreeMap::new(),
            moved: BTreeMap::new(),
            parameters: BTreeMap::new(),
            passes,
        }
    }

    /// Put `wrap` around every one of `spots`; `stem` begins the names of what it adds to the first spot's object, with tensors on `device`.
    ///
    /// Returns the spots whose module cannot reach the object that holds the state.
    pub(crate) fn wrap(
        &mut self,
        spots: &[WeightSpot],
        stem: &str,
        wrap: &Wrap,
        device: &str,
    ) -> Result<Vec<Spot>, Error> {
        let Some(home) = spots.first().map(|spot| spot.spot.object) else { return Ok(Vec::new()) };
        let names = self.declare(home, stem, wrap, device);
        self.put(spots, home, wrap, &names)
    }

    /// The same where `home` has what `wrap` needs, under `names`.
    pub(crate) fn put(
        &mut self,
        spots: &[WeightSpot],
        home: ObjectId,
        wrap: &Wrap,
        names: &[String],
    ) -> Result<Vec<Spot>, Error> {
        let mut unreachable = Vec::new();
        for spot in spots {
            match self.text_at(spot.spot, home, wrap, names)? {
                Some((before, after)) => self.around(*spot, before, after)?,
                None => unreachable.push(spot.spot),
            }
        }
        Ok(unreachable)
    }

    /// The text around an expression at `spot`, for additions that `home` has under `names`; `None` where the spot's module cannot
    /// reach `home`.
    pub(crate) fn text_at(
        &self,
        spot: Spot,
        home: ObjectId,
        wrap: &Wrap,
        names: &[String],
    ) -> Result<Option<(String, String)>, Error> {
        let Some(way) = self.model.heap().way(spot.object, home) else { return Ok(None) };
        let function = self.function(spot)?;
        let own = function.parameters.first().map_or("self", |parameter| parameter.name.as_str());
        let holder = way.iter().fold(own.to_owned(), |base, name| attribute(&base, name));
        let bias = match wrap {
            Wrap::Module { class, beside, .. } if class.takes_bias() => {
                Some(beside.get(&spot).map_or("None", |expr| self.written(spot.function, *expr)))
            }
            _ => None,
        };
        Ok(Some(text_around(wrap, &holder, names, bias)))
    }

    /// An expression as the output has it.
    fn written(&self, place: FunctionRef, expr: ExprId) -> &str {
        let program = self.model.program();
        let written = program.function(place).and_then(|function| function.expr(expr));
        let moved = self.moved.get(&(place, expr)).map(String::as_str);
        moved.or_else(|| Some(text_of(program.text(place.file), &written?.span))).unwrap_or("None")
    }

    fn function(&self, spot: Spot) -> Result<&'m Function, Error> {
        let function = self.model.program().function(spot.function);
        function.ok_or_else(|| Error::Code { message: "a method is gone".to_owned(), at: At::default() })
    }

    /// Add what `wrap` needs to the object `home`, with tensors on `device`; the names that it got.
    pub(crate) fn declare(&mut self, home: ObjectId, stem: &str, wrap: &Wrap, device: &str) -> Vec<String> {
        match wrap {
            Wrap::Call { tensors, .. } => {
                let named = tensors.iter().map(|(suffix, tensor)| {
                    let name = self.unique(home, &format!("{stem}_{suffix}"));
                    let listed = if tensor.requires_grad { Listed::Parameter } else { Listed::Buffer };
                    let value = NewValue::Tensor(tensor.clone()).on(device);
                    self.add(home, &name, "Tensor".to_owned(), listed, value);
                    name
                });
                named.collect()
            }
            Wrap::Module { class, settings, site, channels, .. } => {
                let path = self.model.heap().object(home).map_or("", |object| &object.path);
                let site = site.text(path);
                let what = if class.observes() { "observer" } else { "quantizer" };
                let name = self.unique(home, &format!("{stem}_{what}"));
                let training = self.model.contents().is_training(home);
                self.used.class(*class);
                let value = NewValue::quantizer(*class, training, settings, site, *channels, self.passes).on(device);
                self.add(home, &name, class.qualified(), Listed::No, value);
                vec![name]
            }
        }
    }

    /// Number the passes of the model: every method with which one begins says so first.
    pub(crate) fn number_passes(&mut self) {
        let model = self.model;
        let Some(root) = model.heap().root.filter(|_| self.used.counts()) else { return };
        let name = self.unique(root, "quantization_passes");
        let value = NewValue::passes(model.contents().is_training(root), self.passes);
        self.add(root, &name, PASSES.to_owned(), Listed::No, value);
        self.begin_with(root, &name, |_, _| Some(String::new()));
    }

    /// Count the samples of the model, by the outermost dimension of the first tensor that a method gets with which a pass begins; `source` says
    /// what it was made from.
    pub(crate) fn count_samples(&mut self, source: String) {
        let model = self.model;
        let Some(root) = model.heap().root else { return };
        let name = self.unique(root, "observed");
        let value = NewValue::observed(model.contents().is_training(root), source);
        self.add(root, &name, OBSERVED.to_owned(), Listed::No, value);
        self.begin_with(root, &name, |function, text| {
            let is_tensor =
                |parameter: &&Parameter| parameter.ty.as_ref().is_some_and(|ty| text_of(text, ty).trim() == "Tensor");
            let tensor = function.parameters.iter().skip(1).find(is_tensor);
            tensor.map(|parameter| format!("{}, ", parameter.name))
        });
    }

    /// Let every method with which a pass begins call what the root has under `name`, with these arguments.
    fn begin_with(&mut self, root: ObjectId, name: &str, arguments: impl Fn(&Function, &str) -> Option<String>) {
        let model = self.model;
        for place in &model.sites().entries {
            let Some(function) = model.program().function(*place) else { continue };
            let Some(first) = function.body.first().filter(|_| !function.name.starts_with("__")) else { continue };
            let Some(arguments) = arguments(function, model.program().text(place.file)) else { continue };
            let own = function.parameters.first().map_or("self", |parameter| parameter.name.as_str());
            let at = first.span.start;
            let line = model.program().text(place.file).get(..at).and_then(|before| before.rsplit('\n').next());
            let text = format!("({}).forward({arguments})\n{}", attribute(own, name), line.unwrap_or_default());
            self.edits.entry(root).or_default().insert(at, text);
        }
    }

    /// A frozen model has no mode; what has one of its own needs one.
    pub(crate) fn give_mode(&mut self) {
        let Some(root) = self.model.heap().root.filter(|_| self.model.contents().is_frozen()) else { return };
        let name = "training";
        if self.unique(root, name) == name {
            self.add(root, name, "bool".to_owned(), Listed::No, NewValue::Bool(false));
        }
    }

    /// Add an attribute to an object and its class.
    pub(crate) fn add(&mut self, object: ObjectId, name: &str, ty: String, listed: Listed, value: NewValue) {
        let listed = if self.model.is_module(object) { listed } else { Listed::No };
        let edit = self.edits.entry(object).or_default();
        edit.declarations.push(Declaration { name: name.to_owned(), ty, listed });
        self.attributes.entry(object).or_default().push((name.to_owned(), value));
    }

    /// A name that nothing of the object has.
    pub(crate) fn unique(&mut self, object: ObjectId, name: &str) -> String {
        let model = self.model;
        let taken =
            self.taken.entry(object).or_insert_with(|| Taken { names: names_of(model, object), ..Taken::default() });
        taken.unique(name)
    }

    /// Whether the object's class lists the attribute as a parameter.
    pub(crate) fn is_parameter(&mut self, object: ObjectId, name: &str) -> bool {
        let program = self.model.program();
        let place = self.model.heap().object(object).and_then(|object| program.find_class(&object.class));
        let Some((place, class)) = place.and_then(|place| Some((place, program.class(place)?))) else { return false };
        let names = || class.parameters.iter().flat_map(|list| &list.names).map(String::as_str).collect();
        self.parameters.entry(place).or_insert_with(names).contains(name)
    }

    fn around(&mut self, spot: WeightSpot, before: String, after: String) -> Result<(), Error> {
        if let Some((index, len)) = spot.element {
            self.lists.entry((spot.spot, len)).or_default().insert(index, (before, after));
            return Ok(());
        }
        let function = self.function(spot.spot)?;
        let Some(expr) = function.expr(spot.spot.expr) else { return Ok(()) };
        let (start, end) = (expr.span.start, expr.span.end);
        self.edits.entry(spot.spot.object).or_default().wraps.push(TextWrap { start, end, before, after });
        Ok(())
    }

    /// Write lists with wrapped elements out.
    pub(crate) fn close_lists(&mut self) -> Result<(), Error> {
        for ((spot, len), wrapped) in std::mem::take(&mut self.lists) {
            let function = self.function(spot)?;
            let Some(expr) = function.expr(spot.expr) else { continue };
            let list = text_of(self.model.program().text(spot.function.file), &expr.span);
            let elements: Vec<String> = (0..len)
                .map(|index| match wrapped.get(&index) {
                    Some((before, after)) => format!("{before}({list})[{index}]{after}"),
                    None => format!("({list})[{index}]"),
                })
                .collect();
            let text = format!("[{}]", elements.join(", "));
            let (start, end) = (expr.span.start, expr.span.end);
            self.edits.entry(spot.object).or_default().replace(start, end, text);
        }
        Ok(())
    }
}

/// The names of an object.
#[derive(Debug, Default)]
struct Taken {
    names: BTreeSet<String>,
    /// How often a name was asked for that was there already.
    again: BTreeMap<String, usize>,
}

impl Taken {
    fn unique(&mut self, name: &str) -> String {
        if self.names.insert(name.to_owned()) {
            return name.to_owned();
        }
        let count = self.again.entry(name.to_owned()).or_insert(0);
        loop {
            *count += 1;
            let candidate = format!("{name}_{count}");
            if self.names.insert(candidate.clone()) {
                return candidate;
            }
        }
    }
}

/// Names of attributes and methods.
fn names_of(model: &Model, object: ObjectId) -> BTreeSet<String> {
    let Some(found) = model.heap().object(object) else { return BTreeSet::new() };
    let mut names: BTreeSet<String> = found.attributes.iter().map(|(name, _)| name.clone()).collect();
    let program = model.program();
    if let Some(class) = program.find_class(&found.class).and_then(|place| program.class(place)) {
        names.extend(class.attributes.iter().map(|attribute| attribute.name.clone()));
        names.extend(class.methods.iter().map(|method| method.name.clone()));
    }
    names
}

fn text_around(wrap: &Wrap, holder: &str, names: &[String], bias: Option<&str>) -> (String, String) {
    match wrap {
        Wrap::Call { before, after, tensors } => {
            let mut after = after.clone();
            for ((suffix, _), name) in tensors.iter().zip(names) {
                after = after.replace(&format!("{{{suffix}}}"), &attribute(holder, name));
            }
            (before.clone(), after)
        }
        Wrap::Module { .. } => {
            let name = names.first().map_or("", String::as_str);
            let bias = bias.map_or_else(String::new, |bias| format!("{bias}, "));
            (format!("({}).forward(", attribute(holder, name)), format!(", {bias})"))
        }
    }
}

/// The place of a read, and the text of what it reads from.
pub(crate) fn base<'m>(model: &'m Model, read: &Read) -> Option<(Span, &'m str)> {
    let program = model.program();
    let function = program.function(read.function)?;
    let expr = function.expr(read.expr)?;
    let base = match &expr.kind {
        ExprKind::Attribute { base, .. } => *base,
        // `getattr(base, "name")`.
        ExprKind::Call { arguments, .. } => arguments.first()?.value,
        _ => return None,
    };
    Some((expr.span.clone(), text_of(program.text(read.function.file), &function.expr(base)?.span)))
}

/// `base.name`, or `getattr(base, "name")` where the name is no identifier.
pub(crate) fn attribute(base: &str, name: &str) -> String {
    let mut chars = name.chars();
    let identifier = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if identifier { format!("{base}.{name}") } else { format!("getattr({base}, \"{name}\")") }
}
