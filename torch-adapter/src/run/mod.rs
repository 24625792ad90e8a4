//! What executes an archive: the PyTorch that a Python on this machine has. Nothing is installed, and nothing is linked.
//!
//! ```text
//! calibrate: model ──observe──▶ archive ──▶ python3 (a fixed script, fed on its standard input) ──▶ archive ──measured──▶ ranges
//! evaluate:  model, reference ──▶ python3 (the same way) ──▶ outputs, batch by batch ──▶ numbers
//! sensitivity: model ──exchange──▶ archive, values of its weights ──▶ python3 (the same way) ──▶ outputs of every model ──▶ numbers
//! ```

mod calibrate;
mod evaluate;
mod folder;
mod how;
mod locate;
mod python;
mod refused;
mod sensitivity;

pub use calibrate::{Calibration, calibrate};
pub use evaluate::{Evaluating, Watch, evaluate};
pub use how::Running;
pub use locate::{Place, Search, VARIABLE};
pub use sensitivity::{SensitivityMeter, SensitivityOptions};

pub use crate::error::{INSTALL, RunError};
pub use quant_math::evaluation::{Accuracy, Agreement, Entrance, Evaluation, Layer, OutputReport};
