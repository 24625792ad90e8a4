//! Checkpoints that are written: anew, and with other values in their places.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod made_bundle;

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tf_rewriter::bundle::{BundleWriter, NewValues, Tensor, TensorPart, patch};
use tf_rewriter::pb::DataType;
use tf_rewriter::{Bundle, Error};

use made_bundle::{content, entry, header, snappy, table};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/checkpoint/saver");
const ENDS: [&str; 2] = [".index", ".data-00000-of-00001"];

fn golden() -> Bundle {
    Bundle::open(Path::new(GOLDEN)).unwrap()
}

fn with_end(prefix: &Path, end: &str) -> PathBuf {
    format!("{}{end}", prefix.display()).into()
}

fn bytes_of(prefix: &Path) -> [Vec<u8>; 2] {
    ENDS.map(|end| std::fs::read(with_end(prefix, end)).unwrap())
}

/// A copy of the golden checkpoint.
fn copied(folder: &TempDir) -> PathBuf {
    let prefix = folder.path().join("m");
    for (end, bytes) in ENDS.iter().zip(bytes_of(Path::new(GOLDEN))) {
        model_file::atomic::write(&with_end(&prefix, end), &bytes).unwrap();
    }
    prefix
}

fn is_text(bundle: &Bundle, name: &str) -> bool {
    bundle.entry(name).unwrap().unwrap().dtype == DataType::DT_STRING
}

fn tensors(bundle: &Bundle) -> Vec<(String, Tensor)> {
    let names = bundle.names().filter(|name| !is_text(bundle, name));
    names.map(|name| (name.to_owned(), bundle.require(name).unwrap())).collect()
}

/// New values that come in pieces of a few bytes.
fn new<'a>(name: &str, part: &str, bytes: &'a [u8]) -> NewValues<'a> {
    let write = move |out: &mut (dyn Write + Send)| {
        bytes
            .chunks(7)
            .try_for_each(|chunk| out.write_all(chunk))
            .map_err(|source| Error::Io { action: "write", source })
    };
    NewValues { parts: vec![TensorPart { name: name.to_owned(), part: part.to_owned() }], write: Box::new(write) }
}

fn only_file_names(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let golden = golden();
    for shards in [0, 1, 3] {
        let prefix = folder.path().join(format!("m{shards}"));
        let mut writer = BundleWriter::create(&prefix, shards).unwrap();
        for (number, (name, tensor)) in tensors(&golden).iter().enumerate() {
            let write = |out: &mut (dyn Write + Send)| (new("", "", &tensor.bytes).write)(out);
            writer.tensor(name, tensor.dtype, &tensor.shape, write).unwrap();
            if number % 4 == 3 {
                writer.next_shard().unwrap();
            }
        }
        writer.strings("string", &[2], &["abc", ""]).unwrap();
        writer.finish().unwrap();
        let written = Bundle::open(&prefix).unwrap();
        assert!(written.names().eq(golden.names()));
        assert_eq!(tensors(&written), tensors(&golden));
        assert_eq!(written.strings("string").unwrap(), golden.strings("string").unwrap());
        assert_eq!(Bundle::files(&prefix).len() as u64, 1 + u64::from(shards.max(1)));
        let last = written.names().map(|name| written.entry(name).unwrap().unwrap().shard).max().unwrap();
        assert_eq!(last, u64::from(shards.max(1)) - 1);
    }
}

#[test]
fn an_unfinished_checkpoint_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("m");
    let begin = || BundleWriter::create(&prefix, 2).unwrap();
    let mut writer = begin();
    let write = |count: usize| move |out: &mut (dyn Write + Send)| (new("", "", &vec![1; count]).write)(out);
    let float = DataType::DT_FLOAT;
    let told = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert_eq!(error.code(), "E0705", "{error}");
        error.to_string()
    };
    writer.tensor("w", float, &[2], write(8)).unwrap();
    let expected = "new values of `w`: found a tensor of that name, expected each name once";
    assert_eq!(told(writer.tensor("w", float, &[2], write(8))), expected);
    assert_eq!(told(writer.strings("w", &[0], &[""; 0])), expected);
    assert!(told(writer.tensor("", float, &[], write(4))).contains("a name that is empty"));
    assert!(told(writer.tensor("\0w", float, &[], write(4))).contains("begins with 0"));
    assert!(told(writer.tensor("v", float, &[2], write(7))).contains("7 bytes, expected 8 bytes, by its shape"));
    assert!(told(begin().strings("s", &[3], &["a", "b"])).contains("2 strings, expected 3, by its shape"));
    let error = begin().tensor("s", DataType::DT_STRING, &[1], write(1)).unwrap_err();
    assert_eq!(error.code(), "E0701");
    let error = begin().tensor("w", float, &[u64::MAX, 8], write(1)).unwrap_err();
    assert_eq!(error.code(), "E0201");
    let failed = |_: &mut (dyn Write + Send)| Err(Error::NotTraining { found: "nothing".to_owned() });
    assert_eq!(begin().tensor("w", float, &[], failed).unwrap_err().code(), "E0507");
    writer.next_shard().unwrap();
    drop(writer);
    assert_eq!(only_file_names(&folder), [""; 0]);
    assert_eq!(BundleWriter::create(&folder.path().join("no/such/m"), 1).unwrap_err().code(), "O0101");
}

