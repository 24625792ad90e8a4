//! Archives of torch, read and written again: what is not changed is the same, byte for byte.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::borrow::Cow;

use common::{archives, model, open};
use torch_adapter::archive::{Archive, Body, Edits, Fill, Method, Patch, write};
use torch_adapter::pickle::{ModuleTree, Pickle, Splice, StorageType, Value};
use torch_adapter::tensors::{Irregular, Sharing, Tensors};
use torch_adapter::{Error, Limits};

/// More than three pieces of the writer.
const LONG: u64 = 3 * (1 << 20) + 5;

fn fill_with(byte: u8) -> Box<dyn Fill> {
    Box::new(move |_: &[u8], _: u64, out: &mut [u8]| -> Result<(), Error> {
        out.fill(byte);
        Ok(())
    })
}

fn written(archive: &Archive, edits: &Edits<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let bytes = write(archive, edits, &mut out, &|_| {}).unwrap();
    assert_eq!(bytes, out.len() as u64);
    out
}

#[test]
fn without_edits_the_output_is_the_input() {
    for (name, bytes) in archives() {
        let archive = open(bytes.clone());
        assert!(written(&archive, &Edits::new()) == bytes, "{name}");
    }
}

#[test]
fn every_byte_that_torch_writes_can_be_written_again() {
    // The layout, CRCs and deflate streams are made anew; only the data comes from the input.
    for (name, bytes) in archives() {
        let archive = open(bytes.clone());
        let mut edits = Edits::new();
        for record in archive.records().collect::<Vec<_>>() {
            edits.replace(record, Body::Bytes(Cow::Owned(archive.read(record).unwrap().into_owned())));
        }
        assert!(written(&archive, &edits) == bytes, "{name}");
    }
}

#[test]
fn patches_with_the_same_bytes_change_nothing() {
    for (name, bytes) in archives() {
        let archive = open(bytes.clone());
        let mut edits = Edits::new();
        for record in archive.records().filter(|record| record.starts_with("data/")) {
            let data = archive.read(record).unwrap();
            // Everything but the first and last quarter.
            let (from, to) = (data.len() / 4, data.len() - data.len() / 4);
            let fill = move |source: &[u8], at: u64, out: &mut [u8]| -> Result<(), Error> {
                let at = usize::try_from(at).unwrap();
                out.copy_from_slice(&source[at..at + out.len()]);
                Ok(())
            };
            edits.patch(record, Patch { span: from as u64..to as u64, fill: Box::new(fill) });
        }
        assert!(written(&archive, &edits) == bytes, "{name}");
    }
}

#[test]
fn changed_records_are_read_back_and_the_others_stay() {
    let archive = open(model("mobile.script.pt"));
    let made = |_: &[u8], at: u64, out: &mut [u8]| -> Result<(), Error> {
        for (position, byte) in (at..).zip(out) {
            *byte = u8::try_from(position % 251).unwrap();
        }
        Ok(())
    };
    let mut edits = Edits::new();
    edits.patch("data/0", Patch { span: 8..12, fill: fill_with(0xab) });
    edits.patch("data/0", Patch { span: 0..4, fill: fill_with(0xcd) });
    edits.replace("code/__torch__.py", Body::Bytes(Cow::Borrowed(b"# nothing")));
    edits.remove("code/__torch__.py.debug_pkl");
    edits.add("data/made", Body::Made { len: LONG, source: None, fill: Box::new(made) });
    edits.add("code/__torch__/added.py", Body::Bytes(Cow::Owned(vec![b'#'; 1000])));
    edits.add("extra/note.json", Body::Bytes(Cow::Borrowed(b"{}")));
    let changed = open(written(&archive, &edits));
    changed.check_all().unwrap();

    let data = changed.read("data/0").unwrap();
    assert_eq!((&data[..4], &data[8..12]), (&[0xcd; 4][..], &[0xab; 4][..]));
    assert_eq!(data[12..], archive.read("data/0").unwrap()[12..]);
    assert_eq!(data[4..8], archive.read("data/0").unwrap()[4..8]);
    assert_eq!(&*changed.text("code/__torch__.py").unwrap(), "# nothing");
    assert!(!changed.has("code/__torch__.py.debug_pkl"));
    let long = changed.read("data/made").unwrap();
    assert!(long.len() as u64 == LONG && long.iter().zip(0..).all(|(byte, at)| u64::from(*byte) == at % 251));
    assert_eq!(changed.entry("code/__torch__/added.py").unwrap().method(), Method::Deflated);

    // New records stand behind the last one of their folder; the others keep their order and their bytes.
    let names: Vec<&str> = changed.entries().iter().filter_map(|entry| changed.record_name(entry)).collect();
    let place = |name| names.iter().position(|found| *found == name).unwrap();
    assert_eq!(place("data/made") + 1, place("data.pkl"));
    assert!(place("code/__torch__/added.py") < place("constants.pkl"));
    assert_eq!(place("extra/note.json"), names.len() - 1);
    for record in archive.records().filter(|record| !record.starts_with("code/__torch__.py") && *record != "data/0") {
        assert_eq!(changed.read(record).unwrap(), archive.read(record).unwrap(), "{record}");
    }
    assert!(changed.entries().iter().all(|entry| entry.data_offset() % 64 == 0));
}

