//! What an entry says about op types and names.

use globset::{Glob, GlobBuilder, GlobMatcher};

use super::op_types;

/// One word of `op_types`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TypePattern {
    /// The word `default`.
    Default,
    /// A type, with the table's other names for it.
    Named { text: String, row: Option<&'static op_types::OpType> },
}

impl TypePattern {
    pub(super) fn new(text: &str) -> Self {
        if text.eq_ignore_ascii_case("default") {
            Self::Default
        } else {
            Self::Named { text: text.to_owned(), row: op_types::find(text) }
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Default => "default",
            Self::Named { text, .. } => text,
        }
    }

    pub(super) fn matches(&self, op_type: &str, is_default: bool) -> bool {
        match self {
            Self::Default => is_default,
            Self::Named { text, row: None } => text.eq_ignore_ascii_case(op_type),
            Self::Named { row: Some(row), .. } => row.names.iter().any(|name| name.eq_ignore_ascii_case(op_type)),
        }
    }
}

/// One word of `op_names`: a name, or a glob in which `*` stands for any characters, `/` and `.` included.
#[derive(Debug, Clone)]
pub(super) struct NamePattern {
    text: String,
    glob: Option<GlobMatcher>,
}

impl NamePattern {
    /// Names are at most a few hundred characters; a longer glob would only cost memory.
    const LONGEST: usize = 1024;
    /// The most globs of a config, so that matching all of them costs no more for each op.
    pub(super) const MOST_GLOBS: usize = 1024;

    /// What makes a glob of a name.
    const SIGNS: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

    /// The word that means this name alone.
    pub(super) fn escaped(name: &str) -> String {
        let signs = |sign: char| Self::SIGNS.contains(&sign).then_some('\\').into_iter().chain(Some(sign));
        name.chars().flat_map(signs).collect()
    }

    /// The message says what is wrong with the glob.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let glob = if text.contains(Self::SIGNS) {
            if text.len() > Self::LONGEST {
                return Err(format!("a glob of {} bytes, expected at most {}", text.len(), Self::LONGEST));
            }
            let glob = GlobBuilder::new(text).backslash_escape(true).build();
            let glob = glob.map_err(|error| format!("`{text}` is not a glob: {}", error.kind()))?;
            Some(glob.compile_matcher())
        } else {
            None
        };
        Ok(Self { text: text.to_owned(), glob })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn glob(&self) -> Option<&Glob> {
        self.glob.as_ref().map(GlobMatcher::glob)
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.text == name || self.glob.as_ref().is_some_and(|glob| glob.is_match(name))
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_cross_the_separators_of_both_frameworks() {
        let matches = |pattern: &str, name: &str| NamePattern::new(pattern).unwrap().matches(name);
        assert!(matches("block_*/conv", "block_1/conv"));
        assert!(matches("block_*/conv", "block_1/inner/conv"));
        assert!(matches("features.*", "features.0.conv"));
        assert!(matches("conv[0-9]", "conv7"));
        assert!(matches("{a,b}/conv", "b/conv"));
        assert!(matches(r"a\*b", "a*b") && !matches(r"a\*b", "axb"));
        assert!(matches("conv1", "conv1") && !matches("conv1", "conv10") && !matches("conv1", "Conv1"));
        // A name that only looks like a glob still means itself.
        assert!(matches("x[0]", "x[0]"));
    }

    #[test]
    fn bad_globs_are_refused() {
        for bad in ["a[", "{a", "a}", "a\\", "[z-a]"] {
            let message = NamePattern::new(bad).unwrap_err();
            assert!(message.starts_with(&format!("`{bad}` is not a glob: ")), "{message}");
        }
        assert_eq!(NamePattern::new(&"*".repeat(2000)).unwrap_err(), "a glob of 2000 bytes, expected at most 1024");
        assert!(NamePattern::new(&("{".repeat(200) + &"}".repeat(200))).is_err());
    }
}
