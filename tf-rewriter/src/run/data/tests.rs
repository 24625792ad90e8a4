//! Opening and passing over, which need no TensorFlow.

use std::fs;
use std::io::{Cursor, Write};

use ndarray::{Array1, Array2};
use ndarray_npy::WriteNpyExt;
use tempfile::TempDir;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::*;

fn npy(rows: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    Array2::from_shape_fn((rows.into(), 3), |(row, column)| f32::from(u16::try_from(row * 3 + column).unwrap()))
        .write_npy(&mut bytes)
        .unwrap();
    bytes
}

fn npz(arrays: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), SimpleFileOptions::default().compression_method(method)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A folder with files in it.
fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        fs::File::create_new(folder.path().join(name)).unwrap().write_all(bytes).unwrap();
    }
    folder
}

fn said(path: &Path, names: &[&str]) -> String {
    let error = Data::open(path, names).unwrap_err();
    assert_eq!(error.code(), "E0804", "{error}");
    assert!(error.help().is_some(), "{error}");
    error.to_string()
}

/// Every element that is left, of every shard, in order.
fn elements(data: &mut Data) -> Vec<f32> {
    let mut all = Vec::new();
    loop {
        for array in &mut data.open {
            let mut bytes = Vec::new();
            array.read(array.left(), &mut bytes).unwrap();
            all.extend(bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())));
        }
        if !data.open_next().unwrap() {
            return all;
        }
    }
}

#[test]
fn every_form_holds_the_same_samples() {
    let whole: Vec<f32> = (0..15_u16).map(f32::from).collect();
    let files = folder(&[
        ("a.npy", npy(5)),
        ("stored.npz", npz(&[("x", npy(5)), ("y", npy(2))], CompressionMethod::Stored)),
        ("deflated.npz", npz(&[("y", npy(2)), ("x", npy(5))], CompressionMethod::Deflated)),
    ]);
    for name in ["a.npy", "stored.npz", "deflated.npz"] {
        for skipped in 0..5_u16 {
            let mut data = Data::open(&files.path().join(name), &["x"]).unwrap();
            assert_eq!((data.samples(), data.sample(0)), (5, Some(("f4", &[3_u64][..]))), "{name}");
            data.skip(skipped.into()).unwrap();
            assert_eq!(elements(&mut data), whole[usize::from(skipped) * 3..], "{name}, {skipped} passed over");
            data.rewind();
            assert_eq!(elements(&mut data), whole, "{name}, from the first again");
        }
    }
    assert_eq!(Data::names(&files.path().join("stored.npz")).unwrap(), ["x", "y"]);
}

