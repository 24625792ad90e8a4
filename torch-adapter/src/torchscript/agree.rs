//! Class text and pickle must agree: torch reads every declared attribute from the object, and fails where there is none.

use crate::error::{At, Error};
use crate::torchscript::heap::{Heap, Object};
use crate::torchscript::program::Program;

/// Classes that torch has built in; their text is not in the archive.
const BUILT_IN: &str = "__torch__.torch.classes.";

/// Whether objects of a class make sense of their state in their own code, so that the pickle does not show their attributes.
pub(crate) fn is_opaque(program: &Program, class: &str) -> bool {
    let found = program.find_class(class).and_then(|place| program.class(place));
    class.starts_with(BUILT_IN) || found.is_some_and(|class| class.method("__setstate__").is_some())
}

/// Every object's class is in the code, and the object has every attribute that its class declares.
pub(crate) fn check(heap: &Heap, program: &Program) -> Result<(), Error> {
    heap.objects.iter().try_for_each(|object| check_one(object, program))
}

fn check_one(object: &Object, program: &Program) -> Result<(), Error> {
    if object.class.starts_with(BUILT_IN) {
        return Ok(());
    }
    let place = program.find_class(&object.class);
    let Some((place, class)) = place.and_then(|place| Some((place, program.class(place)?))) else {
        let message = format!("`{}` is of class `{}`, which is not in the code", named(object), object.class);
        return Err(Error::Disagree { message, at: At::record("data.pkl") });
    };
    if object.opaque {
        return Ok(());
    }
    let declared = class.attributes.iter().filter(|attribute| !attribute.constant);
    for attribute in declared {
        if object.attribute(&attribute.name).is_none() {
            let record = program.files().get(place.file).map(|file| file.record.clone()).unwrap_or_default();
            let message = format!(
                "class `{}` declares attribute `{}`, which `{}` does not have",
                object.class,
                attribute.name,
                named(object)
            );
            return Err(Error::Disagree { message, at: At::within(record, attribute.span.start) });
        }
    }
    Ok(())
}

fn named(object: &Object) -> &str {
    if object.path.is_empty() { "the model" } else { &object.path }
}
