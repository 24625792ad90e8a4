//! What whoever trains a graph of `--emit training` has to know.
//!
//! Run [`INIT`] once. Feed [`IS_TRAINING`] with false for evaluation; without it, every pass that runs a quantized op is a training
//! pass: it moves the ranges of activations and counts [`STEP`]. Everything that was added hangs on the forward pass.

/// The variable that counts training forward passes (resource, int64, a scalar). A site is quantized in the pass with number `n`, counted
/// from 0, if `n` has reached its `quant_start_step`; in evaluation, if the next training pass would be.
pub const STEP: &str = "quantization/step";

/// The op that gives the variables which quantization added their first values, and touches no others.
pub const INIT: &str = "quantization/init";

/// The placeholder (bool, a scalar, true unless fed) that says whether a pass is a training pass.
pub const IS_TRAINING: &str = "quantization/is_training";
