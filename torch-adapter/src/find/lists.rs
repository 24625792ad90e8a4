//! Lists, tuples and dictionaries of tensors: how their values are written down.

use super::model::Model;
use crate::torchscript::code::text_of;
use crate::torchscript::heap::{Item, ObjectId};

/// An attribute that holds tensors in a list, and how its value is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    List,
    Tuple,
    Dict,
}

/// How the value of an attribute is written down, by its declared type; `None` for types whose elements cannot be told apart.
pub(crate) fn form(model: &Model, owner: ObjectId, name: &str) -> Option<Form> {
    let object = model.heap().object(owner)?;
    let place = model.program().find_class(&object.class)?;
    let attribute = model.program().class(place)?.attribute(name)?;
    match text_of(model.program().text(place.file), &attribute.ty) {
        "List[Tensor]" => Some(Form::List),
        "Dict[str, Tensor]" => Some(Form::Dict),
        ty if ty.starts_with("Tuple[") => Some(Form::Tuple),
        _ => None,
    }
}

/// Whether the list `name` of `owner` can be written out with decoded elements.
pub(crate) fn can_decode(model: &Model, owner: ObjectId, name: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ';
    let keys = model.heap().object(owner).and_then(|object| match object.attribute(name)? {
        Item::Dict(pairs) => Some(pairs.iter().all(|(key, _)| key.chars().all(plain))),
        _ => None,
    });
    form(model, owner, name).is_some() && keys.unwrap_or(true)
}
