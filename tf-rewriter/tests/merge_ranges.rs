//! The command that joins ranges files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use quant_math::plan::{Observer, QuantType, Settings};
use quant_math::ranges::{Calibration, ModelId, RANGES_VERSION, Ranges, SiteRange};
use quant_math::{Quantizer, Range};

fn ranges(observer: Observer, data: &[f32]) -> Ranges {
    let settings = Settings { observer, ..Settings::new(Quantizer::Qat, 8) };
    let mut calibration = Calibration::new(&settings).unwrap();
    calibration.statistics.observe(data).unwrap();
    calibration.samples = 1;
    Ranges {
        version: RANGES_VERSION,
        framework: "tensorflow 2.21.0".to_owned(),
        model: ModelId { file: "m.pb".to_owned(), fingerprint: "crc32c:00000000:0".to_owned() },
        config: None,
        observer,
        samples: 1,
        batch: None,
        folded: Vec::new(),
        ranges: vec![SiteRange::measured("relu", QuantType::Output, "relu:0", calibration).unwrap()],
    }
}

fn write(folder: &Path, name: &str, ranges: &Ranges) -> PathBuf {
    let path = folder.join(name);
    model_file::atomic::write(&path, ranges.to_json().unwrap().as_bytes()).unwrap();
    path
}

fn merge(files: &[&Path], out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tf-rewriter"));
    command.arg("merge-ranges").args(files).arg("-o").arg(out).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn parts_become_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.json", &ranges(Observer::MinMax, &[0.0, 4.0]));
    let b = write(folder.path(), "b.json", &ranges(Observer::MinMax, &[-1.0, 2.0]));
    // The output may be one of the inputs.
    let done = merge(&[&a, &b], &a);
    assert_eq!((text(&done.stdout), text(&done.stderr)), ("1 range over 2 samples from 2 files\n", ""));
    let merged = Ranges::parse(&std::fs::read_to_string(&a).unwrap()).unwrap();
    assert_eq!(merged.find("relu", QuantType::Output, "relu:0"), Some(Range { min: -1.0, max: 4.0 }));
    let piped = merge(&[&a, &b], Path::new("-"));
    assert_eq!(Ranges::parse(text(&piped.stdout)).unwrap().samples, 3);
    assert_eq!(text(&piped.stderr), "1 range over 3 samples from 2 files\n");
}

#[test]
fn a_moving_average_warns_about_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.json", &ranges(Observer::Ema, &[0.0, 4.0]));
    let done = merge(&[&a, &a], &folder.path().join("out.json"));
    assert!(done.status.success());
    assert!(text(&done.stderr).starts_with("warning[R0201]: a moving average depends on the order"));
}

#[test]
fn the_file_that_does_not_fit_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.json", &ranges(Observer::MinMax, &[0.0, 4.0]));
    let b = write(folder.path(), "b.json", &ranges(Observer::Mse, &[0.0, 4.0]));
    let none = folder.path().join("none.json");
    let out = folder.path().join("out.json");
    let failed = merge(&[&a, &a, &b], &out);
    assert_eq!(failed.status.code(), Some(1));
    let told = text(&failed.stderr);
    assert!(
        told.starts_with("error[R0104]: ranges file: the observer is mse, but minmax in the first file\n"),
        "{told}"
    );
    assert!(told.contains(&format!("  --> {}\n", b.display())), "{told}");
    let failed = merge(&[&a, &none], &out);
    assert!(text(&failed.stderr).starts_with("error[R0101]: cannot read the ranges file"));
    assert!(!out.exists());
    assert_eq!(merge(&[], &out).status.code(), Some(2));
}
