//! The kernels of `quant-math` against those of the frameworks, bit for bit.
//!
//! `tests/golden/record.py` runs the real ops. Their answers are checked in as digests with the first values of each case;
//! where an interpreter with the framework is at hand, every single value is compared.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking; the numbers are made to fit"
)]

#[path = "../common/mod.rs"]
mod common;

mod case;
mod inputs;
mod tensorflow;
mod torch;

use common::{Framework, oracle};

/// Every kernel is compared on at least this many values, forward and backward.
const ENOUGH: usize = 100_000;

#[test]
fn recorded_tensorflow() {
    let (cases, values) = case::check_recorded(tensorflow::RECORDED, tensorflow::outputs);
    assert!(cases >= 1800 && values >= 6 * ENOUGH, "{cases} cases, {values} values");
}

#[test]
fn recorded_torch() {
    let (cases, values) = case::check_recorded(torch::RECORDED, torch::outputs);
    assert!(cases >= 750 && values >= 6 * ENOUGH, "{cases} cases, {values} values");
}

#[test]
fn live_tensorflow() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let tallies = case::check_live(&python, "tensorflow", tensorflow::RECORDED, tensorflow::outputs);
    for kernel in ["vars", "args", "channel"] {
        let tally = tallies[kernel];
        eprintln!("TensorFlow {kernel}: {tally:?}");
        assert!(tally.forward >= ENOUGH && tally.rest >= ENOUGH && tally.mismatches == 0, "{kernel}: {tally:?}");
    }
}

#[test]
fn live_torch() {
    let Some(python) = oracle(Framework::Torch) else { return };
    let tallies = case::check_live(&python, "torch", torch::RECORDED, torch::outputs);
    for kernel in ["tensor", "channel", "lsq", "minmax", "average"] {
        let tally = tallies[kernel];
        eprintln!("PyTorch {kernel}: {tally:?}");
        assert!(tally.forward >= ENOUGH && tally.mismatches == 0, "{kernel}: {tally:?}");
    }
    for kernel in ["tensor", "channel", "lsq"] {
        assert!(tallies[kernel].rest >= ENOUGH, "{kernel}: {:?}", tallies[kernel]);
    }
}
