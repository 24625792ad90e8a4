//! Damaged and hostile archives: each is refused with its code, and none makes the reader allocate more than a small multiple of the
//! file's size.
//!
//! One test in a file of its own: the allocation counter is the process's.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
#[path = "../../tests/common/peak.rs"]
mod peak;

use std::borrow::Cow;
use std::fmt::Write as _;

use common::forge::{Forge, stored};
use common::{load, model};
use peak::cost_of;
use torch_adapter::Limits;
use torch_adapter::archive::{Archive, Body, Edits, Method};
use torch_adapter::pickle::Fresh;

/// Room for what does not depend on the file: threads, tables, the deflate state.
const ROOM: usize = 4 << 20;
/// One byte of a pickle can become 24 bytes on the stack, 24 in the pool and 32 for a container, and while a vector grows it is there
/// up to three times.
const FACTOR: usize = 3 * (24 + 24 + 32);

/// What the deflated records hold, which the limits bound.
fn inflated(bytes: &[u8]) -> usize {
    let Ok(archive) = Archive::from_bytes(bytes.to_vec(), &Limits::default()) else { return 0 };
    let deflated = archive.entries().iter().filter(|entry| entry.method() == Method::Deflated);
    deflated.map(|entry| usize::try_from(entry.size()).unwrap()).sum()
}

/// The code of the error that reading `bytes` gives, `ok` where there is none.
fn code(bytes: Vec<u8>) -> &'static str {
    let len = bytes.len() + inflated(&bytes);
    let (code, peak, _) = cost_of(|| match load(bytes) {
        Ok(()) => "ok",
        Err(error) => {
            assert!(!error.to_string().is_empty() && error.location().is_some(), "{error:?}");
            error.code()
        }
    });
    assert!(peak <= ROOM + FACTOR * len, "{peak} bytes for a file of {len}");
    code
}

fn base() -> Forge {
    Forge::new(model("tied.script.pt"))
}

/// The base archive with other bytes in a record.
fn with(record: &str, bytes: &[u8]) -> Vec<u8> {
    let mut edits = Edits::new();
    edits.replace(record, Body::Bytes(Cow::Borrowed(bytes)));
    base().edited(&edits)
}

/// The base archive with other bytes in `data.pkl`, and with class text that declares nothing but `w`.
fn with_pickle(bytes: &[u8]) -> Vec<u8> {
    let mut edits = Edits::new();
    edits.replace("data.pkl", Body::Bytes(Cow::Borrowed(bytes)));
    edits.replace("code/__torch__.py", Body::Bytes(Cow::Borrowed(b"class Tied(Module):\n  w : Tensor\n")));
    base().edited(&edits)
}

fn with_added(record: &str, bytes: &[u8]) -> Vec<u8> {
    let mut edits = Edits::new();
    edits.add(record, Body::Bytes(Cow::Borrowed(bytes)));
    base().edited(&edits)
}

fn without(records: &[&str]) -> Vec<u8> {
    let mut edits = Edits::new();
    for record in records {
        edits.remove(*record);
    }
    base().edited(&edits)
}

/// Only tensors and their pickle, as `torch.save` writes them.
fn bare() -> Vec<u8> {
    let records = common::open(base().bytes);
    let records: Vec<&str> = records.records().filter(|name| name.starts_with("co")).collect();
    without(&records)
}

fn text(text: &str) -> Vec<u8> {
    let mut fresh = Fresh::new();
    fresh.str(text);
    fresh.into_bytes()
}

/// A module with one tensor in `data/0` (72 floats), its offset, sizes and strides as instructions.
fn tensor(offset: &[u8], sizes: &[u8], strides: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 13] = [
        b"\x80\x02c__torch__\nTied\n)\x81}(",
        &text("w"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"K\x48tQ",
        offset,
        sizes,
        strides,
        b"\x88ccollections\nOrderedDict\n)RtR",
        b"ub.",
    ];
    with_pickle(&parts.concat())
}

/// `data.pkl` with `bytes` as the value of the root's only attribute.
fn value(bytes: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 4] = [b"\x80\x02c__torch__\nTied\n)\x81}(", &text("w"), bytes, b"ub."];
    with_pickle(&parts.concat())
}

