//! The fuzz target's property of checkpoints on damaged seeds, with what the reader allocates.
//!
//! One test in a file of its own: the allocation counter is the process's.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../fuzz/bundle_properties.rs"]
mod bundle_properties;
mod made_bundle;
#[path = "../../tests/common/peak.rs"]
mod peak;

use std::path::Path;

use bundle_properties::{checkpoint_is_bounded, patches_keep_the_rest, split};
use peak::cost_of;
use proptest::prelude::*;
use proptest::sample::Index;

/// Paths, messages, the property's own tables: what does not depend on the file.
const ROOM: usize = 1 << 20;
/// Keys may be 32 times the index, and so may the one that is being read; an entry of three bytes becomes 32 in a list that is there up
/// to three times while it grows.
const OF_INDEX: usize = 32 + 32 + 32;
/// The bytes of a partitioned tensor, and those of one of its parts.
const OF_DATA: usize = 2;
/// Text that a compressed byte may become, which is held once more and has keys like what is not compressed.
const INFLATED: usize = 22;

fn check(bytes: &[u8], folder: &Path) {
    let (index, data) = split(bytes);
    let inflated = if bytes.first().is_some_and(|kind| kind & 2 != 0) { INFLATED * index.len() } else { 0 };
    let most = ROOM + OF_INDEX * (index.len() + inflated) + inflated + OF_DATA * data.len() + index.len() + data.len();
    let ((), peak, _) = cost_of(|| checkpoint_is_bounded(bytes, folder));
    assert!(peak <= most, "{peak} bytes for an index of {} and data of {}", index.len(), data.len());
}

/// What [`split`] takes apart.
fn joined(kind: u8, index: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u32::try_from(index.len()).unwrap().to_le_bytes());
    bytes.extend(index);
    bytes.extend(data);
    bytes
}

/// A checkpoint that TensorFlow 2.21 wrote, as it is, with the content of its one block of entries, and with that compressed.
fn seeds() -> [Vec<u8>; 3] {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/checkpoint/saver");
    let read = |end: &str| std::fs::read(format!("{golden}{end}")).unwrap();
    let (index, data) = (read(".index"), read(".data-00000-of-00001"));
    // The footer names the blocks after it: the entries end, with a trailer of five bytes, where the empty metaindex begins.
    let footer = &index[index.len() - 48..];
    let (metaindex, _) = tf_rewriter::wire::varint(footer).unwrap();
    let content = &index[..usize::try_from(metaindex).unwrap() - 5];
    [joined(0, &index, &data), joined(1, content, &data), joined(3, &made_bundle::snappy(content), &data)]
}

#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Cut(Index),
    /// A part once more, somewhere else.
    Copy(Index, Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => any::<Index>().prop_map(Damage::Cut),
        2 => (any::<Index>(), any::<Index>(), any::<u8>()).prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for damage in damage {
        if bytes.is_empty() {
            break;
        }
        match damage {
            Damage::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Copy(from, to, length) => {
                let from = from.index(bytes.len());
                let part = bytes[from..bytes.len().min(from + usize::from(*length))].to_vec();
                let to = to.index(bytes.len());
                bytes.splice(to..to, part);
            }
        }
    }
    bytes
}

/// The index is a sixth of the seed: most damage is done there.
fn in_index(seed: &[u8], damage: &[Damage]) -> Vec<u8> {
    let length = usize::try_from(u32::from_le_bytes(seed[1..5].try_into().unwrap())).unwrap();
    let (index, data) = seed[5..].split_at(length);
    joined(seed[0], &damaged(index.to_vec(), damage), data)
}

#[test]
fn damaged_checkpoints_are_errors_and_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds();
    for seed in &seeds {
        let (index, data) = split(seed);
        assert!(index.len() > 500 && data.len() > 6000);
        check(seed, folder.path());
        assert_eq!(tf_rewriter::Bundle::open(&folder.path().join("m")).unwrap().names().count(), 15);
    }
    run(4000, |bytes| check(bytes, folder.path()));
    // What is written goes to the disk, which takes its time.
    let folder = tempfile::tempdir().unwrap();
    for seed in &seeds {
        patches_keep_the_rest(seed, folder.path());
    }
    assert!(folder.path().join("patched.index").exists());
    run(200, |bytes| patches_keep_the_rest(bytes, folder.path()));
}

fn run(cases: u32, property: impl Fn(&[u8])) {
    let seeds = seeds();
    let damages = (0..3_usize, any::<bool>(), prop::collection::vec(damage(), 1..6));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let found = runner.run(&damages, |(which, anywhere, damage)| {
        let bytes = if anywhere { damaged(seeds[which].clone(), &damage) } else { in_index(&seeds[which], &damage) };
        property(&bytes);
        Ok(())
    });
    found.unwrap();
}
