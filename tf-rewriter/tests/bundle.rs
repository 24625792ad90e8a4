//! Checkpoints: one that TensorFlow 2.21 wrote, damaged in every byte, and some that nobody should write.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod made_bundle;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tf_rewriter::bundle::Tensor;
use tf_rewriter::{Bundle, Error};

use made_bundle::{content, entry, handle, header, partitioned, put_entry, snappy, table, table_of};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/checkpoint/");

fn golden(end: &str) -> Vec<u8> {
    std::fs::read(format!("{GOLDEN}saver{end}")).unwrap()
}

/// A checkpoint's files in a folder of their own.
struct Files(TempDir);

impl Files {
    fn new(index: &[u8], data: &[&[u8]]) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(".index", index);
        for (number, data) in data.iter().enumerate() {
            files.write(&data_end(number), data);
        }
        files
    }

    fn prefix(&self) -> PathBuf {
        self.0.path().join("m")
    }

    fn write(&self, end: &str, bytes: &[u8]) {
        let mut path = self.prefix().into_os_string();
        path.push(end);
        // Nobody maps it while it changes.
        #[expect(clippy::disallowed_methods, reason = "thousands of files, none of which is of any worth")]
        std::fs::write(path, bytes).unwrap();
    }
}

fn data_end(number: usize) -> String {
    format!(".data-{number:05}-of-00001")
}

