//! Reading what was written, before it takes its name.

use std::collections::BTreeSet;
use std::path::Path;

use quant_math::plan::Plan;

use super::names;
use crate::error::Error;
use crate::find::model::Model;

/// Read the written archive: every record's checksum, the pickles, the code; every attribute that a class declares must be in its
/// objects, and every name that the code uses in the class that it is looked for in; and a second run must find the plan's sites quantized.
pub(crate) fn read_back(path: &Path, before: &Model, plan: &Plan) -> Result<(), Error> {
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
        Error::InFile(inner) => wrong(*inner.error),
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::io::Write;

    use quant_math::config::ConfigList;
    use quant_math::{Emit, Quantizer};

    use super::*;
    use crate::PlanOptions;
    use crate::limits::Limits;
    use crate::torchscript::archive::{Archive, Body, Edits, write};

    const SOURCE: &[u8] = include_bytes!("../../../../tests/models/torch/mlp.script.pt");

    fn packed() -> (Archive, Plan) {
        let model = Model::from_bytes(SOURCE.to_vec()).unwrap();
        let config = ConfigList::default_for(Quantizer::Naive);
        let plan = model.plan(&config, PlanOptions { emit: Some(Emit::Packed), ..PlanOptions::default() }).unwrap();
        let mut out = Vec::new();
        model.apply(&plan).unwrap().write(&mut out).unwrap();
        (Archive::from_bytes(out, &Limits::default()).unwrap(), plan)
    }

    /// What is said of these bytes as the result of that plan.
    fn told(bytes: &[u8], plan: &Plan) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let before = Model::from_bytes(SOURCE.to_vec()).unwrap();
        match read_back(file.path(), &before, plan) {
            Ok(()) => String::new(),
            Err(Error::Verify { message }) => message,
            Err(other) => panic!("{other}"),
        }
    }

    /// The same with another content of a record.
    fn with(archive: &Archive, record: &str, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let changed = change(&archive.read(record).unwrap());
        let mut edits = Edits::new();
        edits.replace(record, Body::Bytes(Cow::Owned(changed)));
        let mut out = Vec::new();
        write(archive, &edits, &mut out, &|_| {}).unwrap();
        out
    }

    /// The record of code that has this text in it, with another one in its place.
    fn with_text(archive: &Archive, old: &str, new: &str) -> Vec<u8> {
        let is_it = |record: &&str| {
            crate::torchscript::program::Program::is_source(record) && archive.text(record).unwrap().contains(old)
        };
        let record = archive.records().find(is_it).unwrap();
        with(archive, record, |text| str::from_utf8(text).unwrap().replace(old, new).into_bytes())
    }

    #[test]
    fn what_is_whole_passes() {
        let (archive, plan) = packed();
        assert_eq!(told(archive.bytes(), &plan), "");
    }

    #[test]
    fn names_that_are_not_there_are_found() {
        let (archive, plan) = packed();
        let undeclared = with_text(&archive, "  weight_scale : Tensor\n", "");
        let said = told(&undeclared, &plan);
        assert!(said.contains("uses `weight_scale` of class `") && said.ends_with("which has none"), "{said}");
        let unset = with_text(&archive, "  weight_scale : Tensor\n", "  weight_scale : Tensor\n  other : Tensor\n");
        assert!(told(&unset, &plan).contains("declares attribute `other`"));
        let constant = with_text(&archive, "self.weight_scale", "CONSTANTS.c99");
        assert!(told(&constant, &plan).contains("`CONSTANTS.c99`, which is not there"));
        let function = with_text(&archive, "torch.type_as(", "__torch__.torch_adapter.gone(");
        assert!(told(&function, &plan).contains("calls `__torch__.torch_adapter.gone`, which is not in the code"));
    }

    #[test]
    fn records_that_are_not_whole_are_found() {
        let (archive, plan) = packed();
        let of_data = |record: &&str| record.starts_with("data/") && archive.entry(record).unwrap().size() > 8;
        let record = archive.records().find(of_data).unwrap();
        let shorter = with(&archive, record, |bytes| bytes[..bytes.len() - 1].to_vec());
        assert!(told(&shorter, &plan).contains(record), "{}", told(&shorter, &plan));
        let pickle = with(&archive, "data.pkl", |bytes| bytes[..bytes.len() - 1].to_vec());
        assert!(told(&pickle, &plan).contains("ends inside"));
        let mut bytes = archive.bytes().to_vec();
        bytes[archive.entry(record).unwrap().data_offset()] ^= 1;
        assert!(told(&bytes, &plan).contains("CRC"));
        assert_ne!(told(&archive.bytes()[..archive.len() - 9], &plan), "");
    }

    #[test]
    fn what_was_done_must_be_recorded() {
        let (archive, plan) = packed();
        let empty = with(&archive, crate::find::mark::RECORD, |_| br#"{"version": 1, "runs": []}"#.to_vec());
        assert!(told(&empty, &plan).contains("does not name weight of"));
    }
}
