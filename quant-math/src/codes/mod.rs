//! The registry of stable codes: what a skip, a warning, a note or an error is called, for scripts.
//!
//! A table per crate: this one has what every crate or both adapters say, `tf_rewriter::codes`, `torch_adapter::codes` and
//! `quant_cli::codes` the rest. `docs/codes.md` is made of all of them (`cargo xtask docs --codes --write`); a test holds tables, page and
//! sources together. A code never changes its meaning and is never used again for another one.

mod errors;
mod words;

use std::fmt;

pub use errors::ERRORS;
pub use words::*;

/// What of a config matches nothing or has no effect: warnings, which `--strict` makes errors.
const ABOUT_CONFIG: [&Code; 3] = [UNMATCHED, NO_EFFECT, NO_ENTRY_MATCHES];

/// What a code is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Why a site, or a constant, was left as it is.
    Skip,
    /// It was done, and there is something to know.
    Warning,
    /// What a user may like to know, and that asks for nothing.
    Note,
    /// What was asked for was not done.
    Error,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skip => "skip",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Error => "error",
        })
    }
}

/// A stable code. Tables make them, by [`codes!`](crate::codes!) and [`errors!`](crate::errors!), and nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The code itself: words in kebab case, or a letter and four digits.
    pub name: &'static str,
    /// What it is said of; most are said of one kind of thing.
    pub kinds: &'static [Kind],
    /// What it means, in a sentence without its full stop.
    pub meaning: &'static str,
    /// What a user can do, in a sentence without its full stop.
    pub way_out: &'static str,
    /// The first version that says it.
    pub since: &'static str,
}

/// The codes of this crate's table.
pub fn all() -> impl Iterator<Item = &'static Code> {
    WORDS.iter().chain(ERRORS).copied()
}

/// Whether a warning with the code `name` is about a config that matches nothing or has no effect: `--strict` makes it an error.
pub(crate) fn is_about_config(name: &str) -> bool {
    ABOUT_CONFIG.iter().any(|code| code.name == name)
}

/// A table of codes that have constants, which skips, warnings and notes are made from.
#[macro_export]
macro_rules! codes {
    ($table:ident, $about:literal: $(since $since:literal {
        $($name:ident = $code:literal [$($kind:ident),+] $meaning:literal, $way_out:literal;)+
    })+) => {
        $($(
            #[doc = concat!("`", $code, "`: ", $meaning, ".")]
            pub const $name: &$crate::codes::Code = &$crate::codes::Code {
                name: $code,
                kinds: &[$($crate::codes::Kind::$kind),+],
                meaning: $meaning,
                way_out: $way_out,
                since: $since,
            };
        )+)+
        #[doc = $about]
        pub const $table: &[&$crate::codes::Code] = &[$($($name,)+)+];
    };
}

/// A table of codes of errors, which the errors' `code` functions say.
#[macro_export]
macro_rules! errors {
    ($table:ident, $about:literal: $(since $since:literal {
        $($code:literal $meaning:literal, $way_out:literal;)+
    })+) => {
        #[doc = $about]
        pub const $table: &[&$crate::codes::Code] = &[$($(&$crate::codes::Code {
            name: $code,
            kinds: &[$crate::codes::Kind::Error],
            meaning: $meaning,
            way_out: $way_out,
            since: $since,
        },)+)+];
    };
}