#[test]
fn edits_that_do_not_fit_are_refused() {
    let archive = open(model("tied.script.pt"));
    let nothing = || Body::Bytes(Cow::Borrowed(b""));
    let fill = || Box::new(|_: &[u8], _: u64, _: &mut [u8]| Ok(()));
    let code = |make: &dyn Fn(&mut Edits<'_>)| {
        let mut edits = Edits::new();
        make(&mut edits);
        write(&archive, &edits, &mut Vec::new(), &|_| {}).unwrap_err().code()
    };
    assert_eq!(code(&|edits| edits.replace("data/99", nothing())), "T0120");
    assert_eq!(code(&|edits| edits.remove("data/99")), "T0120");
    assert_eq!(code(&|edits| edits.add("data/0", nothing())), "T0120");
    assert_eq!(code(&|edits| edits.add("../x", nothing())), "T0107");
    assert_eq!(code(&|edits| edits.add("data/", nothing())), "T0120");
    assert_eq!(code(&|edits| edits.patch("data/0", Patch { span: 0..1 << 40, fill: fill() })), "T0120");
    let overlapping = |edits: &mut Edits<'_>| {
        edits.patch("data/0", Patch { span: 0..8, fill: fill() });
        edits.patch("data/0", Patch { span: 4..12, fill: fill() });
    };
    assert_eq!(code(&overlapping), "T0120");
}

#[test]
fn every_pickle_is_read_and_spliced_back_unchanged() {
    for (name, bytes) in archives() {
        let archive = open(bytes);
        for record in ["data.pkl", "constants.pkl"] {
            let bytes = archive.read(record).unwrap().into_owned();
            let pickle = Pickle::read(record, bytes.clone(), &Limits::default()).unwrap();
            assert!(Splice::new(&pickle).finish().unwrap() == bytes, "{name} {record}");
            assert_eq!(matches!(pickle.value(pickle.root()), Value::Tuple(_)), record == "constants.pkl");
        }
    }
}

fn data(name: &str) -> (Archive, Pickle, Tensors) {
    let archive = open(model(name));
    let bytes = archive.read("data.pkl").unwrap().into_owned();
    let pickle = Pickle::read("data.pkl", bytes, &Limits::default()).unwrap();
    let tensors = Tensors::read(&archive, &pickle, "data").unwrap();
    (archive, pickle, tensors)
}

#[test]
fn modules_have_the_paths_that_torch_gives_them() {
    let (_, pickle, _) = data("mobile.trace.pt");
    let tree = ModuleTree::new(&pickle).unwrap();
    let paths: Vec<String> = (0..tree.modules().len()).map(|position| tree.path(position)).collect();
    assert_eq!(paths[..4], ["", "stem", "bn", "relu"]);
    assert!(paths.iter().any(|path| path == "blocks.2.conv.7"));
    for (position, path) in paths.iter().enumerate() {
        assert_eq!(tree.at_path(path), Some(position));
    }
}

