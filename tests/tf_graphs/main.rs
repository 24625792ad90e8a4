//! Rewritten graphs in TensorFlow itself: every form of every rule loads and runs, also inside functions, loops and branches, and the
//! ops that `inference` inserts give the values that the arithmetic says.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

#[path = "../../tf-rewriter/tests/rules/case.rs"]
mod case;
mod control_flow;
mod rules;
mod session;
