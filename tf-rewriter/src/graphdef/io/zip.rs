//! The names in a zip archive, as far as telling Keras from PyTorch needs them.

/// The names in the central directory, at most `limit`; empty where the archive is damaged.
///
/// Source of the layout: APPNOTE.TXT, sections 4.3.12 and 4.3.16.
pub(super) fn names(bytes: &[u8], limit: usize) -> Vec<&[u8]> {
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