#[test]
fn a_shared_instance_is_one_module_with_two_paths() {
    let (_, pickle, _) = data("instance.script.pt");
    let tree = ModuleTree::new(&pickle).unwrap();
    let position = tree.at_path("b").unwrap();
    assert_eq!(tree.at_path("a"), Some(position));
    let aliases: Vec<String> = tree.modules()[position].aliases.iter().map(|place| tree.path_of(*place)).collect();
    assert_eq!((tree.path(position).as_str(), aliases.as_slice()), ("a", &["b".to_owned()][..]));
}

#[test]
fn copies_of_a_shared_module_share_their_tensors() {
    // torch.jit.script makes two objects of one plain module.
    let (_, pickle, tensors) = data("shared.script.pt");
    let tree = ModuleTree::new(&pickle).unwrap();
    assert_ne!(tree.at_path("a"), tree.at_path("b"));
    let weight = |path: &str| tree.modules()[tree.at_path(path).unwrap()].object.get("weight").unwrap();
    assert_eq!(weight("a").identity(), weight("b").identity());
    assert_eq!(weight("convs.0").identity(), weight("convs.1").identity());
    assert_eq!(tensors.storages().len(), 6);
}

#[test]
fn a_tied_weight_is_one_tensor() {
    let (_, pickle, tensors) = data("tied.script.pt");
    let tree = ModuleTree::new(&pickle).unwrap();
    let weight = |path: &str| tree.modules()[tree.at_path(path).unwrap()].object.get("weight").unwrap();
    assert_eq!(weight("embed").identity(), weight("head").identity());
    assert_eq!(tensors.storages().len(), 3);
}

#[test]
fn views_are_what_torch_made_of_them() {
    let (_, pickle, tensors) = data("views.script.pt");
    let root = pickle.object(pickle.root()).unwrap();
    let position = |name: &str| {
        let span = pickle.tensor(root.get(name).unwrap()).unwrap().span.clone();
        pickle.tensors().iter().position(|tensor| tensor.span == span).unwrap()
    };
    let tensor = |name: &str| &tensors.tensors()[position(name)];
    assert_eq!(tensor("first").dense().unwrap().span, 0..24);
    assert_eq!(tensor("second").dense().unwrap().span, 24..40);
    assert!(!tensor("turned").dense().unwrap().is_row_major());
    assert_eq!(tensor("gaps").dense(), Err(Irregular::Gaps));
    assert_eq!(tensor("wide").dense(), Err(Irregular::Overlapping));
    assert_eq!(tensor("none").dense(), Err(Irregular::Empty));
    let sharing = tensors.sharing(position("second"));
    assert_eq!(sharing, Sharing::Partial, "the flat buffer and the overlapping view");
}

#[test]
fn channels_last_weights_are_dense_in_their_own_order() {
    let (_, pickle, tensors) = data("channels_last.script.pt");
    let tree = ModuleTree::new(&pickle).unwrap();
    let slot = tree.modules()[tree.at_path("stem").unwrap()].object.get("weight").unwrap();
    let span = pickle.tensor(slot).unwrap().span.clone();
    let position = pickle.tensors().iter().position(|tensor| tensor.span == span).unwrap();
    assert_eq!(tensors.tensors()[position].dense().unwrap().order, [0, 2, 3, 1]);
}

#[test]
fn every_float_type_is_found() {
    for (name, kind) in
        [("half", StorageType::Half), ("bfloat16", StorageType::BFloat16), ("double", StorageType::Double)]
    {
        let (_, _, tensors) = data(&format!("{name}.script.pt"));
        assert!(tensors.tensors().iter().all(|tensor| tensor.kind == kind && tensor.dtype().is_some()), "{name}");
    }
}

#[test]
fn a_folder_is_named_for_what_it_is() {
    let folder = tempfile::TempDir::new().unwrap();
    let told = |folder: &std::path::Path| {
        let error = torch_adapter::Model::open(folder).unwrap_err();
        (error.code(), error.to_string(), error.help().unwrap_or_default().to_string())
    };
    let (code, text, help) = told(folder.path());
    assert!(code == "T0101" && text.contains("this is a folder"), "{code} {text}");
    assert!(help.contains("torch.jit.save"), "{help}");
    std::fs::File::create_new(folder.path().join("saved_model.pb")).unwrap();
    let (code, text, help) = told(folder.path());
    assert!(code == "T0101" && text.contains("SavedModel") && help.contains("tf-rewriter"), "{code} {text} {help}");
}