/// `data/9` lies inside the data of `extra/outer`.
fn nested() -> Vec<u8> {
    let mut edits = Edits::new();
    edits.add("data/9", Body::Bytes(Cow::Borrowed(b"inner")));
    let plain = Forge::new(base().edited(&edits));
    let inner = plain.bytes[plain.local("data/9")..plain.data_end("data/9") + 16].to_vec();
    edits.add("extra/outer", Body::Bytes(Cow::Owned(inner)));
    let mut forged = Forge::new(base().edited(&edits));
    let position = u32::try_from(forged.data("extra/outer")).unwrap();
    let central = forged.central("data/9");
    forged.put32(central + 42, position);
    forged.bytes
}

/// A deflated record that says it holds `declared` bytes and holds `len` zeros.
fn deflated(len: usize, declared: u32) -> Vec<u8> {
    let mut forged = Forge::new(with_added("code/__torch__/zeros.py", &vec![0; len]));
    let (central, end) = (forged.central("code/__torch__/zeros.py"), forged.data_end("code/__torch__/zeros.py"));
    forged.put32(central + 24, declared);
    forged.put32(end + 12, declared);
    forged.bytes
}

fn renamed(from: &str, to: &[u8]) -> Vec<u8> {
    let mut forged = base();
    forged.rename(from, to);
    forged.bytes
}

fn flags(flags: u16) -> Vec<u8> {
    let mut forged = base();
    let (central, local) = (forged.central("data/0"), forged.local("data/0"));
    forged.put16(central + 8, flags);
    forged.put16(local + 6, flags);
    forged.bytes
}

/// A two-byte field of `data/0`'s directory entry.
fn central16(field: usize, value: u16) -> Vec<u8> {
    let mut forged = base();
    let central = forged.central("data/0");
    forged.put16(central + field, value);
    forged.bytes
}

fn central32(field: usize, value: u32) -> Vec<u8> {
    let mut forged = base();
    let central = forged.central("data/0");
    forged.put32(central + field, value);
    forged.bytes
}

/// The entry of `data/1` leads to `data/0`.
fn twice() -> Vec<u8> {
    let mut forged = base();
    let central = forged.central("data/1");
    forged.put32(central + 42, 0);
    forged.bytes
}

/// A byte changed at `from_end` bytes before the end of the file, where the end records are.
fn at_end(from_end: usize, byte: u8) -> Vec<u8> {
    let mut bytes = base().bytes;
    let at = bytes.len() - from_end;
    bytes[at] = byte;
    bytes
}

fn flipped(record: &str) -> Vec<u8> {
    let mut forged = base();
    let at = forged.data(record) + 3;
    forged.bytes[at] ^= 0x10;
    forged.bytes
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Archives, file by file: what the zip layer refuses.
fn archives() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = base().bytes;
    vec![
        ("nothing wrong", good.clone(), "ok"),
        ("CRC of a weight", flipped("data/0"), "T0113"),
        ("CRC of the pickle", flipped("data.pkl"), "T0113"),
        ("damaged deflate stream", flipped("code/__torch__.py"), "T0114"),
        ("CRC in the directory alone", central32(16, 7), "T0112"),
        ("two records of one name", renamed("data/1", b"data/0"), "T0108"),
        ("a record inside another", nested(), "T0109"),
        ("two entries of one record", twice(), "T0112"),
        ("header beyond the file", central32(42, u32::MAX - 1), "T0102"),
        ("stored and plain length differ", central32(24, 9), "T0112"),
        ("64-bit length without its field", central32(24, u32::MAX), "T0102"),
        ("name with ..", renamed("data/0", b"../../"), "T0107"),
        ("name that climbs", Forge::with_prefix(&good, b"../../x.txt"), "T0107"),
        ("absolute name", Forge::with_prefix(&good, b"/etc/passwd"), "T0107"),
        ("name with a drive", Forge::with_prefix(&good, b"c:/something"[..11].as_ref()), "T0107"),
        ("name with a backslash", renamed("data/0", b"data\\0"), "T0107"),
        ("name with NUL", renamed("data/0", b"data/\0"), "T0107"),
        ("name that is no text", renamed("data/0", b"data/\xff"), "T0107"),
        ("name with an empty part", renamed("data/0", b"data//"), "T0107"),
        ("encrypted", flags(0x0809), "T0110"),
        ("strongly encrypted", flags(0x0848), "T0110"),
        ("flags differ", central16(8, 0), "T0112"),
        ("compression method 12", central16(10, 12), "T0111"),
        ("methods differ", central16(10, 8), "T0112"),
        ("another disk", central16(34, 1), "T0105"),
        ("inflate bomb", with_added("code/__torch__/zeros.py", &vec![0; 3 << 20]), "T0115"),
        ("inflates to more than declared", deflated(9000, 100), "T0114"),
        ("inflates to less than declared", deflated(9000, 9001), "T0114"),
        ("declared length of 4 GB", deflated(9000, u32::MAX - 1), "T0115"),
        ("bytes behind the end", joined(&[&good, b"PK"]), "T0104"),
        ("bytes in front", joined(&[b"#!", &good]), "T0101"),
        ("entries that are not there", at_end(12, 200), "T0105"),
        ("a wrong directory size", at_end(10, 1), "T0105"),
        ("locator to somewhere", at_end(22 + 12, 1), "T0106"),
        ("64-bit end record is none", at_end(22 + 20 + 56, 0), "T0106"),
        ("not a directory entry", Forge::broken_directory(&good), "T0106"),
    ]
}

