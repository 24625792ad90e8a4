//! Checkpoints.

use std::path::PathBuf;

use tempfile::TempDir;
use tf_rewriter::Bundle;

use super::growth::check;
use super::made_bundle::{content, entry, header, partitioned, table};

/// A checkpoint's files.
struct Checkpoint(TempDir);

impl Checkpoint {
    fn new(entries: &[(Vec<u8>, Vec<u8>)], shards: &[Vec<u8>]) -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let header = (&b""[..], header(shards.len() as u64, 0, 0));
        let entries = entries.iter().map(|(key, entry)| (key.as_slice(), entry.clone()));
        let entries: Vec<(&[u8], Vec<u8>)> = std::iter::once(header).chain(entries).collect();
        made.write(".index", &table(&content(&entries), 0));
        for (number, shard) in shards.iter().enumerate() {
            made.write(&format!(".data-{number:05}-of-{:05}", shards.len()), shard);
        }
        made
    }

    fn write(&self, end: &str, bytes: &[u8]) {
        model_file::atomic::write(&self.0.path().join(format!("m{end}")), bytes).unwrap();
    }

    fn prefix(&self) -> PathBuf {
        self.0.path().join("m")
    }
}

const ONE: [u8; 4] = 1_f32.to_le_bytes();

fn name(number: usize) -> String {
    format!("t{number:06}")
}

fn tiny_tensors(count: usize) -> Checkpoint {
    let entries: Vec<_> = (0..count).map(|i| (name(i).into_bytes(), entry(&[1], 0, 4 * i as u64, 4, &ONE))).collect();
    Checkpoint::new(&entries, &[ONE.repeat(count)])
}

fn shards(count: usize) -> Checkpoint {
    let entries: Vec<_> = (0..count).map(|i| (name(i).into_bytes(), entry(&[1], i as u64, 0, 4, &ONE))).collect();
    Checkpoint::new(&entries, &vec![ONE.to_vec(); count])
}

/// Tensors that are each stored as a part, in a file of its own.
fn partitioned_tensors(count: usize) -> Checkpoint {
    let key = |i: usize| [&b"\0"[..], name(i).as_bytes(), b"\0\x01\x01\x01\x80\x81"].concat();
    let parts = (0..count).map(|i| (key(i), entry(&[1], i as u64, 0, 4, &ONE)));
    let wholes = (0..count).map(|i| (name(i).into_bytes(), partitioned(1, &[(0, 1)])));
    Checkpoint::new(&parts.chain(wholes).collect::<Vec<_>>(), &vec![ONE.to_vec(); count])
}

/// One tensor of many parts.
fn parts(count: usize) -> Checkpoint {
    // Both numbers in two bytes.
    let number = |number: usize| [0xc0 | u8::try_from(number >> 8).unwrap(), u8::try_from(number & 0xff).unwrap()];
    let key = |i: usize| [&b"\0t\0\x01\x01\x01"[..], &number(64 + i), &[0x81]].concat();
    let mut entries = vec![(b"\0t\0\x01\x01\x01\x80\xc0\x40".to_vec(), entry(&[64], 0, 0, 256, &ONE.repeat(64)))];
    entries.extend((0..count).map(|i| (key(i), entry(&[1], 0, 4 * i as u64, 4, &ONE))));
    let all: Vec<(u64, u64)> = std::iter::once((0, 64)).chain((0..count as u64).map(|i| (64 + i, 1))).collect();
    entries.push((b"t".to_vec(), partitioned(64 + count as u64, &all)));
    Checkpoint::new(&entries, &[ONE.repeat(64 + count)])
}

fn read_all(checkpoint: &Checkpoint) {
    let bundle = Bundle::open(&checkpoint.prefix()).unwrap();
    for name in bundle.names() {
        bundle.require(name).unwrap();
    }
}

pub(crate) fn all() {
    check(
        &[
            ("tiny tensors", &tiny_tensors),
            ("data files", &shards),
            ("partitioned tensors", &partitioned_tensors),
            ("parts", &parts),
        ],
        &[
            ("opening a checkpoint", &|checkpoint: &Checkpoint| drop(Bundle::open(&checkpoint.prefix()).unwrap())),
            ("reading a checkpoint", &read_all),
            ("listing the files of a checkpoint", &|checkpoint| drop(Bundle::files(&checkpoint.prefix()))),
        ],
        120,
    );
}