/// Every tensor of a checkpoint, or its error; strings are left out.
fn read(prefix: &Path) -> Result<Vec<(String, Tensor)>, Error> {
    let bundle = Bundle::open(prefix)?;
    let mut found = Vec::new();
    for name in bundle.names() {
        match bundle.tensor(name) {
            Ok(tensor) => found.push((name.to_owned(), tensor.unwrap())),
            Err(Error::InFile(inner)) if matches!(*inner.error, Error::Checkpoint { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

#[test]
fn what_tensorflow_wrote_is_read() {
    let expected: Value = serde_json::from_slice(&golden(".json")).unwrap();
    let numbers = expected.as_object().unwrap().iter().filter(|(_, value)| !value[2].is_null());
    let mut numbers: Vec<(String, Value)> = numbers.map(|(name, value)| (name.clone(), value.clone())).collect();
    numbers.sort_by(|a, b| a.0.cmp(&b.0));
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let found = read(&Path::new(GOLDEN).join("saver")).unwrap().into_iter();
    let found: Vec<(String, Value)> =
        found.map(|(name, t)| (name, json!([t.dtype as i32, t.shape, hex(&t.bytes)]))).collect();
    assert_eq!(found, numbers);
    assert!(numbers.iter().any(|(name, _)| name == "columns"));

    let bundle = Bundle::open(&Path::new(GOLDEN).join("saver")).unwrap();
    assert!(bundle.names().any(|name| name == "string"));
    let error = bundle.tensor("string").unwrap_err();
    assert_eq!(error.to_string(), "tensor `string` holds DT_STRING, whose elements have no fixed size");
    let error = bundle.require("nothing").unwrap_err();
    assert_eq!(error.code(), "E0702");
    assert_eq!(error.to_string(), "there is no tensor called `nothing` among the 15 of the checkpoint");
}

/// The content of the golden checkpoint's one block of entries.
fn golden_content() -> Vec<u8> {
    let index = golden(".index");
    // The footer names the blocks after it: the entries end, with a trailer of five bytes, where the empty metaindex begins.
    let (metaindex, _) = tf_rewriter::wire::varint(index.get(index.len() - 48..).unwrap()).unwrap();
    index.get(..usize::try_from(metaindex).unwrap() - 5).unwrap().to_vec()
}

#[test]
fn a_compressed_index_is_read() {
    let whole = read(&Path::new(GOLDEN).join("saver")).unwrap();
    let text = golden_content();
    let compressed = snappy(&text);
    assert!(compressed.len() < text.len() * 9 / 10, "{} of {}", compressed.len(), text.len());
    let files = Files::new(&table(&compressed, 1), &[&golden(&data_end(0))]);
    assert_eq!(read(&files.prefix()).unwrap(), whole);
    for at in 0..compressed.len() {
        let mut damaged = compressed.clone();
        damaged[at] ^= 1 << (at % 8);
        files.write(".index", &table(&damaged, 1));
        match read(&files.prefix()) {
            Err(error) => {
                assert!(["E0201", "E0701", "E0104"].contains(&error.code()), "{at}: {error}");
                assert!(error.location().unwrap().contains("m."), "{at}: {error}");
            }
            // Names and types are in no CRC but the block's; the elements are.
            Ok(found) => {
                let known = |bytes: &[u8]| whole.iter().any(|(_, tensor)| tensor.bytes == bytes);
                assert!(found.iter().all(|(_, tensor)| known(&tensor.bytes)), "{at}");
            }
        }
        files.write(".index", &table(&compressed[..at], 1));
        assert_eq!(read(&files.prefix()).unwrap_err().code(), "E0201", "{at}");
    }
}

#[test]
fn values_lie_where_the_file_has_them() {
    let bundle = Bundle::open(&Path::new(GOLDEN).join("saver")).unwrap();
    let whole = bundle.require("a/w").unwrap();
    let entry = bundle.entry("a/w").unwrap().unwrap();
    assert_eq!((entry.shape, entry.size), (whole.shape.clone(), 48));
    let values = bundle.values("a/w", "").unwrap().unwrap();
    let bytes = values.bytes().unwrap();
    assert_eq!((values.dtype(), values.shape(), bytes), (whole.dtype, &whole.shape[..], &whole.bytes[..]));
    let start = usize::try_from(entry.offset).unwrap();
    assert_eq!(values.in_file().unwrap().1, start..start + 48);
    let rows = bundle.values("a/w", "3 4 1,2:-").unwrap().unwrap();
    assert_eq!((rows.shape(), rows.in_file().unwrap().1), (&[2, 4][..], start + 16..start + 48));
    let columns = bundle.values("a/w", "3 4 -:1,2").unwrap().unwrap();
    assert!(columns.in_file().is_none());
    let expected: Vec<u8> = whole.bytes.chunks(16).flat_map(|row| row[4..12].to_vec()).collect();
    assert_eq!(columns.bytes().unwrap(), expected);
    assert_eq!(bundle.values("a/w", "3 5 -:1,2").unwrap_err().code(), "E0704");
    assert_eq!(bundle.values("string", "").unwrap_err().code(), "E0701");
    assert!(bundle.values("nothing", "").unwrap().is_none());
    assert!(bundle.entry("").unwrap().is_none());
    bundle.check().unwrap();
    // Of a tensor in parts: one of them, what lies across two, and all.
    let entry = bundle.entry("columns").unwrap().unwrap();
    assert_eq!((entry.shape, entry.slices.len(), entry.size), (vec![9, 130], 3, 0));
    let whole = bundle.require("columns").unwrap().bytes;
    for (slice, start, length, mapped) in
        [("9 130 0,9:0,44", 0, 44, true), ("9 130 -:40,50", 40, 50, false), ("", 0, 130, false)]
    {
        let part = bundle.values("columns", slice).unwrap().unwrap();
        let rows: Vec<u8> =
            whole.chunks(130 * 4).flat_map(|row| row[start * 4..(start + length) * 4].to_vec()).collect();
        assert!(part.bytes().unwrap() == rows && part.len() == rows.len(), "{slice}");
        assert_eq!((part.shape(), part.in_file().is_some()), (&[9, length as u64][..], mapped), "{slice}");
        assert_eq!(part.into_bytes().unwrap(), rows, "{slice}");
    }
}

#[test]
fn strings_are_read_byte_for_byte() {
    let bundle = Bundle::open(&Path::new(GOLDEN).join("saver")).unwrap();
    assert_eq!(bundle.strings("string").unwrap().unwrap(), [b"abc".to_vec(), vec![]]);
    assert!(bundle.strings("nothing").unwrap().is_none());
    assert_eq!(bundle.strings("a/w").unwrap_err().code(), "E0701");
    let place = bundle.entry("string").unwrap().unwrap();
    let (index, data) = (golden(".index"), golden(&data_end(0)));
    let files = Files::new(&index, &[&data]);
    for at in place.offset..place.offset + place.size {
        let mut damaged = data.clone();
        damaged[usize::try_from(at).unwrap()] ^= 1;
        files.write(&data_end(0), &damaged);
        let error = Bundle::open(&files.prefix()).unwrap().strings("string").unwrap_err();
        assert_eq!(error.code(), "E0201", "{at}: {error}");
    }
}

#[test]
fn a_checkpoint_has_several_names() {
    let (index, data) = (golden(".index"), golden(&data_end(0)));
    let files = Files::new(&index, &[&data]);
    let folder = files.0.path();
    let copy = |from: &str, to: &str| std::fs::copy(folder.join(from), folder.join(to)).unwrap();
    let names = |path: &Path| Bundle::open(path).unwrap().names().count();
    assert_eq!(names(&folder.join("m.index")), 15);
    let state = |text: &str| model_file::atomic::write(&folder.join("checkpoint"), text.as_bytes()).unwrap();
    let told = |path: &Path| {
        let error = Bundle::open(path).unwrap_err();
        assert_eq!(error.code(), "E0701", "{error}");
        error.to_string()
    };
    assert_eq!(told(folder), "this is a folder, expected the prefix of a checkpoint");
    state("model_checkpoint_path: \"m\"\nall_model_checkpoint_paths: \"m\"\n");
    assert_eq!(names(folder), 15);
    assert_eq!(Bundle::files(folder).len(), 3);
    assert_eq!(Bundle::files(&folder.join("m.index")).len(), 2);
    state("model_checkpoint_path: \"/elsewhere/m\"\n");
    assert_eq!(names(folder), 15);
    state("model_checkpoint_path: \"n\"\n");
    assert_eq!(told(folder), format!("it names `{}`, of which there is no index here", folder.join("n").display()));
    state("model_checkpoint_path: \"../m\"\n");
    assert_eq!(told(folder), "it names `../m`, which is not in its folder");
    state("nothing");
    assert_eq!(told(folder), "there is no `model_checkpoint_path: \"…\"` in it");
    // Nothing before the dots.
    copy("m.index", ".index");
    copy("m.data-00000-of-00001", ".data-00000-of-00001");
    for path in [folder.to_owned(), folder.join(""), folder.join(".index")] {
        assert_eq!(names(&path), 15, "{}", path.display());
        assert_eq!(Bundle::files(&path).len(), 2, "{}", path.display());
    }
}

#[test]
fn a_shorter_index_is_an_error_at_every_length() {
    let (index, data) = (golden(".index"), golden(&data_end(0)));
    let files = Files::new(&index, &[&data]);
    for length in 0..index.len() {
        files.write(".index", &index[..length]);
        let error = read(&files.prefix()).unwrap_err();
        assert_eq!(error.code(), "E0201", "{length}: {error}");
        assert!(error.location().unwrap().contains("m.index"), "{length}");
    }
}

#[test]
fn shorter_data_is_an_error_at_every_length() {
    let (index, data) = (golden(".index"), golden(&data_end(0)));
    let files = Files::new(&index, &[&data]);
    let whole = read(&files.prefix()).unwrap();
    for length in 0..data.len() {
        files.write(&data_end(0), &data[..length]);
        match read(&files.prefix()) {
            Err(error) => assert_eq!(error.code(), "E0201", "{length}: {error}"),
            // What is left out may be the string, which is not read.
            Ok(found) => assert_eq!(found, whole, "{length}"),
        }
    }
    files.write(&data_end(0), &[]);
    assert!(read(&files.prefix()).is_err());
}

#[test]
fn a_flipped_byte_is_an_error_or_means_nothing() {
    let (index, data) = (golden(".index"), golden(&data_end(0)));
    let files = Files::new(&index, &[&data]);
    let whole = read(&files.prefix()).unwrap();
    let mut errors = 0;
    for (end, bytes) in [(".index".to_owned(), &index), (data_end(0), &data)] {
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            files.write(&end, &damaged);
            match read(&files.prefix()) {
                Err(error) => {
                    errors += 1;
                    assert!(["E0201", "E0701"].contains(&error.code()), "{end} {at}: {error}");
                }
                Ok(found) => assert_eq!(found, whole, "{end} {at}"),
            }
        }
        files.write(&end, bytes);
    }
    // What no reader looks at: the footer's padding, the metaindex, and the string.
    let unread = 48 + 13 + 64;
    assert!(errors >= index.len() + data.len() - unread, "{errors}");
}

#[track_caller]
fn refused(index: &[u8], data: &[u8], code: &str, message: &str) {
    let files = Files::new(index, &[data]);
    let bundle = Bundle::open(&files.prefix());
    let error = bundle.and_then(|bundle| bundle.require("w")).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(message), "{error}");
    assert!(error.location().is_some_and(|location| location.contains("m.")), "{error:?}");
}

#[test]
fn what_is_not_read_is_refused_with_its_reason() {
    let data = 1.0_f32.to_le_bytes();
    let with = |header: Vec<u8>, entry: Vec<u8>| table(&content(&[(b"", header), (b"w", entry)]), 0);
    let one = || entry(&[1], 0, 0, 4, &data);
    let sound = Files::new(&with(header(1, 0, 0), one()), &[&data]);
    assert_eq!(Bundle::open(&sound.prefix()).unwrap().require("w").unwrap().bytes, data);

    refused(&with(header(1, 1, 0), one()), &data, "E0701", "big-endian");
    refused(&with(header(1, 0, 2), one()), &data, "E0701", "for readers of version 2");
    refused(&with(header(0, 0, 0), one()), &data, "E0201", "0 data files");
    refused(&with(header(u64::MAX, 0, 0), one()), &data, "E0201", "18446744073709551615 data files");
    refused(&with(header(2, 0, 0), one()), &data, "E0701", "2 data file(s), and number 0 is missing");
    refused(&with(header(4_000_000_000, 0, 0), one()), &data, "E0701", "number 0 is missing");
    refused(&table(&content(&[(b"w", one())]), 0), &data, "E0201", "no header");
    refused(&table(&content(&[(b"", header(1, 0, 0))]), 0), &data, "E0702", "no tensor called `w` among the 0");
    refused(&table(&content(&[(b"", header(1, 0, 0)), (b"w", one())]), 1), &data, "E0201", "a compressed block");
    refused(&table(&content(&[(b"", header(1, 0, 0)), (b"w", one())]), 7), &data, "E0201", "compression 7");

    let sized = |entry| with(header(1, 0, 0), entry);
    refused(&sized(entry(&[2], 0, 0, 4, &data)), &data, "E0201", "a size of 4, expected 8 bytes");
    refused(&sized(entry(&[1], 1, 0, 4, &data)), &data, "E0201", "data file number 1, expected one of 1");
    refused(&sized(entry(&[1], 0, 1, 4, &data)), &data, "E0201", "4 bytes from 0x1 on, expected a file of 4 bytes");
    refused(&sized(entry(&[1], 0, u64::MAX, 4, &data)), &data, "E0201", "a file of 4 bytes");
    refused(&sized(entry(&[1], 0, 0, 4, b"else")), &data, "E0201", "CRC-32C");
    refused(&sized(entry(&[1 << 62], 0, 0, 4, &data)), &data, "E0201", "less than 2^64 bytes");
    refused(&sized(entry(&[u64::MAX], 0, 0, 4, &data)), &data, "E0201", "a dimension of -1");
    refused(&sized(vec![0x08, 99]), &data, "E0201", "element type 99");
    refused(&sized(vec![0x08, 7]), &data, "E0701", "holds DT_STRING");
    refused(&sized(vec![0x08, 1, 0x12, 2, 0x18, 1]), &data, "E0201", "unknown rank");
}

#[test]
fn tables_that_nobody_writes_are_refused() {
    let twice = content(&[(b"", header(1, 0, 0)), (b"w", vec![]), (b"w", vec![])]);
    refused(&table(&twice, 0), &[], "E0201", "a key out of order");
    let back = content(&[(b"", header(1, 0, 0)), (b"x", vec![]), (b"w", vec![])]);
    refused(&table(&back, 0), &[], "E0201", "a key out of order");
    let whole = content(&[(b"", header(1, 0, 0))]);
    let again = [handle(0, whole.len()), handle(0, whole.len())];
    refused(&table_of(&whole, 0, &again), &[], "E0201", "a block that is before the last one");
    refused(&table_of(&whole, 0, &[handle(0, usize::MAX)]), &[], "E0201", "bytes in all");
    refused(&table_of(&whole, 0, &[vec![0x80]]), &[], "E0201", "no block handle");
    refused(&table(&[0, 0, 0, 0, 9, 0, 0, 0], 0), &[], "E0201", "a restart table longer than the block");
    refused(&table(&[0xff, 0xff, 0xff, 0xff], 0), &[], "E0201", "a restart table longer than the block");
    let long = [&[0, 200, 1, 5][..], &[0, 0, 0, 0, 1, 0, 0, 0]].concat();
    refused(&table(&long, 0), &[], "E0201", "an entry that is longer than its block");
    let shares = [&[3, 0, 0][..], &[0, 0, 0, 0, 1, 0, 0, 0]].concat();
    refused(&table(&shares, 0), &[], "E0201", "more shared bytes than the key before has");
}

#[test]
fn keys_that_share_everything_do_not_fill_the_memory() {
    let mut bomb = Vec::new();
    put_entry(&mut bomb, 0, b"", &header(1, 0, 0));
    let long = vec![b'a'; 100_000];
    put_entry(&mut bomb, 0, &long, b"");
    // 5,000 keys of 100,000 bytes in a hundred kilobytes.
    for number in 0..5_000_u16 {
        put_entry(&mut bomb, 100_000, &number.to_be_bytes(), b"");
    }
    bomb.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    refused(&table(&bomb, 0), &[], "E0201", "keys far longer than the file");
    let mut growing = Vec::new();
    put_entry(&mut growing, 0, b"", &header(1, 0, 0));
    for length in 0..60_000 {
        put_entry(&mut growing, length, b"a", b"");
    }
    growing.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    refused(&table(&growing, 0), &[], "E0201", "keys far longer than the file");
}

#[test]
fn parts_must_fill_their_tensor_once() {
    let data: Vec<u8> = [1.0_f32, 2.0, 3.0].into_iter().flat_map(f32::to_le_bytes).collect();
    let key = |start: u8, length: u8| [b"\0w\0\x01\x01\x01", &[0x80 | start, 0x80 | length][..]].concat();
    let index = |length, parts: &[(u64, u64)], keys: &[(Vec<u8>, Vec<u8>)]| {
        let mut entries = vec![(&b""[..], header(1, 0, 0))];
        entries.extend(keys.iter().map(|(key, entry)| (&key[..], entry.clone())));
        entries.push((b"w", partitioned(length, parts)));
        table(&content(&entries), 0)
    };
    let one = (key(0, 1), entry(&[1], 0, 8, 4, &data[8..]));
    let two = (key(1, 2), entry(&[2], 0, 0, 8, &data[..8]));
    let both = [one.clone(), two.clone()];
    let sound = Files::new(&index(3, &[(0, 1), (1, 2)], &both), &[&data]);
    let whole = Bundle::open(&sound.prefix()).unwrap().require("w").unwrap();
    assert_eq!(whole.bytes, [&data[8..], &data[..8]].concat());

    refused(&index(3, &[(0, 1)], &both), &data, "E0201", "parts that leave 2 elements out");
    refused(&index(3, &[(0, 1), (0, 1), (0, 1)], &both), &data, "E0201", "parts that overlap");
    refused(&index(3, &[(1, 2), (1, 2)], &both), &data, "E0201", "parts that overlap");
    refused(&index(3, &[(2, 2)], &both), &data, "E0201", "a part of the shape [3]");
    refused(&index(3, &[(0, 3)], &both), &data, "E0201", "no entry of the part");
    refused(&index(1 << 60, &[(0, 1)], &both), &data, "E0201", "no more than the 12 bytes of the data files");
    let wrong = [(key(0, 1), entry(&[2], 0, 0, 8, &data[..8])), two];
    refused(&index(3, &[(0, 1), (1, 2)], &wrong), &data, "E0201", "in the entry of a part");
}

#[test]
fn tensors_that_share_their_bytes_are_counted() {
    let data = vec![0; 1 << 22];
    let size = data.len() as u64;
    let named = |count: u64| {
        let entries = (0..count).map(|number| (format!("t{number:03}"), entry(&[size / 4], 0, 0, size, &data)));
        let entries: Vec<(String, Vec<u8>)> = entries.collect();
        let all = entries.iter().map(|(name, entry)| (name.as_bytes(), entry.clone()));
        let all: Vec<(&[u8], Vec<u8>)> = std::iter::once((&b""[..], header(1, 0, 0))).chain(all).collect();
        Files::new(&table(&content(&all), 0), &[&data])
    };
    Bundle::open(&named(64).prefix()).unwrap();
    let error = Bundle::open(&named(65).prefix()).unwrap_err();
    assert_eq!(error.code(), "E0104", "{error}");
    assert!(error.to_string().contains("the tensors of a file of "), "{error}");
    assert!(error.help().unwrap().contains("--memory-limit"));
}
