//! Recorded cases, and what a framework says of them when it is asked again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::common::run_python;
use crate::inputs::bits;

/// A line of a recorded file, or of the script's answer: `name=value …`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    fields: BTreeMap<String, String>,
    /// The parameters alone, as they are written.
    parameters: String,
}

impl Case {
    fn new(line: &str) -> Self {
        let fields = line.split(' ').map(|field| field.split_once('=').unwrap_or((field, "")));
        Self {
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            parameters: line.split(" in=").next().unwrap().to_owned(),
        }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("{self} has no {name}"))
    }

    pub(crate) fn int<T: std::str::FromStr<Err: fmt::Debug>>(&self, name: &str) -> T {
        self.text(name).parse().unwrap()
    }

    pub(crate) fn float(&self, name: &str) -> f32 {
        f32::from_bits(u32::from_str_radix(self.text(name), 16).unwrap())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parameters)
    }
}

/// What our kernels make of a case.
pub(crate) struct Outputs {
    pub(crate) inputs: Vec<f32>,
    /// The values, and whatever else comes out: gradients of x and of the ends. `None`: an error, there is no grid.
    pub(crate) values: Option<(Vec<f32>, Vec<f32>)>,
}

fn digest(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|x| bits(*x).to_le_bytes()).collect();
    let start = Sha256::digest(&bytes)[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{start:016x}")
}

/// Compare with the recorded file; the number of cases and of output values.
pub(crate) fn check_recorded(file: &str, outputs: impl Fn(&Case) -> Outputs) -> (usize, usize) {
    let (mut cases, mut values) = (0, 0);
    for case in recorded(file) {
        let ours = outputs(&case);
        assert_eq!(digest(&ours.inputs), case.text("in"), "other inputs than recorded: {case}");
        cases += 1;
        let Some((y, rest)) = ours.values else {
            assert!(case.fields.contains_key("no-grid"), "an error where the framework has a result: {case}");
            continue;
        };
        assert!(!case.fields.contains_key("no-grid"), "a result where the framework has none: {case}");
        let first = y.iter().take(3).map(|y| format!("{:08x}", bits(*y))).collect::<Vec<_>>().concat();
        assert_eq!(first, case.text("first"), "first values: {case}");
        assert_eq!(digest(&y), case.text("out"), "values: {case}");
        if !rest.is_empty() {
            assert_eq!(digest(&rest), case.text("gradient"), "gradients: {case}");
        }
        values += y.len() + rest.len();
    }
    (cases, values)
}

fn recorded(file: &str) -> Vec<Case> {
    file.lines().filter(|line| !line.starts_with('#')).map(Case::new).collect()
}

/// Values compared and values that differ, of one kernel.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) forward: usize,
    pub(crate) rest: usize,
    pub(crate) mismatches: usize,
}

/// Ask the framework for every value of every recorded case and compare each; a tally for each kernel.
pub(crate) fn check_live(
    python: &Path,
    framework: &str,
    file: &str,
    outputs: impl Fn(&Case) -> Outputs,
) -> BTreeMap<String, Tally> {
    let answer = run_python(python, "tests/golden/record.py", &[framework, "--raw"], &[]);
    let mut answer = &answer[..];
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut differences = Vec::new();
    for case in recorded(file) {
        let end = answer.iter().position(|byte| *byte == b'\n').unwrap_or_else(|| panic!("no answer for {case}"));
        let live = Case::new(std::str::from_utf8(&answer[..end]).unwrap());
        assert_eq!(live.parameters, case.parameters, "the script and the recorded file have other cases");
        assert_eq!(live.text("in"), case.text("in"), "other inputs than recorded: {case}");
        let count: usize = live.int("count");
        let theirs: Vec<u32> =
            answer[end + 1..].as_chunks().0[..count].iter().map(|b| u32::from_le_bytes(*b)).collect();
        answer = &answer[end + 1 + 4 * count..];

        let (y, rest) = outputs(&case).values.unwrap_or_default();
        assert_eq!(y.len() + rest.len(), count, "an error on one side only: {case}");
        let tally = tallies.entry(case.text("kernel").to_owned()).or_default();
        tally.forward += y.len();
        tally.rest += rest.len();
        for (i, (ours, theirs)) in y.iter().chain(&rest).zip(theirs).enumerate() {
            if bits(*ours) != theirs {
                tally.mismatches += 1;
                differences
                    .push(format!("{case}: value {i} is {ours:e}, {framework} has {:e}", f32::from_bits(theirs)));
            }
        }
    }
    assert!(answer.is_empty(), "the script has more cases than the recorded file");
    assert!(
        differences.is_empty(),
        "{} values differ, the first:\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
    tallies
}
