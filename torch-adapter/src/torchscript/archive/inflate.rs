//! Deflate streams, never longer than declared.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use crate::error::ArchiveFault;

/// The whole stream, which must have exactly `size` bytes and end with the end of `packed`.
pub(super) fn all(packed: &[u8], size: u64) -> Result<Vec<u8>, ArchiveFault> {
    let fault = |why| ArchiveFault::Inflate { why, expected: size };
    let len = usize::try_from(size).map_err(|_| fault("the declared length does not fit into memory"))?;
    let mut out = vec![0; len];
    let mut state = DecompressorOxide::new();
    let (status, consumed, written) =
        decompress(&mut state, packed, &mut out, 0, inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
    match status {
        TINFLStatus::Done if written != len => Err(fault("the stream is shorter than declared")),
        TINFLStatus::Done if consumed != packed.len() => Err(fault("bytes follow the end of the stream")),
        TINFLStatus::Done => Ok(out),
        TINFLStatus::HasMoreOutput => Err(fault("the stream is longer than declared")),
        TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => Err(fault("the stream is cut off")),
        _ => Err(fault("the stream is damaged")),
    }
}

/// The CRC of the stream, in constant memory; the same checks as [`all`].
pub(super) fn crc(packed: &[u8], size: u64) -> Result<u32, ArchiveFault> {
    const WINDOW: usize = 64 << 10;
    let fault = |why| ArchiveFault::Inflate { why, expected: size };
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let mut window = vec![0; WINDOW];
    let mut hasher = crc32fast::Hasher::new();
    let (mut rest, mut total) = (packed, 0_u64);
    loop {
        let step = inflate(&mut state, rest, &mut window, MZFlush::None);
        rest = rest.get(step.bytes_consumed..).unwrap_or_default();
        total += step.bytes_written as u64;
        if total > size {
            return Err(fault("the stream is longer than declared"));
        }
        hasher.update(window.get(..step.bytes_written).unwrap_or_default());
        match step.status {
            Ok(MZStatus::StreamEnd) => break,
            Ok(_) if step.bytes_written != 0 || step.bytes_consumed != 0 => {}
            Ok(_) | Err(MZError::Buf) => return Err(fault("the stream is cut off")),
            Err(_) => return Err(fault("the stream is damaged")),
        }
    }
    if total != size {
        return Err(fault("the stream is shorter than declared"));
    }
    if !rest.is_empty() {
        return Err(fault("bytes follow the end of the stream"));
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> (Vec<u8>, Vec<u8>) {
        let text: Vec<u8> = (0..200_000).map(|i| u8::try_from(i % 251).unwrap()).collect();
        (miniz_oxide::deflate::compress_to_vec(&text, 9), text)
    }

    #[test]
    fn both_ways_read_the_same() {
        let (packed, text) = packed();
        assert_eq!(all(&packed, text.len() as u64).unwrap(), text);
        assert_eq!(crc(&packed, text.len() as u64).unwrap(), crc32fast::hash(&text));
    }

    #[test]
    fn wrong_lengths_are_refused_by_both() {
        let (packed, text) = packed();
        let len = text.len() as u64;
        let mut longer = packed.clone();
        longer.push(0);
        for (bytes, size) in
            [(&packed[..], len - 1), (&packed[..], len + 1), (&packed[..packed.len() - 9], len), (&longer, len)]
        {
            let (a, b) = (all(bytes, size).unwrap_err(), crc(bytes, size).unwrap_err());
            assert_eq!((a.code(), b.code()), ("T0114", "T0114"));
        }
    }
}
