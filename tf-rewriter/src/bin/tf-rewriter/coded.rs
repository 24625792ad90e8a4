//! The library's errors as the command line tells them.

use quant_cli::Failure;
use tf_rewriter::Error;

/// An error of the library: exit code 1; requests that cannot be met by any model are usage errors.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
pub(crate) fn failure(error: Error) -> Failure {
    let no_plan = match error.innermost() {
        Error::NoPlan(no) => Some(no),
        _ => None,
    };
    Failure::of_library(&error, error.code(), error.help(), error.location(), no_plan)
}
