//! Record names: the rules that keep every record inside the archive.

use crate::error::ArchiveFault;

/// `raw` as text, when it is a relative path of plain components (a trailing `/` marks a folder).
pub(super) fn checked(raw: &[u8]) -> Result<&str, ArchiveFault> {
    let wrong = |why| ArchiveFault::Name { name: format!("\"{}\"", raw.escape_ascii()), why };
    let name = std::str::from_utf8(raw).map_err(|_| wrong("is not UTF-8"))?;
    let path = name.strip_suffix('/').unwrap_or(name);
    if path.is_empty() {
        return Err(wrong("is empty"));
    }
    if name.starts_with('/') || path.as_bytes().get(1) == Some(&b':') {
        return Err(wrong("is an absolute path"));
    }
    if name.contains(['\\', '\0']) {
        return Err(wrong("holds a backslash or NUL"));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(wrong("leaves its folder or has an empty component"));
    }
    Ok(name)
}