#[test]
fn a_folder_is_parts_or_arrays_by_name() {
    let parts = folder(&[("1.npy", npy(2)), ("2.npy", npy(3)), ("readme.txt", b"no data".to_vec())]);
    let mut data = Data::open(parts.path(), &["x"]).unwrap();
    assert_eq!(data.samples(), 5);
    data.skip(3).unwrap();
    assert_eq!(elements(&mut data), [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let named = folder(&[("x.npy", npy(4)), ("y.npy", npy(4))]);
    assert_eq!(Data::open(named.path(), &["x", "y"]).unwrap().samples(), 4);
    assert_eq!(Data::open(named.path(), &["y"]).unwrap().samples(), 4);
    let packs = folder(&[
        ("1.npz", npz(&[("x", npy(2))], CompressionMethod::Stored)),
        ("2.npz", npz(&[("x", npy(1))], CompressionMethod::Deflated)),
    ]);
    assert_eq!(Data::open(packs.path(), &["x"]).unwrap().samples(), 3);
}

#[test]
fn what_does_not_fit_says_so() {
    let mut doubles = Vec::new();
    Array2::<f64>::zeros((2, 3)).write_npy(&mut doubles).unwrap();
    let mut single = Vec::new();
    ndarray::arr0(1.0_f32).write_npy(&mut single).unwrap();
    let mut empty = Vec::new();
    Array1::<f32>::zeros(0).write_npy(&mut empty).unwrap();
    let files = folder(&[
        ("x.npy", npy(2)),
        ("single.npy", single),
        ("empty.npy", empty),
        ("text.npy", b"no array, but a text".to_vec()),
        ("uneven.npz", npz(&[("x", npy(2)), ("y", npy(3))], CompressionMethod::Stored)),
    ]);
    let at = |name: &str| files.path().join(name);
    assert_eq!(said(&at("uneven.npz"), &["x", "z"]), "data: there is no array `z`; there are `x`, `y`");
    assert_eq!(said(&at("uneven.npz"), &["x", "y"]), "data: `y` has 3 samples, but `x` has 2");
    assert!(said(&at("x.npy"), &["x", "y"]).contains("a .npy file holds one array, and `x`, `y` are wanted"));
    assert!(said(&at("single.npy"), &["x"]).contains("`x` is a single number"));
    assert!(said(&at("empty.npy"), &["x"]).contains("there are no samples"));
    assert!(said(&at("text.npy"), &["x"]).contains("this is no array of NumPy"));
    assert!(said(folder(&[]).path(), &["x"]).contains("the folder holds no .npz and no .npy"));
    let mixed = folder(&[("1.npy", npy(2)), ("2.npy", doubles)]);
    assert!(said(mixed.path(), &["x"]).contains("`x` has samples of f8 [3], in the file before f4 [3]"));
    assert!(!said(&at("absent.npz"), &["x"]).is_empty());
}

#[test]
fn a_damaged_file_is_an_error_wherever_it_is_cut_or_changed() {
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let good = npz(&[("x", npy(40))], method);
        let read = |bytes: &[u8]| {
            let files = folder(&[("d.npz", bytes.to_vec())]);
            let mut data = Data::open(&files.path().join("d.npz"), &["x"])?;
            data.open_next()?;
            let mut to = Vec::new();
            let array = data.open.first_mut().unwrap();
            array.read(array.left(), &mut to).map_err(|error| unreadable(Path::new("d.npz"), &error))
        };
        read(&good).unwrap();
        for cut in 0..good.len() {
            assert_eq!(read(&good[..cut]).unwrap_err().code(), "E0804", "{method}, cut at {cut}");
        }
        // In the array's elements a changed bit is found by the sum alone.
        let middle = good.len() / 3;
        let mut changed = good.clone();
        changed[middle] ^= 1;
        assert_eq!(read(&changed).unwrap_err().code(), "E0804", "{method}");
    }
    let short = npy(5);
    let files = folder(&[("x.npy", short[..short.len() - 1].to_vec())]);
    let mut data = Data::open(&files.path().join("x.npy"), &["x"]).unwrap();
    data.open_next().unwrap();
    let error = data.open.first_mut().unwrap().read(5, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("`x` ends early: its head says 5 samples"), "{error}");
}

/// An array whose head claims a shape, and nothing behind it.
fn claimed(shape: &str) -> Vec<u8> {
    let head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &u16::try_from(head.len()).unwrap().to_le_bytes()[..], head.as_bytes()].concat()
}

#[test]
fn samples_without_elements_are_refused_however_many_there_are() {
    for shape in ["(9223372036854775808, 0)", "(9223372036854775808, 3, 0, 5)", "(2, 0)"] {
        let files = folder(&[("x.npz", npz(&[("x", claimed(shape))], CompressionMethod::Deflated))]);
        assert!(said(&files.path().join("x.npz"), &["x"]).contains("which have no elements"), "{shape}");
    }
    // As many as two files can claim are no reason to panic.
    let claims = claimed("(9223372036854775808, 1)");
    let files = folder(&[("1.npy", claims.clone()), ("2.npy", claims)]);
    assert_eq!(Data::open(files.path(), &["x"]).unwrap().samples(), u64::MAX);
}

#[test]
fn a_sample_far_larger_than_its_file_names_the_option_that_allows_it() {
    let files = folder(&[("x.npz", npz(&[("x", claimed("(1, 268435456)"))], CompressionMethod::Deflated))]);
    let mut data = Data::open(&files.path().join("x.npz"), &["x"]).unwrap();
    data.open_next().unwrap();
    let mut to = Vec::new();
    let error = data.open.first_mut().unwrap().read(1, &mut to).unwrap_err().to_string();
    assert!(error.contains("more than 268435456 bytes of memory") && error.contains("--memory-limit"), "{error}");
    assert_eq!(to.capacity(), 0);
}

#[test]
fn arrays_that_nobody_asks_for_are_not_opened() {
    // More than a process may have files open.
    let names: Vec<String> = (0..5_000).map(|number| format!("a{number}")).collect();
    let arrays: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), npy(1))).collect();
    let files = folder(&[("x.npz", npz(&arrays, CompressionMethod::Stored))]);
    let path = files.path().join("x.npz");
    assert_eq!(Data::open(&path, &["a7", "a4000"]).unwrap().samples(), 1);
    assert!(said(&path, &["b"]).contains("`a0`, `a1`, `a10`") && said(&path, &["b"]).contains("and 4980 more"));
    assert_eq!(Data::names(&path).unwrap().len(), 5_000);
}
