//! Arbitrary damage: no archive and no pickle makes the reader panic, and what is still read can be written and read again.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{archives, load, model};
use proptest::prelude::*;
use torch_adapter::Limits;
use torch_adapter::archive::{Archive, Edits, write};
use torch_adapter::pickle::{Fresh, ModuleTree, Pickle, Slot, Splice};

/// One change to a file.
#[derive(Debug, Clone)]
enum Damage {
    Set(usize, u8),
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
    Copy(usize, usize, usize),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len().max(1);
        match self {
            Self::Set(at, byte) => {
                if let Some(found) = bytes.get_mut(at % len) {
                    *found = *byte;
                }
            }
            Self::Flip(at, bit) => {
                if let Some(found) = bytes.get_mut(at % len) {
                    *found ^= 1 << (bit % 8);
                }
            }
            Self::Cut(at) => bytes.truncate(at % len),
            Self::Remove(at, count) => {
                let (at, count) = (at % len, count % 64);
                bytes.drain(at.min(bytes.len())..(at + count).min(bytes.len()));
            }
            Self::Insert(at, more) => {
                let at = (at % len).min(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Copy(from, to, count) => {
                let (from, to, count) = (from % len, to % len, count % 64);
                for step in 0..count {
                    if from + step < bytes.len() && to + step < bytes.len() {
                        bytes[to + step] = bytes[from + step];
                    }
                }
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => any::<usize>().prop_map(Damage::Cut),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(at, count)| Damage::Remove(at, count)),
        1 => (any::<usize>(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, more)| Damage::Insert(at, more)),
        1 => (any::<usize>(), any::<usize>(), any::<usize>()).prop_map(|(from, to, count)| Damage::Copy(from, to, count)),
    ];
    prop::collection::vec(one, 1..6)
}

/// Archives that differ in what they hold.
const BASES: [&str; 5] =
    ["tied.script.pt", "shared.trace.pt", "views.script.pt", "mlp.freeze.pt", "transformer.script.pt"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_archives_are_refused_or_read(base in 0..BASES.len(), damages in damage()) {
        let mut bytes = model(BASES[base]);
        for damage in &damages {
            damage.apply(&mut bytes);
        }
        let result = load(bytes.clone());
        if let Err(error) = &result {
            prop_assert!(error.code().starts_with('T') && error.location().is_some());
        }
        if result.is_ok() {
            let archive = Archive::from_bytes(bytes, &Limits::default()).unwrap();
            let mut edits = Edits::new();
            edits.remove("constants.pkl");
            let mut out = Vec::new();
            write(&archive, &edits, &mut out, &|_| {}).unwrap();
            prop_assert!(!out.is_empty());
        }
    }

    #[test]
    fn damage_behind_the_zip_layer_is_refused_or_read(base in 0..BASES.len(), constants in any::<bool>(), damages in damage()) {
        let record = if constants { "constants.pkl" } else { "data.pkl" };
        let archive = common::open(model(BASES[base]));
        let mut bytes = archive.read(record).unwrap().into_owned();
        for damage in &damages {
            damage.apply(&mut bytes);
        }
        if let Ok(pickle) = Pickle::read(record, bytes.clone(), &Limits::default()) {
            prop_assert_eq!(&Splice::new(&pickle).finish().unwrap(), &bytes);
        }
        let mut edits = Edits::new();
        edits.replace(record, torch_adapter::archive::Body::Bytes(bytes.into()));
        let mut out = Vec::new();
        write(&archive, &edits, &mut out, &|_| {}).unwrap();
        if let Err(error) = load(out) {
            let layer = error.code().get(..3);
            prop_assert!(matches!(layer, Some("T02" | "T03" | "T04")), "{}", error.code());
        }
    }

    #[test]
    fn arbitrary_instructions_are_refused_or_read(
        ops in prop::collection::vec(prop::sample::select(&b"\x80\x02cqrhj)]}(\x81uebRQt\x85\x86\x87ldXKMJ\x8aG\x88\x89N.\x00\x01__torch__\nA\n"[..]), 0..200),
    ) {
        let bytes = [&b"\x80\x02"[..], &ops, b"."].concat();
        if let Ok(pickle) = Pickle::read("data.pkl", bytes.clone(), &Limits::default()) {
            prop_assert_eq!(Splice::new(&pickle).finish().unwrap(), bytes);
        }
    }
}

/// Path and attribute of every tensor, with what the pickle says about it.
fn tensors(pickle: &Pickle) -> Vec<(String, String)> {
    let tree = ModuleTree::new(pickle).unwrap();
    let mut found = Vec::new();
    for (position, module) in tree.modules().iter().enumerate() {
        for (attribute, slot) in module.object.attributes() {
            let Some(tensor) = pickle.tensor(slot) else { continue };
            let (storage, path) = (&pickle.storages()[tensor.storage], tree.path(position));
            let facts =
                format!("{} {:?} {} {:?} {:?}", storage.key, storage.kind, tensor.offset, tensor.sizes, tensor.strides);
            found.push((format!("{path}.{attribute}"), facts));
        }
    }
    found.sort();
    found
}

/// Leave every value out in turn: all others are as they were, and storages that were one still are.
#[test]
fn every_attribute_of_every_model_can_be_replaced() {
    for (name, bytes) in archives() {
        let archive = common::open(bytes);
        let bytes = archive.read("data.pkl").unwrap().into_owned();
        let pickle = Pickle::read("data.pkl", bytes, &Limits::default()).unwrap();
        let (tree, before) = (ModuleTree::new(&pickle).unwrap(), tensors(&pickle));
        for (position, module) in tree.modules().iter().enumerate() {
            for (attribute, slot) in module.object.attributes() {
                let mut splice = Splice::new(&pickle);
                let mut value = Fresh::new();
                value.none();
                splice.replace(slot, value).unwrap();
                let changed = Pickle::read("data.pkl", splice.finish().unwrap(), &Limits::default()).unwrap();
                let gone = format!("{}.{attribute}", tree.path(position));
                let inside = format!("{}.", gone.trim_start_matches('.'));
                let left = |(path, _): &&(String, String)| *path != gone && !path.starts_with(&inside);
                let expected: Vec<_> = before.iter().filter(left).collect();
                // A module that had another place keeps that one alone, under another path.
                if module_is_unique(&tree, slot) {
                    assert_eq!(tensors(&changed).iter().collect::<Vec<_>>(), expected, "{name} without {gone}");
                }
                let mut keys: Vec<&str> = changed.storages().iter().map(|storage| storage.key.as_str()).collect();
                keys.sort_unstable();
                assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{name} without {gone}: {keys:?}");
            }
        }
    }
}

fn module_is_unique(tree: &ModuleTree<'_>, slot: Slot) -> bool {
    tree.position(slot).is_none_or(|position| tree.modules()[position].aliases.is_empty())
}
