//! Writing: torch's own layout, untouched records byte for byte, in their order.

mod edits;
mod layout;
mod records;
mod source;
mod stream;

use std::io::Write;

use model_file::WRITE;

pub use edits::{Body, Edits, Fill, Patch};

use super::Archive;
use crate::error::Error;

/// Write `archive` with `edits` to `out`; returns the number of bytes. `progress` is told how many were just written.
///
/// Every record that is copied has its CRC checked on the way. Without edits the output is the input, byte for byte.
///
/// # Errors
///
/// [`ArchiveFault::Crc`](super::ArchiveFault::Crc) and [`ArchiveFault::Inflate`](super::ArchiveFault::Inflate) for damaged
/// input, [`ArchiveFault::Edit`](super::ArchiveFault::Edit) for edits that do not fit, and what the edits' [`Fill`]s and `out`
/// return.
pub fn write<W: Write + Send>(
    archive: &Archive,
    edits: &Edits<'_>,
    out: &mut W,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    if edits.is_empty() {
        return copy(archive, out, progress);
    }
    let records = records::plan(archive, edits)?;
    stream::write(&records, out, progress)
}

/// The whole file, while its records are checked.
fn copy<W: Write + Send>(archive: &Archive, out: &mut W, progress: &(dyn Fn(u64) + Sync)) -> Result<u64, Error> {
    let write = || {
        let mut written = 0;
        for piece in archive.bytes().chunks(WRITE) {
            out.write_all(piece).map_err(Error::writing)?;
            written += piece.len() as u64;
            progress(piece.len() as u64);
        }
        Ok(written)
    };
    let (checked, written) = rayon::join(|| archive.check_all(), write);
    checked?;
    written
}
