//! What executes an archive: the PyTorch that a Python on this machine has. Nothing is installed, and nothing is linked.
//!
//! ```text
//! model ──observe──▶ archive ──▶ python3 (a fixed script, fed on its standard input) ──▶ archive ──measured──▶ ranges
//! ```

mod calibrate;
mod locate;
mod python;

pub use calibrate::{Calibration, calibrate};
pub use locate::{Place, Search, VARIABLE};

pub use crate::error::{INSTALL, RunError};
