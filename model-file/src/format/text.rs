//! Protobuf messages in text form, by the word they begin with.

use super::{Format, Written};

/// The format of a text that begins with the name of a field: the first word, if a `:`, `{` or `<` follows it.
///
/// Binary graphs are never taken for text: the name of a node has none of these three characters.
pub(super) fn format(bytes: &[u8]) -> Option<Format> {
    Some(match first_word(bytes)? {
        "node" | "library" | "versions" | "version" | "debug_info" => Format::GraphDef(Written::Text),
        "saved_model_schema_version" | "meta_graphs" => Format::SavedModel(Written::Text),
        "meta_info_def" | "graph_def" | "saver_def" | "collection_def" | "signature_def" => {
            Format::MetaGraph(Written::Text)
        }
        "model_checkpoint_path" => Format::CheckpointList,
        "ir_version" => Format::Onnx(Written::Text),
        _ => Format::ProtoText,
    })
}

fn first_word(bytes: &[u8]) -> Option<&str> {
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    while let Some(comment) = rest.strip_prefix(b"#") {
        let end = comment.iter().position(|byte| *byte == b'\n')?;
        rest = comment.get(end..)?.trim_ascii_start();
    }
    let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')?;
    let (word, rest) = rest.split_at_checked(end)?;
    let followed = matches!(rest.trim_ascii_start().first(), Some(b':' | b'{' | b'<'));
    if word.is_empty() || !followed { None } else { str::from_utf8(word).ok() }
}

/// Whether the bytes begin as text does.
pub(super) fn is_prose(bytes: &[u8]) -> bool {
    const BYTES_READ: usize = 512;
    let head = bytes.get(..BYTES_READ).unwrap_or(bytes);
    let valid = match std::str::from_utf8(head) {
        Ok(_) => head.len(),
        // The last character may be cut in two.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return false,
    };
    head.iter().take(valid).all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
}