/// Archives and files of other kinds.
fn kinds() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let safetensors = joined(&[&40_u64.to_le_bytes(), &[b"{\"x\":", &[b' '; 34][..], b"}"].concat(), b"data"]);
    vec![
        ("empty file", Vec::new(), "T0101"),
        ("empty zip", joined(&[b"PK\x05\x06", &[0; 18]]), "T0101"),
        ("state_dict", model("state_dict.pth"), "T0101"),
        (
            "mobile archive without code",
            stored(&[("m/bytecode.pkl", b"\x80\x02."), ("m/data.pkl", b"\x80\x02."), ("m/version", b"3")]),
            "T0101",
        ),
        ("Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n".to_vec(), "T0101"),
        ("state_dict before 1.6", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec(), "T0101"),
        (
            "legacy TorchScript",
            stored(&[("m/version", b"1"), ("m/model.json", b"{}"), ("m/tensors.json", b"")]),
            "T0101",
        ),
        ("torch.export", stored(&[("m/archive_format", b"pt2"), ("m/models/model.json", b"{}")]), "T0101"),
        ("torch.package", stored(&[("m/.data/version", b"6"), ("m/.data/extern_modules", b"")]), "T0101"),
        ("npz", stored(&[("weights.npy", b"\x93NUMPY")]), "T0101"),
        ("Keras", stored(&[("config.json", b"{}"), ("model.weights.h5", b"")]), "T0101"),
        ("some zip", stored(&[("a/readme.txt", b"hello")]), "T0101"),
        ("GraphDef", b"\x0a\x12\x0a\x01x\x12\x0bPlaceholder".to_vec(), "T0101"),
        ("SavedModel", b"\x08\x01\x12\x80\x01".to_vec(), "T0101"),
        ("ONNX", b"\x08\x07\x12\x07pytorch".to_vec(), "T0101"),
        ("safetensors", safetensors, "T0101"),
        ("HDF5", b"\x89HDF\r\n\x1a\n".to_vec(), "T0101"),
        ("TFLite", b"\x1c\0\0\0TFL3".to_vec(), "T0101"),
        ("text", b"hello".to_vec(), "T0101"),
        ("no data.pkl", without(&["data.pkl"]), "T0116"),
        ("no constants.pkl", without(&["constants.pkl"]), "T0116"),
        ("no version", without(&["version"]), "T0116"),
        ("no constants and no code", bare(), "T0101"),
        ("version 11", with("version", b"11\n"), "T0117"),
        ("version 0", with("version", b"0\n"), "T0117"),
        ("version is no number", with("version", b"three"), "T0117"),
        ("big-endian", with_added("byteorder", b"big"), "T0118"),
        ("little-endian", with_added("byteorder", b"little"), "ok"),
    ]
}

