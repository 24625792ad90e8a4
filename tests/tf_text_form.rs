//! Graphs in text form: TensorFlow's text as we read it, and our text as TensorFlow reads it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Framework, oracle, run_python};

const SCRIPT: &str = "tests/tensorflow/text_form.py";
const GRAPHS: usize = 600;

fn frame(out: &mut Vec<u8>, data: &[u8]) {
    out.extend((data.len() as u64).to_le_bytes());
    out.extend(data);
}

fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (data, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
        found.push(data);
        bytes = rest;
    }
    found
}

#[test]
fn text_form_means_the_same_to_tensorflow() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let made = run_python(&python, SCRIPT, &["make", "1", &GRAPHS.to_string()], &[]);
    let made = frames(&made);
    assert_eq!(made.len(), 2 * GRAPHS);
    let mut ours = Vec::new();
    for pair in made.chunks(2) {
        let (binary, text) = (pair[0], pair[1]);
        let mut written = Vec::new();
        tf_rewriter::text::write(binary, &mut written).unwrap();
        frame(&mut ours, binary);
        frame(&mut ours, &tf_rewriter::text::parse(text).unwrap());
        frame(&mut ours, &written);
    }
    let checked = run_python(&python, SCRIPT, &["check"], &ours);
    assert_eq!(String::from_utf8(checked).unwrap().trim(), GRAPHS.to_string());
}
