//! Checkpoints that TensorFlow writes, as we read them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells its story on stderr"
)]

mod common;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use common::{Framework, oracle, run_python};
use serde_json::{Value, json};
use tf_rewriter::bundle::{BundleWriter, NewValues, Tensor, TensorPart, patch};
use tf_rewriter::{Bundle, Error};

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
        let bytes = values.bytes().unwrap();
        assert_eq!((values.dtype(), values.shape(), bytes), (found.dtype, &found.shape[..], &found.bytes[..]));
    }
    assert_eq!(bundle.tensor("not/there").unwrap(), None);
    eprintln!("{prefix}: {} tensors", names.len());
}

/// As [`check`] has it of a tensor.
fn shown(bundle: &Bundle, name: &str, tensor: &Tensor) -> Value {
    if tensor.dtype as u64 != STRING {
        return json!([tensor.dtype as i32, tensor.shape, hex(&tensor.bytes)]);
    }
    let strings: Vec<String> = bundle.strings(name).unwrap().unwrap().iter().map(|text| hex(text)).collect();
    json!([tensor.dtype as i32, tensor.shape, null, strings])
}

/// Every checkpoint, written anew in two data files, and with new values for every other tensor, as TensorFlow reads them.
fn what_we_write_is_read<'a>(python: &Path, folder: &Path, prefixes: impl Iterator<Item = &'a String>) {
    let io = |source| Error::Io { action: "write", source };
    let (mut written, mut expected) = (Vec::new(), serde_json::Map::new());
    for prefix in prefixes {
        let bundle = Bundle::open(&folder.join(prefix)).unwrap();
        let stem = prefix.replace('/', "-");
        let [anew, patched] = ["anew", "patched"].map(|kind| folder.join(format!("{kind}-{stem}")));
        let mut writer = BundleWriter::create(&anew, 2).unwrap();
        let mut new = Vec::new();
        let (mut same, mut other) = (serde_json::Map::new(), serde_json::Map::new());
        for (number, name) in bundle.names().enumerate() {
            let entry = bundle.entry(name).unwrap().unwrap();
            let is_text = entry.dtype as u64 == STRING;
            let mut tensor = if is_text {
                let strings = bundle.strings(name).unwrap().unwrap();
                writer.strings(name, &entry.shape, &strings).unwrap();
                Tensor { dtype: entry.dtype, shape: entry.shape, bytes: Vec::new() }
            } else {
                let values = bundle.values(name, "").unwrap().unwrap();
                writer
                    .tensor(name, entry.dtype, &entry.shape, |out| out.write_all(values.bytes()?).map_err(io))
                    .unwrap();
                bundle.require(name).unwrap()
            };
            same.insert(name.to_owned(), shown(&bundle, name, &tensor));
            if number % 2 == 0 && !is_text {
                tensor.bytes.iter_mut().for_each(|byte| *byte ^= 1);
                let bytes = tensor.bytes.clone();
                let write = move |out: &mut (dyn Write + Send)| out.write_all(&bytes).map_err(io);
                new.push(NewValues { parts: vec![TensorPart::whole(name)], write: Box::new(write) });
            }
            other.insert(name.to_owned(), shown(&bundle, name, &tensor));
            if number == 2 {
                writer.next_shard().unwrap();
            }
        }
        writer.finish().unwrap();
        patch(&bundle, &patched, new).unwrap();
        for (path, values) in [(anew, same), (patched, other)] {
            expected.insert(path.to_str().unwrap().to_owned(), values.into());
            written.push(path);
        }
    }
    let arguments: Vec<&OsStr> =
        std::iter::once(OsStr::new("read")).chain(written.iter().map(|p| p.as_os_str())).collect();
    let answer: Value = serde_json::from_slice(&run_python(python, SCRIPT, &arguments, &[])).unwrap();
    for (prefix, values) in &expected {
        assert_eq!(answer.get(prefix), Some(values), "{prefix}");
    }
    assert_eq!(answer.as_object().unwrap().len(), expected.len());
}

#[test]
fn what_tensorflow_writes_is_read_bit_for_bit() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = tempfile::tempdir().unwrap();
    let answer = run_python(&python, SCRIPT, &[folder.path()], &[]);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let prefixes = answer.as_object().unwrap();
    assert_eq!(prefixes.len(), 6);
    let sliced = Bundle::open(&folder.path().join("sliced/variables/variables")).unwrap();
    let in_parts = sliced.names().filter(|name| !sliced.entry(name).unwrap().unwrap().slices.is_empty()).count();
    assert!(in_parts > 0 && Bundle::files(sliced.prefix()).len() > 3);
    for (prefix, expected) in prefixes {
        check(folder.path(), prefix, expected);
    }

    what_we_write_is_read(&python, folder.path(), prefixes.keys());

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
