//! Reading what was written, before it takes its name.

use std::collections::BTreeSet;
use std::path::Path;

use quant_math::plan::Plan;

use super::names;
use crate::error::Error;
use crate::model::Model;

/// Read the written archive: every record's checksum, the pickles, the code; every attribute that a class declares must be in its
/// objects, and every name that the code uses in the class that it is looked for in; and a second run must find the plan's sites quantized.
pub(super) fn read_back(path: &Path, before: &Model, plan: &Plan) -> Result<(), Error> {
    let failed = |message: String| Error::Verify { message };
    let model = Model::open(path).map_err(wrong)?;
    model.in_file(model.archive().check_all()).map_err(wrong)?;
    // What was wrong before is not ours.
    let faults = |model: &Model| missing(model).into_iter().chain(names::unknown(model));
    let known: BTreeSet<String> = faults(before).collect();
    if let Some(found) = faults(&model).find(|found| !known.contains(found)) {
        return Err(failed(found));
    }
    for site in plan.quantized() {
        if model.marked(&site.op, site.kind, &site.tensor).is_none() {
            return Err(failed(format!("the record of what was done does not name {} of `{}`", site.kind, site.op)));
        }
    }
    Ok(())
}

/// What we wrote wrongly; that somebody else changed the file, or that it cannot be opened, is no fault of ours.
fn wrong(error: Error) -> Error {
    match error {
        Error::InFile { source, .. } => wrong(*source),
        Error::Changed(_) | Error::Io { .. } => error,
        other => Error::Verify { message: other.to_string() },
    }
}

/// Attributes that a class declares and an object of it does not have.
fn missing(model: &Model) -> Vec<String> {
    let mut missing = Vec::new();
    for object in &model.heap().objects {
        let class = model.program().find_class(&object.class).and_then(|place| model.program().class(place));
        let Some(class) = class else {
            missing.push(format!("class `{}` is not in the code", object.class));
            continue;
        };
        if object.opaque {
            continue;
        }
        for attribute in class.attributes.iter().filter(|attribute| !attribute.constant) {
            if object.attribute(&attribute.name).is_none() {
                missing
                    .push(format!("`{}` has no attribute `{}`, which its class declares", object.path, attribute.name));
            }
        }
    }
    missing
}
