//! Batch normalizations, and the layer before each that can take it.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::plan::Reason;

use super::trace::{Constant, Reader, Stop, Tracer};
use crate::codes;
use crate::find::model::Model;
use crate::find::sites::{Given, Met, Op, Point, What};
use crate::torchscript::contents::{StoreKey, Stored};
use crate::torchscript::heap::TensorId;
use crate::torchscript::tensors::Sharing;

/// The layers that take a normalization; the weight is argument 1, the bias argument 2.
const LAYERS: [&str; 10] = [
    "torch.conv1d",
    "torch.conv2d",
    "torch.conv3d",
    "torch.conv_transpose1d",
    "torch.conv_transpose2d",
    "torch.conv_transpose3d",
    "torch._convolution_mode",
    "torch._convolution",
    "torch.convolution",
    "torch.linear",
];

/// A batch normalization that is called.
pub(super) struct Norm<'m> {
    pub(super) at: Point,
    pub(super) op: &'m Op,
    arguments: Arguments,
    /// Why it is none of its own: the same op normalizes elsewhere, too.
    several: bool,
}

/// What it gets. Positions are those of `torch.batch_norm` (`aten/src/ATen/native/native_functions.yaml`) and of
/// `torch/nn/functional.py` (1.13), which has two of its arguments elsewhere.
struct Arguments {
    input: Given,
    /// γ, β, μ and σ².
    parameters: [What; 4],
    training: Option<Given>,
    epsilon: Option<Given>,
}

/// The tensors of a pair, each of which nothing else reads.
pub(super) struct Pair<'m> {
    pub(super) layer: &'m Op,
    pub(super) weight: (TensorId, Stored),
    /// Its channels' axis.
    pub(super) axis: usize,
    pub(super) bias: Option<TensorId>,
    /// γ, β, μ and σ².
    pub(super) parameters: [Option<TensorId>; 4],
}

/// Finds pairs in a model.
pub(super) struct Finder<'m> {
    model: &'m Model,
    tracer: Tracer<'m>,
    /// The calls that read the tensor of these bytes.
    readers: BTreeMap<StoreKey, BTreeSet<Point>>,
    /// What something else reads.
    loose: BTreeSet<StoreKey>,
}

/// The layer that was found, and why it cannot take anything.
pub(super) type Stays<'m> = (Option<&'m Op>, Reason);

