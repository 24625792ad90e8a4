//! Formats with bytes at a fixed place that nothing else has there.

use super::{Format, zip};

/// At the end of a LevelDB table, which is what a checkpoint's index is.
const TABLE: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();

pub(super) fn format(bytes: &[u8]) -> Option<Format> {
    Some(match bytes {
        [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => Format::KerasHdf5,
        [b'P', b'K', 3, 4, ..] => zip::of_bytes(bytes),
        [b'P', b'K', 5, 6, ..] => Format::EmptyZip,
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Format::TfLite,
        [0x1f, 0x8b, ..] => Format::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
        // The first pickle is a number of its own.
        _ if bytes.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") => Format::TorchSaveOld,
        // A pickle begins with its protocol.
        [0x80, 2..=5, ..] => Format::Pickle,
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Format::NumpyArray,
        _ if bytes.get(257..262) == Some(b"ustar") => Format::Tar,
        _ if bytes.ends_with(&TABLE) => Format::CheckpointIndex,
        _ if is_safetensors(bytes) => Format::Safetensors,
        _ => return None,
    })
}

/// A length, then a JSON object of that length.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((len, rest)) = bytes.split_first_chunk().map(|(len, rest)| (u64::from_le_bytes(*len), rest)) else {
        return false;
    };
    rest.first() == Some(&b'{') && len >= 2 && len <= rest.len() as u64
}
