//! Data sets of many tiny arrays.

use std::io::Cursor;
use std::path::Path;

use ndarray::arr1;
use ndarray_npy::NpzWriter;
use tempfile::TempDir;
use tf_rewriter::run::Data;

use super::growth::check;

/// A file or folder of data, and the arrays' names.
struct Arrays(TempDir, Vec<String>);

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("x{number}")).collect()
}

/// Arrays of two samples.
fn npz(path: &Path, names: &[String]) {
    let mut archive = NpzWriter::new(Cursor::new(Vec::new()));
    for name in names {
        archive.add_array(name.as_str(), &arr1(&[1_f32, 2.0])).unwrap();
    }
    model_file::atomic::write(path, archive.finish().unwrap().get_ref()).unwrap();
}

fn one_archive(count: usize) -> Arrays {
    let made = Arrays(tempfile::tempdir().unwrap(), names(count));
    npz(&made.0.path().join("data.npz"), &made.1);
    made
}

fn archives(count: usize) -> Arrays {
    let made = Arrays(tempfile::tempdir().unwrap(), names(1));
    for number in 0..count {
        npz(&made.0.path().join(format!("{number:05}.npz")), &made.1);
    }
    made
}

fn files(count: usize) -> Arrays {
    let made = Arrays(tempfile::tempdir().unwrap(), names(count));
    for name in &made.1 {
        let mut bytes = Vec::new();
        ndarray_npy::WriteNpyExt::write_npy(&arr1(&[1_f32, 2.0]), &mut bytes).unwrap();
        model_file::atomic::write(&made.0.path().join(format!("{name}.npy")), &bytes).unwrap();
    }
    made
}

fn open(arrays: &Arrays, names: &[String]) -> Data {
    Data::open(arrays.0.path(), names).unwrap()
}

pub(crate) fn all() {
    check(
        &[("arrays of an archive", &one_archive), ("archives", &archives), ("files with an array", &files)],
        &[
            ("the names of data", &|arrays: &Arrays| drop(Data::names(arrays.0.path()).unwrap())),
            ("passing over data", &|arrays| open(arrays, &arrays.1).skip(1).unwrap()),
        ],
        60,
    );
    check(
        &[("arrays of an archive", &one_archive)],
        &[("one array of data", &|arrays: &Arrays| open(arrays, &names(1)).skip(2).unwrap())],
        500,
    );
}
