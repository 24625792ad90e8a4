//! What `evaluate` says, beside PyTorch in Python and NumPy.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::numpy::as_numpy_says;
use super::wrong::{made, said};
use super::{DIGITS, PROGRAM, TRACED, Torch, stderr, told};

const EVALUATED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/torch/evaluated.py");

impl Torch {
    /// What `tests/torch/evaluated.py` prints.
    pub(super) fn evaluated(&self, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
        let mut command = Command::new(&self.python);
        told(command.arg(EVALUATED).args(arguments.iter().map(AsRef::as_ref)))
    }

    /// The test images of the digits with their labels.
    pub(super) fn test_data(&self) -> PathBuf {
        let path = self.path("test.npz");
        self.evaluated(&[&"data", &path]);
        path
    }

    /// An archive of the script's.
    pub(super) fn archive(&self, kind: &str) -> PathBuf {
        let path = self.path(&format!("{kind}.pt"));
        self.evaluated(&[&"make", &kind, &path]);
        path
    }

    fn evaluate(&self, model: &Path, data: &Path) -> Command {
        let mut command = self.command(["evaluate".as_ref(), model.as_ref(), "--data".as_ref()]);
        command.arg(data);
        command
    }

    /// A model with its weights at three bits.
    fn coarse(&self, model: &Path, emit: &str) -> PathBuf {
        let (config, out) = (self.path("coarse.json5"), self.path("coarse.pt"));
        std::fs::write(&config, "[{op_types: 'default', quant_types: ['weight'], quant_bits: 3}]").unwrap();
        let mut command = self.command(["compress".as_ref(), model.as_ref()]);
        command.args(["-q", "-Q", "naive", "--emit", emit, "-c"]).arg(config).arg("-o").arg(&out);
        told(&mut command);
        out
    }
}

#[test]
fn outputs_are_pytorchs_and_numbers_numpys() {
    let Some(torch) = Torch::find() else { return };
    let (data, saved, frozen) = (torch.test_data(), torch.path("saved.npz"), torch.path("frozen.pt"));
    torch.script(&["freeze".as_ref(), DIGITS.as_ref(), frozen.as_ref()]);
    for (reference, emit) in [(Path::new(DIGITS), "baked"), (Path::new(TRACED), "packed"), (&frozen, "packed")] {
        let model = torch.coarse(reference, emit);
        let mut command = torch.evaluate(&model, &data);
        command.args(["--labels", "label", "--top-k", "3", "--json", "--save"]).arg(&saved);
        let found: Value = serde_json::from_str(&told(command.arg("--against").arg(reference))).unwrap();
        let numpy = torch.evaluated(&[&"compare", &model, &reference, &data, &"3", &saved]);
        let numpy: Value = serde_json::from_str(&numpy).unwrap();
        assert_eq!((&found["samples"], &found["outputs"][0]["name"]), (&697.into(), &"output".into()));
        let output = &found["outputs"][0];
        as_numpy_says(output, &numpy, 6970.0);
        let number = |name: &str| numpy[name].as_f64().unwrap();
        assert!(number("top_1") < number("top_k") && number("model") > 0.5, "{numpy}");
    }
}

#[test]
fn an_archive_beside_itself_is_exact() {
    let Some(torch) = Torch::find() else { return };
    let data = torch.test_data();
    let told = told(torch.evaluate(Path::new(DIGITS), &data).args(["--against", DIGITS, "--labels", "label"]));
    assert!(told.starts_with("697 samples\n"), "{told}");
    assert!(told.contains("exact") && told.contains("100.00 % (k 5)"), "{told}");
}

#[test]
fn every_tensor_of_the_output_has_a_name() {
    let Some(torch) = Torch::find() else { return };
    let (data, nested, saved) = (torch.test_data(), torch.archive("nested"), torch.path("saved.npz"));
    let mut command = torch.evaluate(&nested, &data);
    command.args(["--json", "--labels", "label", "--against"]).arg(&nested).arg("--save").arg(&saved);
    let found: Value = serde_json::from_str(&told(&mut command)).unwrap();
    let outputs = found["outputs"].as_array().unwrap();
    let names: Vec<&str> = outputs.iter().map(|output| output["name"].as_str().unwrap()).collect();
    let expected =
        ["0.boxes", "0.scores", "1.a.0", "1.a.1", "1.b.0", "2", "4", "5"].map(|name| format!("output.{name}"));
    assert_eq!(names, expected);
    let scores = outputs.iter().filter(|output| !output["accuracy"].is_null());
    let scores: Vec<&str> = scores.map(|output| output["name"].as_str().unwrap()).collect();
    assert_eq!(scores, ["output.0.scores", "output.5"]);
    let mut numpy = Command::new(&torch.python);
    numpy.args(["-c", "import sys, numpy as np; f = np.load(sys.argv[1]); print({k: f[k].shape for k in sorted(f)})"]);
    let shapes = told(numpy.arg(saved));
    assert!(shapes.contains("'output.1.a.0': (697, 1, 8, 8)") && shapes.contains("'output.2': (22,)"), "{shapes}");
}

