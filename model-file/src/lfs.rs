//! Pointers of Git LFS: short texts that stand in a checkout for large files until these are fetched.

/// What a pointer is called in errors.
pub const LFS_POINTER: &str = "a pointer of Git LFS, not the file itself";
/// The way out.
pub const LFS_HELP: &str = "fetch the file with `git lfs pull`";

/// Whether the bytes are such a pointer.
///
/// It begins with the address of its specification (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>), in early
/// versions with one of two others.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    let addresses: [&[u8]; 3] = [b"https://git-lfs.", b"https://hawser.", b"http://git-media."];
    bytes.strip_prefix(b"version ").is_some_and(|rest| addresses.iter().any(|address| rest.starts_with(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_told_from_other_text() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n";
        assert!(is_lfs_pointer(pointer));
        assert!(is_lfs_pointer(b"version http://git-media.io/v/2\n"));
        assert!(!is_lfs_pointer(b"version https://example.org\n"));
        assert!(!is_lfs_pointer(b"versions { producer: 26 }"));
    }
}
