//! What types ops take and give, and what their outputs are called: TensorFlow's own registrations.
//!
//! `ops.txt` has a line for each op that TensorFlow 2.21 registers, sorted by name: `Op|inputs|outputs`, the outputs with their names, a `!`
//! behind the name of an op that has state. `tests/tensorflow/ops.py` makes it.
//!
//! A type is `=float` or the name of the attribute that holds it; `N*T` stands for as many as the attribute `N` says, `*Tin` for a list of
//! types, `&` for a reference.

use std::sync::LazyLock;

static TEXT: &str = include_str!("ops.txt");

static OPS: LazyLock<Vec<Signature>> = LazyLock::new(|| TEXT.lines().filter_map(Signature::parse).collect());

/// An op's registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(super) op: &'static str,
    /// Whether it does more than compute its outputs from its inputs.
    pub(crate) is_stateful: bool,
    /// Types of the inputs, with a space between.
    pub(super) inputs: &'static str,
    /// `name:type` of the outputs, with a space between.
    pub(super) outputs: &'static str,
}

impl Signature {
    fn parse(line: &'static str) -> Option<Self> {
        let (op, rest) = line.split_once('|')?;
        let (inputs, outputs) = rest.split_once('|')?;
        let (op, is_stateful) = op.strip_suffix('!').map_or((op, false), |op| (op, true));
        Some(Self { op, is_stateful, inputs, outputs })
    }
}

/// The registration of `op`, where TensorFlow has it.
pub(crate) fn signature(op: &[u8]) -> Option<&'static Signature> {
    let found = OPS.binary_search_by(|known| known.op.as_bytes().cmp(op)).ok()?;
    OPS.get(found)
}

/// All ops, for the test that each can be read.
#[cfg(test)]
pub(super) fn all() -> &'static [Signature] {
    &OPS
}
