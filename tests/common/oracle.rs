//! Where the frameworks are that tests compare with.

use std::path::PathBuf;

/// A framework whose own arithmetic is the measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framework {
    /// TensorFlow 2.
    TensorFlow,
    /// PyTorch.
    Torch,
}

impl Framework {
    fn variable(self) -> &'static str {
        match self {
            Self::TensorFlow => "QUANT_TF_PYTHON",
            Self::Torch => "QUANT_TORCH_PYTHON",
        }
    }
}

/// The Python interpreter that has `framework`, or `None` where none was named and none is required.
pub(crate) fn oracle(framework: Framework) -> Option<PathBuf> {
    let variable = framework.variable();
    if let Some(python) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
        return Some(python.into());
    }
    let required = std::env::var_os("QUANT_REQUIRE_ORACLES").is_some_and(|value| value == "1");
    assert!(
        !required,
        "{variable} is not set, expected a Python interpreter with {framework:?}: `cargo xtask test` sets it"
    );
    eprintln!("left out: comparison with {framework:?} ({variable} is not set; `cargo xtask test` runs it)");
    None
}