#[test]
fn values_that_are_the_same_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("m");
    let golden = golden();
    let tensors = tensors(&golden);
    patch(&golden, &prefix, Vec::new()).unwrap();
    assert!(bytes_of(&prefix) == bytes_of(Path::new(GOLDEN)));
    // Without the one that has no bytes, which may stand where others get new ones.
    for left_out in ["", "empty"] {
        let same = tensors.iter().filter(|(name, _)| name != left_out);
        let same = same.map(|(name, tensor)| new(name, "", &tensor.bytes)).collect();
        patch(&golden, &prefix, same).unwrap();
        assert!(bytes_of(&prefix) == bytes_of(Path::new(GOLDEN)), "{left_out}");
    }
    assert_eq!(only_file_names(&folder), ["m.data-00000-of-00001", "m.index"]);
}

#[test]
fn new_values_are_read_and_nothing_else_changes() {
    let golden = golden();
    let before = tensors(&golden);
    for (chosen, whole) in &before {
        let folder = tempfile::tempdir().unwrap();
        // In place.
        let prefix = copied(&folder);
        let bytes: Vec<u8> = whole.bytes.iter().map(|byte| byte ^ 0x55).collect();
        patch(&Bundle::open(&prefix).unwrap(), &prefix, vec![new(chosen, "", &bytes)]).unwrap();
        let patched = Bundle::open(&prefix).unwrap();
        for ((name, old), (_, found)) in before.iter().zip(tensors(&patched)) {
            let expected = if name == chosen { &bytes } else { &old.bytes };
            assert!(found.bytes == *expected && found.shape == old.shape, "{chosen} {name}");
        }
        assert_eq!(patched.strings("string").unwrap(), golden.strings("string").unwrap());
        let [old, new] = [bytes_of(Path::new(GOLDEN)), bytes_of(&prefix)];
        let changed = |which: usize| old[which].iter().zip(&new[which]).filter(|(a, b)| a != b).count();
        assert_eq!(changed(1), bytes.len(), "{chosen}");
        assert_eq!(old[0].len(), new[0].len(), "{chosen}");
    }
}

#[test]
fn parts_get_new_values() {
    let golden = golden();
    let folder = tempfile::tempdir().unwrap();
    // Of a tensor that lies there whole, of one in parts: one of them, and what lies across two.
    for (name, part, rows, row, columns) in [
        ("a/w", "3 4 1,2:1,2", 1..3, 4, 1..3),
        ("a/w", "3 4 1,2:-", 1..3, 4, 0..4),
        ("columns", "9 130 -:0,44", 0..9, 130, 0..44),
        ("columns", "9 130 2,3:40,50", 2..5, 130, 40..90),
    ] {
        let prefix = folder.path().join("m");
        let bytes: Vec<u8> = (0..251).cycle().take(rows.len() * columns.len() * 4).collect();
        patch(&golden, &prefix, vec![new(name, part, &bytes)]).unwrap();
        let patched = Bundle::open(&prefix).unwrap();
        assert_eq!(patched.values(name, part).unwrap().unwrap().bytes().unwrap(), bytes, "{name} {part}");
        let mut expected = golden.require(name).unwrap().bytes;
        for (new, at) in bytes.chunks(columns.len() * 4).zip(rows) {
            let start = (at * row + columns.start) * 4;
            expected[start..start + new.len()].copy_from_slice(new);
        }
        assert!(patched.require(name).unwrap().bytes == expected, "{name} {part}");
    }
}

#[test]
fn a_compressed_index_becomes_a_plain_one() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = copied(&folder);
    let [index, _] = bytes_of(&prefix);
    let (metaindex, _) = tf_rewriter::wire::varint(&index[index.len() - 48..]).unwrap();
    let text = &index[..usize::try_from(metaindex).unwrap() - 5];
    model_file::atomic::write(&with_end(&prefix, ".index"), &table(&snappy(text), 1)).unwrap();
    patch(&Bundle::open(&prefix).unwrap(), &prefix, Vec::new()).unwrap();
    assert!(bytes_of(&prefix) == bytes_of(Path::new(GOLDEN)));
}

