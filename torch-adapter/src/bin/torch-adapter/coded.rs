//! The library's errors as the command line tells them.

use quant_cli::{Diagnostic, Failure};
use torch_adapter::Error;

/// An error of the library: exit code 1; requests that cannot be met by any model are usage errors.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
pub(crate) fn failure(error: Error) -> Failure {
    if let Error::WrittenPlan(faults) = innermost(&error) {
        return Failure::plan(faults);
    }
    let mut diagnostic = Diagnostic::error(error.code(), error.to_string()).with_causes_of(&error);
    if let Some(location) = error.location() {
        diagnostic = diagnostic.at(location);
    }
    if let Some(help) = error.help() {
        diagnostic = diagnostic.help(help);
    }
    match innermost(&error) {
        Error::Emit { .. }
        | Error::Gradient
        | Error::MissingRanges { .. }
        | Error::Unmatched { .. }
        | Error::Quantizer(_) => Failure::usage(diagnostic),
        _ => Failure::failed(diagnostic),
    }
}

fn innermost(error: &Error) -> &Error {
    match error {
        Error::InFile(inner) => innermost(&inner.error),
        other => other,
    }
}
