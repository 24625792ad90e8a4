//! Each verb and reader on inputs of n, 2n and 4n of what costs it most: near linear in memory and in work. What runs a graph is in
//! `growth_run`.
//!
//! One test in a file of its own: the allocation counter is the process's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoints;
mod data;
mod freeze;
mod graphs;
#[path = "../../../tests/common/growth.rs"]
mod growth;
#[path = "../made_bundle/mod.rs"]
mod made_bundle;
#[path = "../../../tests/common/peak.rs"]
mod peak;

#[test]
fn twice_the_input_is_twice_the_work() {
    graphs::all();
    freeze::all();
    checkpoints::all();
    data::all();
}
