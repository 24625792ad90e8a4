//! Checkpoints that TensorFlow writes, as we read them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells its story on stderr"
)]

mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::{Framework, oracle, run_python};
use serde_json::{Value, json};
use tf_rewriter::Bundle;

const SCRIPT: &str = "tests/tensorflow/checkpoints.py";
const STRING: u64 = 7;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[track_caller]
fn check(folder: &Path, prefix: &str, expected: &Value) {
    let bundle = Bundle::open(&folder.join(prefix)).unwrap();
    let expected = expected.as_object().unwrap();
    let mut names: Vec<&str> = expected.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(bundle.names().collect::<Vec<_>>(), names, "{prefix}");
    for (name, wanted) in expected {
        if wanted[0] == STRING {
            let error = bundle.tensor(name).unwrap_err();
            assert_eq!(error.code(), "E0701", "{prefix} {name}: {error}");
            let strings = bundle.strings(name).unwrap().unwrap();
            assert_eq!(json!(strings.iter().map(|text| hex(text)).collect::<Vec<_>>()), wanted[3], "{prefix} {name}");
            continue;
        }
        let found = bundle.tensor(name).unwrap().unwrap();
        assert_eq!(json!([found.dtype as i32, found.shape, hex(&found.bytes)]), *wanted, "{prefix} {name}");
        let values = bundle.values(name, "").unwrap().unwrap();
        assert_eq!((values.dtype(), values.shape(), values.bytes()), (found.dtype, &found.shape[..], &found.bytes[..]));
    }
    assert_eq!(bundle.tensor("not/there").unwrap(), None);
    eprintln!("{prefix}: {} tensors", names.len());
}

#[test]
fn what_tensorflow_writes_is_read_bit_for_bit() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = tempfile::tempdir().unwrap();
    let answer = run_python(&python, SCRIPT, &[folder.path()], &[]);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let prefixes = answer.as_object().unwrap();
    assert_eq!(prefixes.len(), 5);
    for (prefix, expected) in prefixes {
        check(folder.path(), prefix, expected);
    }

    let told = |path: &str| {
        let error = Bundle::open(&folder.path().join(path)).unwrap_err();
        assert_eq!(error.code(), "E0701");
        (error.to_string(), error.help().unwrap().into_owned())
    };
    assert_eq!(told("v1").0, "this is one file without an index, as checkpoints of version 1 are");
    assert_eq!(told("none").0, "there is no checkpoint with this prefix");
    let prefix = |name: &str| format!("give `{}`", folder.path().join(name).display());
    assert_eq!(told("saved_model").1, prefix("saved_model/variables/variables"));
    assert_eq!(told("saved_model/variables").1, prefix("saved_model/variables/variables"));
    assert_eq!(Bundle::open(&folder.path().join("saver.index")).unwrap().prefix(), folder.path().join("saver"));
    assert_eq!(told("saver.data-00000-of-00001").1, prefix("saver"));
}
