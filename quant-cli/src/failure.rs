//! Why a command ends without having done its work.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use quant_math::config::ConfigErrors;
use quant_math::plan::{NoPlan, PlanFaults};

use crate::diagnostic::{Coded, Diagnostic};

/// What a command ends with when it did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    diagnostics: Vec<Diagnostic>,
    usage: bool,
}

impl Failure {
    /// The command failed: exit code 1.
    pub fn failed(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic], usage: false }
    }

    /// The command line or the config is wrong: exit code 2.
    pub fn usage(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic], usage: true }
    }

    /// Several errors of the command line or the config: exit code 2.
    pub fn usages(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, usage: true }
    }

    /// Every error of a config, with the config's file: exit code 2.
    pub fn config(errors: &ConfigErrors, file: Option<&str>) -> Self {
        Self::usages(Diagnostic::from_config(errors, file))
    }

    /// Every fault of a plan that was written down: exit code 2.
    pub fn plan(faults: &PlanFaults) -> Self {
        Self::usages(faults.iter().map(Diagnostic::from_error).collect())
    }

    /// An error of an adapter's library, by its code, way out and place, and the reason why there is no plan where it is one: exit code 1, or 2
    /// for a request that no model can meet. Of a plan that was written down every fault is told.
    pub fn of_library(
        error: &dyn Error,
        code: &str,
        help: Option<Cow<'_, str>>,
        location: Option<String>,
        no_plan: Option<&NoPlan>,
    ) -> Self {
        if let Some(NoPlan::Written(faults)) = no_plan {
            return Self::plan(faults);
        }
        let diagnostic = Diagnostic {
            location,
            help: help.map(Cow::into_owned),
            ..Diagnostic::error(code, error.to_string()).with_causes_of(error)
        };
        if no_plan.is_some_and(NoPlan::is_usage) { Self::usage(diagnostic) } else { Self::failed(diagnostic) }
    }

    /// The same, but for exit code 2.
    #[must_use]
    pub fn of_usage(self) -> Self {
        Self { usage: true, ..self }
    }

    /// With a location for every error that has none yet.
    #[must_use]
    pub fn at(mut self, location: &str) -> Self {
        for diagnostic in self.diagnostics.iter_mut().filter(|diagnostic| diagnostic.location.is_none()) {
            diagnostic.location = Some(location.to_owned());
        }
        self
    }

    /// What is to be said.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// 1 failed, 2 usage or config.
    pub fn exit_code(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }
}

/// A library's error: exit code 1.
impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(Diagnostic::from_error(&error))
    }
}

/// Every error of the config: exit code 2.
impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::config(&errors, None)
    }
}

/// Standard output or input failed: exit code 1.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // An output file's error is a better message than the envelope it came in.
        if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<model_file::atomic::AtomicError>()) {
            return Self::failed(Diagnostic::from_error(inner));
        }
        Self::failed(Diagnostic::error("O0001", "cannot read or write").caused_by(&error))
    }
}

#[cfg(test)]
mod tests {
    use quant_math::config::ConfigList;

    use super::*;

    #[test]
    fn every_error_of_a_config_is_told_with_its_file() {
        let errors =
            ConfigList::parse("[{quant_types: ['weight'], quant_bits: 17}, 5]", Some(quant_math::Quantizer::Qat));
        let failure = Failure::config(&errors.unwrap_err(), Some("q.json"));
        assert_eq!(failure.exit_code(), 2);
        let told: Vec<_> = failure.diagnostics().iter().map(|d| (d.code.as_str(), d.location.as_deref())).collect();
        assert_eq!(told, [("C0104", Some("q.json")), ("C0105", Some("q.json")), ("C0103", Some("q.json"))]);
    }

    #[test]
    fn an_output_files_error_keeps_its_code() {
        let inner =
            model_file::atomic::AtomicError::Write { path: "out.pb".into(), source: io::ErrorKind::StorageFull.into() };
        let failure = Failure::from(io::Error::new(io::ErrorKind::StorageFull, inner));
        assert_eq!(failure.exit_code(), 1);
        let [diagnostic] = failure.diagnostics() else { panic!("one diagnostic") };
        assert_eq!(diagnostic.code, "O0104");
        assert_eq!(diagnostic.message, "cannot write `out.pb`");
        assert_eq!(diagnostic.causes, ["no storage space"]);
        assert!(diagnostic.help.as_deref().unwrap().starts_with("free some space"));
    }
}
