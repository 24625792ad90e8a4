//! A crate's sources without its tests and tables, and what is said in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files with their text, in which all white space is one blank.
#[derive(Debug)]
pub(super) struct Sources(Vec<(String, String)>);

impl Sources {
    pub(super) fn of(root: &Path, krate: &str) -> Self {
        let mut files = Vec::new();
        rust_files(&root.join(krate).join("src"), &mut files);
        assert!(!files.is_empty(), "no sources of {krate}");
        let is_table =
            |path: &Path| path.components().any(|part| matches!(part.as_os_str().to_str(), Some("codes" | "codes.rs")));
        let is_test = |path: &Path| path.file_stem().unwrap().to_str().unwrap().ends_with("tests");
        files.retain(|path| !is_table(path.strip_prefix(root).unwrap()) && !is_test(path));
        Self(files.iter().map(|path| file(&path.display().to_string(), &fs::read_to_string(path).unwrap())).collect())
    }

    pub(super) fn from_text(name: &str, text: &str) -> Self {
        Self(vec![file(name, text)])
    }

    /// Every literal that is a letter and four digits, with its file.
    pub(super) fn errors(&self) -> Vec<(&str, &str)> {
        let mut said = Vec::new();
        for (name, text) in &self.0 {
            said.extend(text.split('"').filter(|quoted| is_error(quoted)).map(|code| (code, name.as_str())));
        }
        said
    }

    pub(super) fn has(&self, part: &str) -> bool {
        self.0.iter().any(|(_, text)| text.contains(part))
    }

    /// Whether `word` stands somewhere and does not go on.
    pub(super) fn has_word(&self, word: &str) -> bool {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        self.0.iter().any(|(_, text)| text.split(word).skip(1).any(ends))
    }

    pub(super) fn assert_without(&self, parts: &[&str]) {
        for (name, text) in &self.0 {
            assert!(!parts.iter().any(|part| text.contains(part)), "{name} makes a code of its own: one of {parts:?}");
        }
    }

    /// Where a literal is the first argument of one of `calls`, it is a letter and four digits.
    pub(super) fn assert_errors_behind(&self, calls: &[&str]) {
        for (name, text) in &self.0 {
            for call in calls {
                for rest in text.split(call).skip(1) {
                    let argument = rest.trim_start();
                    let literal = argument.strip_prefix('"').map(|rest| rest.split('"').next().unwrap());
                    assert!(literal.is_none_or(is_error), "{name}: {call}{literal:?}");
                }
            }
        }
    }
}

/// Whether this is a code of a letter and four digits.
pub(super) fn is_error(code: &str) -> bool {
    let letter = code.strip_prefix(|c: char| c.is_ascii_uppercase());
    letter.is_some_and(|number| number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The constants of a crate's tables, by their codes.
pub(super) fn constants(root: &Path, krate: &str) -> BTreeMap<String, String> {
    let mut files = Vec::new();
    let (file, folder) = (root.join(krate).join("src/codes.rs"), root.join(krate).join("src/codes"));
    if file.is_file() {
        files.push(file);
    } else {
        rust_files(&folder, &mut files);
    }
    let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let entry = |line: &str| {
        let (constant, rest) = line.trim().split_once(" = \"")?;
        let (code, rest) = rest.split_once('"')?;
        rest.starts_with(" [").then(|| (code.to_owned(), constant.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

fn file(name: &str, text: &str) -> (String, String) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Unit tests stand last.
    let text = text.split("#[cfg(test)] mod tests {").next().unwrap().to_owned();
    (name.to_owned(), text)
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
