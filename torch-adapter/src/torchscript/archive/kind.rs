//! Which kind of archive this is: only what `torch.jit.save` writes is taken.

use model_file::Format;

use super::{Archive, sniff};
use crate::error::{ArchiveFault, Error};

/// The record with the file version; torch writes versions below 6 to the second, others to the first, and reads in this order.
const VERSION: [&str; 2] = [".data/version", "version"];
const OLDEST: u32 = 1;
const NEWEST: u32 = 10;

pub(super) fn check(archive: &Archive) -> Result<(), Error> {
    let format = Format::of_zip(archive.entries.iter().map(|entry| entry.name.as_str()));
    if format != Format::TorchScript {
        return Err(sniff::not_an_archive(format).at(0));
    }
    for name in ["data.pkl", "constants.pkl"] {
        if !archive.has(name) {
            return Err(ArchiveFault::Missing { name: name.to_owned() }.at(0));
        }
    }
    version(archive)?;
    byte_order(archive)
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