/// Pickles and tensors inside a sound archive.
fn pickles() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let deep = [vec![b'('; 100_000], vec![b't'; 100_000]].concat();
    // Every tuple holds the one before it twice: 2^200 values if it were expanded.
    let doubling: Vec<u8> = (0..200_u8).flat_map(|at| [b'h', at, b'h', at, 0x86, b'q', at + 1]).collect();
    let doubling = joined(&[b"(Nq\x00", &doubling, b"t"]);
    let short = |at: u8| [b'K', at];
    let pair = |a: u8, b: u8| joined(&[b"(", &short(a), &short(b), b"t"]);
    let minus = b"J\xff\xff\xff\xff";
    vec![
        ("record shorter than its tensor", with("data/0", &[0; 284]), "T0302"),
        ("record longer than its tensor", with("data/0", &[0; 292]), "T0302"),
        ("record missing", without(&["data/0"]), "T0301"),
        ("tensor that fits", tensor(&short(0), &pair(12, 6), &pair(6, 1)), "ok"),
        ("view beyond its storage", tensor(&short(1), &pair(12, 6), &pair(6, 1)), "T0305"),
        (
            "view with a huge stride",
            tensor(&short(0), &pair(12, 6), &joined(&[b"(", b"J\xff\xff\xff\x7f", &short(1), b"t"])),
            "T0305",
        ),
        (
            "product of sizes overflows",
            tensor(
                &short(0),
                &joined(&[
                    b"(",
                    &[
                        b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"[..].to_vec(),
                        b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec(),
                    ]
                    .concat(),
                    b"t",
                ]),
                &pair(6, 1),
            ),
            "T0305",
        ),
        ("negative stride", tensor(&short(0), &pair(12, 6), &joined(&[b"(", minus, &short(1), b"t"])), "T0304"),
        ("negative size", tensor(&short(0), &joined(&[b"(", minus, &short(1), b"t"]), &pair(6, 1)), "T0304"),
        ("negative offset", tensor(minus, &pair(12, 6), &pair(6, 1)), "T0304"),
        ("strides for other dimensions", tensor(&short(0), &pair(12, 6), b")"), "T0205"),
        (
            "tensor without a storage",
            value(b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))\x88ccollections\nOrderedDict\n)RtR"),
            "T0205",
        ),
        ("huge memo position", value(b"Nr\xff\xff\xff\xff"), "T0206"),
        ("huge string", value(b"X\xff\xff\xff\xff"), "T0201"),
        ("deep nesting", value(&deep), "T0207"),
        ("unknown instruction", value(b"\x8c\x01x"), "T0203"),
        ("os.system", value(b"cos\nsystem\n(X\x02\x00\x00\x00ls\x85R"), "T0204"),
        ("global without an end", value(&[b"c", &[b'a'; 5000][..]].concat()), "T0201"),
        ("bytes after STOP", with("data.pkl", b"\x80\x02c__torch__\nTied\n)\x81}(ub.N"), "T0212"),
        ("protocol 4", with("data.pkl", b"\x80\x04N."), "T0202"),
        ("empty pickle", with("data.pkl", b""), "T0201"),
        ("root is no module", with("data.pkl", b"\x80\x02N."), "T0215"),
        ("constants are no tuple", with("constants.pkl", b"\x80\x02N."), "T0215"),
        ("many values", value(&joined(&[b"(", &vec![b'N'; 1 << 20], b"t"])), "ok"),
        ("many lists", value(&joined(&[b"(", &vec![b']'; 1 << 20], b"t"])), "ok"),
        ("many dictionaries", value(&joined(&[b"(", &vec![b'}'; 1 << 20], b"t"])), "ok"),
        ("many tuples", value(&joined(&[b"(", &b"(t".repeat(1 << 19), b"t"])), "ok"),
        ("four million lists in a small file", value(&joined(&[b"(", &vec![b']'; 4 << 20], b"t"])), "T0002"),
        ("many memo positions", value(&joined(&[b"N", &many_positions()])), "ok"),
        ("many marks", value(&vec![b'('; 1 << 20]), "T0205"),
        ("long names used again and again", names(), "T0217"),
        ("long texts used again and again", texts(), "T0217"),
        ("doubling tuples", value(&doubling), "ok"),
        ("object in itself", value(b"c__torch__\nA\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00ub"), "T0213"),
        (
            "attribute twice",
            with("data.pkl", b"\x80\x02c__torch__\nTied\n)\x81}(X\x01\x00\x00\x00aNX\x01\x00\x00\x00aNub."),
            "T0214",
        ),
    ]
}

