//! Which kind of archive this is: only what `torch.jit.save` writes is taken.

use std::borrow::Cow;

use super::Archive;
use crate::error::{ArchiveFault, Error};

/// The record with the file version; torch writes versions below 6 to the second, others to the first, and reads in this order.
const VERSION: [&str; 2] = [".data/version", "version"];
const OLDEST: u32 = 1;
const NEWEST: u32 = 10;

pub(super) fn check(archive: &Archive) -> Result<(), Error> {
    if let Some((found, help)) = other(archive) {
        let (found, help) = (Cow::Borrowed(found), Cow::Borrowed(help));
        return Err(ArchiveFault::NotAnArchive { found, help }.at(0));
    }
    for name in ["data.pkl", "constants.pkl"] {
        if !archive.has(name) {
            return Err(ArchiveFault::Missing { name: name.to_owned() }.at(0));
        }
    }
    version(archive)?;
    byte_order(archive)
}

/// Other formats that are zip archives too.
fn other(archive: &Archive) -> Option<(&'static str, &'static str)> {
    let has = |name| archive.has(name);
    let any = |part: fn(&str) -> bool| archive.entries.iter().any(|entry| part(&entry.name));
    let script = "save the model with `torch.jit.save(torch.jit.script(model), path)` or trace it";
    Some(if has("bytecode.pkl") && !(has("data.pkl") && any(|name| name.contains("/code/"))) {
        let help = "there is no code that could be read: quantize the archive of `torch.jit.save`, then convert that with \
                    `_save_for_lite_interpreter`";
        ("an archive for the mobile interpreter alone", help)
    } else if has("model.json") && has("tensors.json") || has("model.json") && !has("data.pkl") {
        (
            "a TorchScript archive in the format before PyTorch 1.2",
            "load it and save it again with PyTorch 1.4 or later",
        )
    } else if has("archive_format")
        || has("serialized_exported_program.json")
        || any(|name| name.contains("/models/model.json"))
    {
        ("a torch.export archive (.pt2)", script)
    } else if any(|name| name.ends_with("/.data/extern_modules")) {
        ("a torch.package archive", script)
    } else if has("data.pkl") && !has("constants.pkl") && !any(|name| name.contains("/code/")) {
        ("a torch.save file (a state_dict or a pickled module): it holds no code", script)
    } else if any(|name| name.rsplit_once('.').is_some_and(|(_, kind)| kind == "npy")) {
        ("a NumPy archive (.npz)", script)
    } else if any(|name| name.ends_with(".weights.h5")) {
        ("a Keras model", "use `tf-rewriter` for it")
    } else if !has("data.pkl") && !VERSION.into_iter().any(has) {
        ("a zip archive of another kind", script)
    } else {
        return None;
    })
}

fn version(archive: &Archive) -> Result<(), Error> {
    let Some(record) = VERSION.into_iter().find(|record| archive.has(record)) else {
        return Err(ArchiveFault::Missing { name: "version".to_owned() }.at(0));
    };
    let text = archive.read(record)?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if number.is_some_and(|number| (OLDEST..=NEWEST).contains(&number)) {
        return Ok(());
    }
    Err(ArchiveFault::Version { found: shown(&text) }.in_record(record))
}

fn byte_order(archive: &Archive) -> Result<(), Error> {
    if !archive.has("byteorder") {
        return Ok(());
    }
    let text = archive.read("byteorder")?;
    if text.trim_ascii() == b"little" {
        return Ok(());
    }
    Err(ArchiveFault::ByteOrder { found: shown(&text) }.in_record("byteorder"))
}

/// The start of a record that should be short, quoted and escaped.
fn shown(text: &[u8]) -> String {
    let text = text.trim_ascii_end();
    let start = text.get(..text.len().min(40)).unwrap_or_default();
    format!("`{}`{}", start.escape_ascii(), if start.len() < text.len() { "…" } else { "" })
}