#[test]
fn what_does_not_fit_is_named() {
    let Some(torch) = Torch::find() else { return };
    let (data, digits) = (torch.test_data(), PathBuf::from(DIGITS));
    let bare = torch.data("bare.npz", 0, 40);
    let refused = |model: &Path, data: &Path, options: &[&std::ffi::OsStr], expected: &str| {
        let said = said(torch.evaluate(model, data).args(options));
        assert!(said.starts_with(&format!("error[{expected}")), "{expected}: {said}");
    };
    let labels = |name: &'static str| ["--labels".as_ref(), std::ffi::OsStr::new(name)];
    refused(
        &digits,
        &data,
        &labels("lable"),
        "T0804]: data: there is no array `lable` with labels; there are `image`, `label`",
    );
    refused(
        &digits,
        &bare,
        &labels("image"),
        "T0804]: data: there is no array for the argument `image` of `forward`; there are none",
    );
    refused(
        &digits,
        &data,
        &labels("image"),
        "T0804]: data: the labels `image` are called like an argument of `forward`",
    );
    let wrong =
        |name: &str, label: &str| made(&torch, name, &format!("np.savez(sys.argv[2], image=image, label={label})"));
    let cases = [
        ("np.full(100, 10)", "T0804]: data: the label of sample 0 is 10, expected a class from 0 to 9"),
        ("np.where(np.arange(100) == 70, -1, 0)", "T0804]: data: the label of sample 70 is -1, expected a class"),
        ("np.full(100, 0.5)", "T0804]: data: the labels `label` hold a number that is not whole"),
        ("np.zeros((100, 10), int)", "T0804]: data: the labels `label` have shape [32, 10], expected one per sample"),
        ("np.zeros(99, int)", "T0804]: data: the arrays have different numbers of samples: `image` 100, `label` 99"),
    ];
    for (number, (label, expected)) in cases.into_iter().enumerate() {
        refused(&digits, &wrong(&format!("{number}.npz"), label), &labels("label"), expected);
    }
    let nan = made(&torch, "nan.npz", "image[70, 0, 2, 3] = np.nan\nnp.savez(sys.argv[2], image=image)");
    refused(&digits, &nan, &[], "T0804]: data: `image` has nan at [70, 0, 2, 3]");
    let bright = made(&torch, "bright.npz", "image[70, 0, 2, 3] = 3\nnp.savez(sys.argv[2], image=image)");
    refused(
        &torch.archive("dark"),
        &bright,
        &[],
        "T0804]: data: the model gives NaN in `output` for sample 70, whose data",
    );
    let flat = made(&torch, "flat.npz", "np.savez(sys.argv[2], image=image[:, :, :, 0])");
    refused(
        &digits,
        &flat,
        &[],
        "T0803]: PyTorch cannot run the archive on samples 0 to 31 (`image` float32[32, 1, 8]): ",
    );

    let beside = |kind: &str| [std::ffi::OsString::from("--against"), torch.archive(kind).into()];
    let against = |model: &Path, kind: &str, expected: &str| {
        let options = beside(kind);
        refused(model, &data, &[&options[0], &options[1]], expected);
    };
    against(&digits, "other", "T0805]: `output` has shape [32, 10], the reference's [32, 64]");
    against(&digits, "two", "T0805]: the archives have different inputs: `image` and `image`, `mask`");
    against(
        &digits,
        "nested",
        "T0805]: the reference gives no `output`, which the archive gives; it gives `output.0.boxes`",
    );
    against(&digits, "raising", "T0803]: PyTorch cannot run the reference on samples 0 to 31");
    refused(
        &torch.archive("raising"),
        &data,
        &[],
        "T0803]: PyTorch cannot run the archive on samples 0 to 31 (`image` float32[32, 1, 8, 8]): RuntimeError: AssertionError: no light",
    );
    refused(
        &torch.archive("text"),
        &data,
        &[],
        "T0805]: `output.1.0` of the archive is of type `str`, which cannot be compared",
    );
    refused(&torch.archive("complex"), &data, &[], "T0805]: `output` of the archive has complex numbers");
    refused(&torch.archive("image"), &data, &labels("label"), "T0805]: no output of the model has one score per class");
}

#[test]
fn what_is_no_archive_is_named_before_python_is_asked() {
    let Some(torch) = Torch::find() else { return };
    let data = torch.test_data();
    let refused = said(&mut torch.evaluate(&data, &data));
    assert!(refused.starts_with("error[T01"), "{refused}");
    let refused = said(torch.evaluate(Path::new(DIGITS), &data).arg("--against").arg(&data));
    assert!(refused.starts_with("error[T01"), "{refused}");
    let mut command = Command::new(PROGRAM);
    command.args(["evaluate", DIGITS, "--python", "/no/python", "--data"]).arg(&data);
    let refused = said(&mut command);
    assert!(refused.starts_with("error[T0801]: no Python with PyTorch was found"), "{refused}");
}

#[test]
fn a_run_that_is_ended_leaves_nothing() {
    let Some(torch) = Torch::find() else { return };
    let (data, saved, talking) = (torch.test_data(), torch.path("saved.npz"), torch.archive("talking"));
    let mut command = torch.evaluate(&talking, &data);
    command.args(["--batch", "1", "-v", "--save"]).arg(&saved).stderr(Stdio::piped()).stdout(Stdio::null());
    let before = std::fs::read_dir(torch.folder.path()).unwrap().count();
    let mut running = command.spawn().unwrap();
    let mut heard = BufReader::new(running.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("running") {
        line.clear();
        assert!(heard.read_line(&mut line).unwrap() > 0, "the archive never ran");
    }
    let ended = Command::new("kill").arg("-TERM").arg(running.id().to_string()).status().unwrap();
    assert!(ended.success() && !running.wait().unwrap().success());
    // Python holds the other end until it ends, too.
    heard.read_to_end(&mut Vec::new()).unwrap();
    assert!(!saved.exists());
    assert_eq!(std::fs::read_dir(torch.folder.path()).unwrap().count(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let Some(torch) = Torch::find() else { return };
    let data = torch.test_data();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = torch.evaluate(Path::new(DIGITS), &data).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error["), "{}", stderr(&output));
}