impl<'m> Finder<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let flow = &model.sites().flow;
        let key = |tensor: &TensorId| model.contents().store_key(*tensor);
        let mut readers: BTreeMap<StoreKey, BTreeSet<Point>> = BTreeMap::new();
        for call in &flow.met {
            call.reads.iter().filter_map(key).for_each(|key| {
                readers.entry(key).or_default().insert(call.at);
            });
        }
        Self { model, tracer: Tracer::new(model), readers, loose: flow.loose.iter().filter_map(key).collect() }
    }

    fn op(&self, call: &Met) -> Option<&'m Op> {
        self.model.sites().ops.get(call.op?)
    }

    /// All batch normalizations, in the order in which the code reaches them.
    pub(super) fn norms(&self) -> Vec<Norm<'m>> {
        let mut found: Vec<Norm<'m>> = Vec::new();
        // By op: its position here.
        let mut known: BTreeMap<usize, usize> = BTreeMap::new();
        for call in &self.model.sites().flow.met {
            let (Some(arguments), Some(number), Some(op)) = (Arguments::of(call), call.op, self.op(call)) else {
                continue;
            };
            if let Some(norm) = known.get(&number).and_then(|position| found.get_mut(*position)) {
                norm.several |= norm.at != call.at;
            } else {
                known.insert(number, found.len());
                found.push(Norm { at: call.at, op, arguments, several: false });
            }
        }
        found
    }

    /// Whether it normalizes by statistics that stand in the model, or why that is not known or not so.
    pub(super) fn trains(&mut self, norm: &Norm<'m>) -> Option<Reason> {
        // What `torch.nn.functional.batch_norm` takes where nothing is given.
        let flag = match norm.arguments.training {
            Some(flag) => self.tracer.constant((norm.at.0, flag.expr)),
            None => Some(Constant::Bool(false)),
        };
        let why = match flag {
            Some(Constant::Bool(false)) => return None,
            Some(Constant::Bool(true)) => "normalizes by the statistics of each batch",
            _ => "may normalize by the statistics of each batch: that shows when the model runs",
        };
        Some(Reason::new(codes::NORM_TRAINS, format!("`{}` {why}", norm.op.name)))
    }

    /// γ, β, μ, σ² and ε, where they stand in the model and nothing else reads the tensors.
    pub(super) fn parameters(&mut self, norm: &Norm<'m>) -> Result<([Option<TensorId>; 4], f64), Reason> {
        let computed = |what: &str| {
            let text = format!("{what} of `{}` is not a tensor of the model as it is", norm.op.name);
            Reason::new(codes::NORM_COMPUTED, text)
        };
        if norm.several {
            let text = format!("`{}` normalizes in several places", norm.op.name);
            return Err(Reason::new(codes::NORM_SHARED, text));
        }
        if self.tracer.has_keywords(norm.at) {
            return Err(computed("an argument by name"));
        }
        let words = ["the weight", "the bias", "the running mean", "the running variance"];
        let mut found = [None; 4];
        for (position, ((slot, what), words)) in found.iter_mut().zip(norm.arguments.parameters).zip(words).enumerate()
        {
            *slot = match what {
                What::Tensor(tensor) => Some(tensor),
                What::None if position < 2 => None,
                What::None | What::Quantized | What::Other => return Err(computed(words)),
            };
        }
        for tensor in found.into_iter().flatten() {
            self.own(tensor, norm.at).map_err(|why| {
                let text = format!("a tensor of `{}` cannot get other values: {why}", norm.op.name);
                Reason::new(codes::NORM_COMPUTED, text)
            })?;
        }
        // As for the flag.
        let epsilon = match norm.arguments.epsilon {
            Some(given) => self.tracer.constant((norm.at.0, given.expr)),
            None => Some(Constant::Number(1e-5)),
        };
        match epsilon {
            Some(Constant::Number(epsilon)) => Ok((found, epsilon)),
            _ => Err(computed("epsilon")),
        }
    }

    /// The layer before a batch normalization, both called one behind the other and read by nobody else; or why there is none.
    pub(super) fn pair(&mut self, norm: &Norm<'m>, parameters: [Option<TensorId>; 4]) -> Result<Pair<'m>, Stays<'m>> {
        let source = self.tracer.source((norm.at.0, norm.arguments.input.expr));
        let call = source.as_ref().ok().and_then(|at| self.tracer.call(*at));
        let layer = call.filter(|call| LAYERS.contains(&call.rule.call)).and_then(|call| Some((call, self.op(call)?)));
        let Some((call, layer)) = layer else { return Err((None, self.no_layer(norm, source, call))) };
        self.join(norm, parameters, call, layer).map_err(|reason| (Some(layer), reason))
    }

    fn join(
        &mut self,
        norm: &Norm<'m>,
        parameters: [Option<TensorId>; 4],
        call: &'m Met,
        layer: &'m Op,
    ) -> Result<Pair<'m>, Reason> {
        let shared = |text: String| Reason::new(codes::NORM_SHARED, text);
        if self.model.sites().flow.open {
            return Err(shared("there is code that is not followed, which may read what is between".to_owned()));
        }
        let own = Reader::Call(norm.at, 0);
        match self.tracer.readers(call.at).iter().find(|reader| **reader != own) {
            None if self.tracer.call(norm.at).is_some() => {}
            None => return Err(shared(format!("one line of code runs `{}` and other batch norms", norm.op.name))),
            Some(Reader::Call(at, _)) => {
                let reader =
                    self.tracer.call(*at).and_then(|call| self.op(call)).map_or("a call", |op| op.name.as_str());
                return Err(shared(format!("`{reader}` reads what `{}` makes, too", layer.name)));
            }
            Some(Reader::Other(who)) => return Err(shared(format!("{who} reads what `{}` makes, too", layer.name))),
        }
        let given = |position: usize| call.arguments.get(position).map_or(What::None, |given| given.what);
        let no = |why: &str| Reason::new(codes::NORM_WEIGHT, format!("the weight of `{}` {why}", layer.name));
        let weight = match given(1) {
            _ if self.tracer.has_keywords(call.at) => return Err(no("is in a call with arguments by name")),
            What::Tensor(weight) => weight,
            What::Quantized => return Err(no("is quantized already")),
            What::None | What::Other => return Err(no("is no tensor of the model as it is")),
        };
        let bias = match given(2) {
            What::Tensor(bias) => Some(bias),
            What::None => None,
            What::Quantized | What::Other => {
                let text = format!("the bias of `{}` is no tensor of the model as it is", layer.name);
                return Err(Reason::new(codes::NORM_WEIGHT, text));
            }
        };
        let found = layer.weights.iter().find(|found| found.tensor == Some(weight));
        let axis = found.and_then(|found| found.axis).ok_or_else(|| no("has no channels that are known"))?;
        for tensor in std::iter::once(weight).chain(bias) {
            self.own(tensor, call.at).map_err(|why| {
                Reason::new(codes::NORM_WEIGHT, format!("a tensor of `{}` cannot get other values: {why}", layer.name))
            })?;
        }
        let stored = self.model.contents().stored(weight)?;
        Ok(Pair { layer, weight: (weight, stored), axis, bias, parameters })
    }

    /// Why a tensor cannot get other values for the call at a place, if it cannot.
    fn own(&self, tensor: TensorId, at: Point) -> Result<(), String> {
        let model = self.model;
        if let Err(reason) = model.contents().stored(tensor) {
            return Err(reason.text);
        }
        let (Some(key), Some((place, ..))) = (model.contents().store_key(tensor), model.contents().tensor(tensor))
        else {
            return Err("it is not stored in one piece".to_owned());
        };
        let alone = model.contents().tensors(place.folder).sharing(place.position) == Sharing::Alone;
        let is_only = self.readers.get(&key).is_some_and(|readers| readers.len() == 1 && readers.contains(&at));
        if !alone || !is_only || self.loose.contains(&key) || model.heap().hidden.tensors.contains(&tensor) {
            return Err("something else reads it, too".to_owned());
        }
        match model.uses().assigned(tensor) {
            Some(name) => Err(format!("the code assigns `{name}`")),
            None => Ok(()),
        }
    }

    /// No layer stands before a batch normalization, but `call`, or what else its input leads back to.
    fn no_layer(&mut self, norm: &Norm<'m>, source: Result<Point, Stop>, call: Option<&Met>) -> Reason {
        if source == Err(Stop::Several) {
            let text = format!("what `{}` normalizes is made in several places, or it runs in several", norm.op.name);
            return Reason::new(codes::NORM_SHARED, text);
        }
        if let [Reader::Call(at, 0)] = self.tracer.readers(norm.at).as_slice()
            && let Some(reader) = self.tracer.call(*at).filter(|call| LAYERS.contains(&call.rule.call))
            && let Some(layer) = self.op(reader)
        {
            let text = format!("it stands before `{}`: at a padded border its shift would be missing", layer.name);
            return Reason::new(codes::NORM_BEFORE_LAYER, text);
        }
        let text = match (call.and_then(|call| self.op(call)), source) {
            (Some(op), _) => format!("it stands behind `{}` ({}), which is no layer", op.name, op.op_type),
            (None, Err(Stop::Elsewhere(Some(callee)))) => format!("it stands behind `{callee}`, which is no layer"),
            _ => "it stands behind no layer".to_owned(),
        };
        Reason::new(codes::NORM_NO_LAYER, text)
    }
}

impl Arguments {
    /// `None` for another call.
    fn of(call: &Met) -> Option<Self> {
        let positions = match call.rule.call {
            "torch.batch_norm" => [1, 2, 3, 4],
            "__torch__.torch.nn.functional.batch_norm" => [3, 4, 1, 2],
            _ => return None,
        };
        let given = |position: usize| call.arguments.get(position).copied();
        let parameters = positions.map(|position| given(position).map_or(What::None, |given| given.what));
        Some(Self { input: given(0)?, parameters, training: given(5), epsilon: given(7) })
    }
}
