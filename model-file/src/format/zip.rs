//! Zip archives, by the names of their entries.

use super::Format;

/// As many names are read as are needed to tell what an archive is.
const NAMES_READ: usize = 100_000;

/// The format of an archive, of which nothing but the directory is read; a damaged one has no names.
pub(super) fn of_bytes(bytes: &[u8]) -> Format {
    format(&names(bytes, NAMES_READ).into_iter().filter_map(|name| str::from_utf8(name).ok()).collect::<Vec<_>>())
}

/// The format of an archive with these entries. Those of PyTorch lie in one folder, with the archive's name.
pub(super) fn format(names: &[&str]) -> Format {
    let any = |is: &dyn Fn(&str) -> bool| names.iter().any(|name| is(name));
    let has = |record: &str| any(&|name| name.split_once('/').is_some_and(|(_, rest)| rest == record));
    let ends = |end: &str| any(&|name| name.ends_with(end));
    let code = any(&|name| name.contains("/code/"));
    if has("bytecode.pkl") && !(has("data.pkl") && code) {
        Format::TorchMobile
    } else if has("model.json") && (has("tensors.json") || !has("data.pkl")) {
        Format::TorchScriptOld
    } else if has("archive_format")
        || has("serialized_exported_program.json")
        || any(&|name| name.contains("/models/model.json"))
    {
        Format::TorchExport
    } else if ends("/.data/extern_modules") {
        Format::TorchPackage
    } else if has("data.pkl") && !has("constants.pkl") && !code {
        Format::TorchSave
    } else if ends(".npy") {
        Format::NumpyArchive
    } else if ends(".weights.h5") {
        Format::KerasZip
    } else if has("data.pkl") || has("version") || has(".data/version") {
        Format::TorchScript
    } else {
        Format::Zip
    }
}

/// The names in the central directory, at most `limit`; empty where the archive is damaged.
///
/// Source of the layout: APPNOTE.TXT, sections 4.3.12 and 4.3.16.
fn names(bytes: &[u8], limit: usize) -> Vec<&[u8]> {
    central_directory(bytes)
        .map(|directory| std::iter::successors(entry(directory), |(_, rest)| entry(rest)).map(|(name, _)| name))
        .into_iter()
        .flatten()
        .take(limit)
        .collect()
}

fn central_directory(bytes: &[u8]) -> Option<&[u8]> {
    // The end record is 22 bytes and a comment of at most 65,535.
    let tail = bytes.get(bytes.len().saturating_sub(22 + 65_535)..)?;
    let end = tail.windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let offset = number::<4>(tail, end.checked_add(16)?)?;
    bytes.get(offset..)
}

/// The first entry's name, and what follows the entry.
fn entry(directory: &[u8]) -> Option<(&[u8], &[u8])> {
    const FIXED: usize = 46;
    if !directory.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (name, extra, comment) =
        (number::<2>(directory, 28)?, number::<2>(directory, 30)?, number::<2>(directory, 32)?);
    let rest = directory.get(FIXED..)?;
    Some((rest.get(..name)?, rest.get(name + extra + comment..)?))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.first_chunk::<N>()?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}