#[test]
fn what_does_not_fit_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = copied(&folder);
    let bundle = Bundle::open(&prefix).unwrap();
    let told = |values: Vec<NewValues<'_>>, code: &str| {
        let error = patch(&bundle, &prefix, values).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(bytes_of(&prefix) == bytes_of(Path::new(GOLDEN)));
        assert_eq!(only_file_names(&folder).len(), 2);
        error.to_string()
    };
    let short = told(vec![new("a/w", "", &[1; 47])], "E0705");
    assert_eq!(short, "new values of `a/w`: found 47 bytes, expected 48, as the part has");
    assert!(told(vec![new("a/w", "", &[1; 49])], "E0705").contains("49 bytes"));
    let twice = vec![new("a/w", "", &[1; 48]), new("a/w", "3 4 0,1:0,1", &[1; 4])];
    assert!(told(twice, "E0705").contains("bytes that get other new values, too"));
    told(vec![new("nothing", "", &[])], "E0702");
    told(vec![new("a/w", "3 5 -:-", &[])], "E0704");
    told(vec![new("string", "", &[])], "E0701");
    let failed = |_: &mut (dyn Write + Send)| Err(Error::NotTraining { found: "nothing".to_owned() });
    let failing = NewValues { parts: vec![TensorPart::whole("a/w")], write: Box::new(failed) };
    told(vec![failing], "E0507");
}

#[test]
fn several_parts_get_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("m");
    let mut writer = BundleWriter::create(&prefix, 2).unwrap();
    for (name, shape) in [("a", &[2, 3][..]), ("b", &[6]), ("c", &[7])] {
        let count = usize::try_from(shape.iter().product::<u64>()).unwrap();
        writer.tensor(name, DataType::DT_UINT8, shape, |out| (new("", "", &vec![0; count]).write)(out)).unwrap();
        writer.next_shard().unwrap();
    }
    writer.finish().unwrap();
    let bundle = Bundle::open(&prefix).unwrap();
    let with = |parts: [(&str, &str); 3]| {
        let mut values = new("", "", b"123456");
        let part = |(name, part): (&str, &str)| TensorPart { name: name.to_owned(), part: part.to_owned() };
        values.parts = parts.map(part).into();
        patch(&bundle, &prefix, vec![values])
    };
    let error = with([("a", ""), ("b", ""), ("c", "")]).unwrap_err();
    assert_eq!(error.to_string(), "new values of `c`: found 6 bytes, expected 7, as the part has");
    with([("a", ""), ("b", ""), ("c", "7 1,6")]).unwrap();
    let patched = Bundle::open(&prefix).unwrap();
    let found = ["a", "b", "c"].map(|name| patched.require(name).unwrap().bytes);
    assert_eq!(found, [&b"123456"[..], b"123456", b"\x00123456"]);
}

#[test]
fn tensors_that_share_bytes_are_not_patched_apart() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("m");
    let data = [1_u8; 8];
    let both =
        [(&b""[..], header(1, 0, 0)), (b"v", entry(&[2], 0, 0, 8, &data)), (b"w", entry(&[1], 0, 4, 4, &data[..4]))];
    model_file::atomic::write(&with_end(&prefix, ".index"), &table(&content(&both), 0)).unwrap();
    model_file::atomic::write(&with_end(&prefix, ".data-00000-of-00001"), &data).unwrap();
    let bundle = Bundle::open(&prefix).unwrap();
    let error = patch(&bundle, &prefix, vec![new("v", "", &[2; 8])]).unwrap_err();
    let expected = "new values of `w`: found bytes of another tensor, which gets new values, expected bytes of its own";
    assert_eq!((error.code(), error.to_string().as_str()), ("E0705", expected));
    // What they do not share.
    patch(&bundle, &prefix, vec![new("v", "2 0,1", &[2; 4])]).unwrap();
    let patched = Bundle::open(&prefix).unwrap();
    assert_eq!(patched.require("v").unwrap().bytes, [2, 2, 2, 2, 1, 1, 1, 1]);
    assert_eq!(patched.require("w").unwrap().bytes, [1; 4]);
}

#[test]
fn a_source_that_changes_meanwhile_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = copied(&folder);
    let out = tempfile::tempdir().unwrap();
    let bundle = Bundle::open(&prefix).unwrap();
    let write = |sink: &mut (dyn Write + Send)| {
        let data = with_end(&prefix, ".data-00000-of-00001");
        std::fs::OpenOptions::new().write(true).open(data).unwrap().set_len(10).unwrap();
        (new("", "", &[1; 48]).write)(sink)
    };
    let values = NewValues { parts: vec![TensorPart::whole("a/w")], write: Box::new(write) };
    let error = patch(&bundle, &out.path().join("m"), vec![values]).unwrap_err();
    assert_eq!(error.code(), "E0105", "{error}");
    assert_eq!(only_file_names(&out), [""; 0]);
}
