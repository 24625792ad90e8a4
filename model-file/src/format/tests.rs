use proptest::prelude::*;

use super::*;

fn check(bytes: &[u8], format: Format) {
    assert_eq!(Format::of(bytes), format, "{bytes:?}");
}

#[test]
fn formats_are_told_by_their_first_bytes() {
    check(b"", Format::Empty);
    check(b"\x89HDF\r\n\x1a\n\0\0", Format::KerasHdf5);
    check(b"\x1c\0\0\0TFL3\x14\0", Format::TfLite);
    check(b"\x1f\x8b\x08\0", Format::Gzip);
    check(b"\x80\x02}q\0.", Format::Pickle);
    check(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", Format::TorchSaveOld);
    check(b"\x93NUMPY\x01\0", Format::NumpyArray);
    check(&[&[0; 40][..], &0xdb47_7524_8b80_fb57_u64.to_le_bytes()].concat(), Format::CheckpointIndex);
    check(b"\x02\0\0\0\0\0\0\0{}", Format::Safetensors);
    check(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n", Format::LfsPointer);
}

#[test]
fn messages_are_told_by_their_first_fields() {
    check(b"\x08\x07\x12\x07pytorch\x3a\x02\x0a\x00", Format::Onnx(Written::Binary));
    check(b"\x08\x01\x12\x04\x0a\x02\x12\x00", Format::SavedModel(Written::Binary));
    check(b"\x08\x01\x12\x80\x10\x0a\x02\x12", Format::SavedModel(Written::Binary));
    check(b"\x12\x0c\x0a\x08\x2a\x062.21.0\x12\x00", Format::SavedModel(Written::Binary));
    check(b"\x0a\x08\x2a\x062.21.0\x12\x02\x0a\x00", Format::MetaGraph(Written::Binary));
    // What TensorFlow 2.21 writes as fingerprint.pb: hashes, a version, a UUID.
    check(b"\x08\x07\x10\x05\x18\x03\x20\x02\x28\x01\x32\x02\x08\x02\x3a\x0212", Format::Fingerprint);
    check(b"\x08\x07\x10\x05\x3a\x0212", Format::Fingerprint);
    check(b"\x0a\x03net\x12\x10\x0a\x04data\x12\x02c1\x22\x04Conv", Format::Caffe2);
    check(b"\x12\x13\x12\x01w\x22\x0eXavierFillFill", Format::Caffe2);
    check(b"\x0a\x0e\x0a\x07a.proto\x12\x03pkg", Format::ProtoFiles);
    check(b"\x0a\x07a.proto\x12\x03pkg", Format::ProtoFiles);
    check(b"\xff\xfe\0\0", Format::Unknown);
}

#[test]
fn graphs_are_graphs_even_if_they_are_cut_off() {
    let graph = Format::GraphDef(Written::Binary);
    check(b"\x0a\x0a\x0a\x01x\x12\x05Const\x22\x03\x08\xdb\x0d", graph);
    check(b"\x22\x03\x08\xdb\x0d\x0a\x00", graph);
    check(b"\x18\x05", graph);
    check(b"\x12\x00", graph);
    check(b"\x0a", graph);
    check(b"\x0a\x80", graph);
    check(b"\x0a\x80\x80\x80\x04\x0a\x01x\x12\x05Co", graph);
    // Whitespace and letters as lengths and names do not make it text.
    check(b"\x0a\x0d\x0a\x09nodename1\x12\x00", graph);
}

#[test]
fn texts_are_told_by_their_first_word() {
    let graph = Format::GraphDef(Written::Text);
    check(b"node { name: \"a\" }", graph);
    check(b"\n \t# made by hand\n#\nnode{", graph);
    check(b"versions {\n  producer: 5\n}", graph);
    check(b"library <", graph);
    check(b"nodes: 1", Format::ProtoText);
    check(b"saved_model_schema_version: 1", Format::SavedModel(Written::Text));
    check(b"meta_info_def {", Format::MetaGraph(Written::Text));
    check(b"model_checkpoint_path: \"m\"", Format::CheckpointList);
    check(b"ir_version: 8", Format::Onnx(Written::Text));
    check(b"{\"config_list\": []}", Format::Text);
    check("größer".as_bytes(), Format::Text);
}

fn zip(names: &[&str]) -> Vec<u8> {
    let mut bytes = b"PK\x03\x04".to_vec();
    let directory = u32::try_from(bytes.len()).unwrap();
    for name in names {
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        bytes.extend([&b"PK\x01\x02"[..], &[0; 24], &length, &[0; 16], name.as_bytes()].concat());
    }
    bytes.extend([&b"PK\x05\x06"[..], &[0; 12], &directory.to_le_bytes(), &[0; 2]].concat());
    bytes
}

#[test]
fn zip_archives_are_told_apart_by_what_they_hold() {
    let archives: [(&[&str], Format); 9] = [
        (&["m/data.pkl", "m/code/a.py", "m/constants.pkl"], Format::TorchScript),
        (&["m/data.pkl", "m/data/0"], Format::TorchSave),
        (&["m/bytecode.pkl", "m/data.pkl"], Format::TorchMobile),
        (&["m/model.json", "m/tensors.json"], Format::TorchScriptOld),
        (&["m/archive_format", "m/data/weights"], Format::TorchExport),
        (&["m/.data/extern_modules"], Format::TorchPackage),
        (&["metadata.json", "config.json", "model.weights.h5"], Format::KerasZip),
        (&["x.npy"], Format::NumpyArchive),
        (&[], Format::Zip),
    ];
    for (names, format) in archives {
        check(&zip(names), format);
        assert_eq!(Format::of_zip(names.iter().copied()), format, "{names:?}");
    }
    check(b"PK\x03\x04", Format::Zip);
    check(b"PK\x05\x06", Format::EmptyZip);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, zip: bool) {
        let bytes = if zip { [b"PK\x03\x04", &bytes[..], b"PK\x05\x06", &bytes[..]].concat() } else { bytes };
        // A file that is nothing else has a name, too.
        prop_assert!(!Format::of(&bytes).to_string().is_empty());
    }
}
