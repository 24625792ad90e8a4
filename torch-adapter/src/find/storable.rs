//! Whether a weight can be stored in another form.

use quant_math::plan::{Emit, Reason};

use super::lists;
use crate::codes;
use crate::find::model::Model;
use crate::torchscript::heap::{ObjectId, TensorId, join};

impl Model {
    /// Why a tensor cannot be stored in another form.
    pub(crate) fn unstorable(&self, tensor: TensorId, emit: Emit) -> Option<Reason> {
        let stored = self.contents().stored(tensor);
        stored.err().or_else(|| if emit == Emit::Packed { self.unpackable(tensor) } else { None })
    }

    /// Why an object cannot get attributes and text of its own: the code makes more of its class, which would not have them, or it stands
    /// in a list, whose objects have one class.
    pub(crate) fn unextendable(&self, object: ObjectId) -> Option<Reason> {
        let class = &self.heap().object(object)?.class;
        let called = &self.sites().called;
        if called.contains(class) || called.contains(&format!("{class}.__new__")) {
            let text =
                format!("the code makes objects of class `{class}`, which would lack what the quantized tensor needs");
            return Some(Reason::new(codes::CLASS_INSTANTIATED, text));
        }
        let text =
            || format!("objects of class `{class}` stand in a list or dictionary, and all of them run the same text");
        self.uses().is_bound(self.heap(), object).then(|| Reason::new(codes::OBJECTS_IN_LIST, text()))
    }

    /// Whether an object is a module: others have no buffers and parameters.
    pub(crate) fn is_module(&self, object: ObjectId) -> bool {
        let class = self.heap().object(object).and_then(|object| self.program().find_class(&object.class));
        class.and_then(|place| self.program().class(place)).is_none_or(|class| class.base.ends_with("Module"))
    }

    /// Why a training would not reach the step that an object holds.
    pub(crate) fn unlearnable(&self, home: ObjectId) -> Option<Reason> {
        let path = self.heap().object(home).map_or("", |object| &object.path);
        let text = || format!("`{path}` is no module: a training does not reach the parameters that it holds");
        (!self.is_module(home)).then(|| Reason::new(codes::NO_MODULE, text()))
    }

    /// Why the code cannot be told to decode a tensor wherever it reads it.
    fn unpackable(&self, tensor: TensorId) -> Option<Reason> {
        let lists = self.uses().lists(self.heap(), tensor);
        let path = |owner: &ObjectId| self.heap().object(*owner).map_or("", |object| &object.path);
        if let Some((owner, name, _)) = lists.iter().find(|(owner, name, _)| !lists::can_decode(self, *owner, name)) {
            let text =
                format!("`{}` holds it too, whose type is not one that can be written out", join(path(owner), name));
            return Some(Reason::new(codes::TENSOR_IN_LIST, text));
        }
        let owners = self.uses().owners(self.heap(), tensor).into_iter().map(|(owner, _)| owner);
        let owners = owners.chain(lists.iter().map(|(owner, ..)| *owner));
        if let Some(reason) = owners.into_iter().find_map(|owner| self.unextendable(owner)) {
            return Some(reason);
        }
        if self.uses().is_free(tensor) {
            return Some(Reason::new(
                codes::FREE_FUNCTION,
                "a free function reads it, whose text serves all its callers",
            ));
        }
        let assigned = self.uses().assigned(tensor);
        assigned.map(|name| Reason::new(codes::TENSOR_ASSIGNED, format!("the code assigns `{name}`")))
    }
}