/// 200 modules inside each other, each under a name of 60,000 letters that is written once: paths of 1.2 GB.
fn names() -> Vec<u8> {
    let key = text(&"n".repeat(60_000));
    let open = b"c__torch__\nTied\n)\x81}(".to_vec();
    let inner = [&b"h\x00"[..], &open].concat().repeat(200);
    let close = b"ub".repeat(200);
    with_pickle(&joined(&[b"\x80\x02", &open, &text("w"), &key, b"q\x00", &inner, &close, b"ub."]))
}

/// A list that holds one text of 60,000 letters 20,000 times.
fn texts() -> Vec<u8> {
    let key = text(&"t".repeat(60_000));
    value(&joined(&[b"](", &key, b"q\x00", &b"h\x00".repeat(20_000), b"e"]))
}

/// The base archive with other class text in its first file.
fn code_file(lines: &str) -> Vec<u8> {
    with("code/__torch__.py", lines.as_bytes())
}

/// Class text, and what contradicts the pickle.
fn codes() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let sound = common::open(base().bytes).text("code/__torch__.py").unwrap().into_owned();
    let deep = format!("{sound}  def deep(self) -> int:\n    return {}1{}\n", "(".repeat(100_000), ")".repeat(100_000));
    // Every method calls the one before it twice.
    let mut calls = String::new();
    for n in 1..200 {
        let before = n - 1;
        writeln!(calls, "  def m{n}(self) -> int:\n    return add((self).m{before}(), (self).m{before}())").unwrap();
    }
    let calls = sound.replacen(
        "  def forward(",
        &format!("{calls}  def m0(self) -> int:\n    return (self).m199()\n  def forward("),
        1,
    );
    let calls = calls.replacen("    return", "    y = (self).m199()\n    return", 1);
    let mut crowded = format!("{sound}  def crowded(self) -> int:\n    return [");
    for number in 0..1 << 21 {
        write!(crowded, "{},", number % 1000).unwrap();
    }
    crowded.push_str("]\n");
    let undeclared = sound.replacen("  head : ", "  gone : Tensor\n  head : ", 1);
    assert!(undeclared != sound && calls != sound);
    vec![
        ("sound text", code_file(&sound), "ok"),
        ("an attribute that the pickle does not have", code_file(&undeclared), "T0402"),
        ("a class that the code does not have", code_file("class Other(Module):\n  w : Tensor\n"), "T0402"),
        ("text that is cut off", code_file(sound.split_once("Tensor) ->").unwrap().0), "T0401"),
        ("text that is not UTF-8", with("code/__torch__.py", b"class \xff(Module):\n"), "T0119"),
        ("deep brackets", code_file(&deep), "T0401"),
        ("calls that double", code_file(&calls), "ok"),
        ("a list of two million numbers in a small file", code_file(&crowded), "T0002"),
        ("a string without an end", code_file(&format!("{sound}  x : Final[str] = \"")), "T0401"),
    ]
}

/// Memo positions 0, 1, 2, …, all of one value.
fn many_positions() -> Vec<u8> {
    (0..200_000_u32).flat_map(|at| joined(&[b"r", &at.to_le_bytes()])).collect()
}

#[test]
fn every_hostile_file_is_refused_with_its_code_and_within_memory() {
    // What is allocated once per process is not the file's.
    load(base().bytes).unwrap();
    let mut wrong = Vec::new();
    for (name, bytes, expected) in archives().into_iter().chain(kinds()).chain(pickles()).chain(codes()) {
        let found = code(bytes);
        if found != expected {
            wrong.push(format!("{name}: {found}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    let good = base().bytes;
    for percent in 0..100 {
        let cut = code(good[..good.len() * percent / 100].to_vec());
        let expected = if percent == 0 { "T0101" } else { "T0103" };
        assert_eq!(cut, expected, "cut at {percent} %");
    }
    for bytes in 1..=100 {
        // Inside the end records.
        let cut = code(good[..good.len() - bytes].to_vec());
        assert_eq!(cut, "T0103", "{bytes} bytes cut off");
    }
}
