//! Data, interpreters and states that are wrong.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{DIGITS, PROGRAM, Torch, stderr, told};

/// A .npz that these lines of Python make of `image`.
pub(super) fn made(torch: &Torch, name: &str, lines: &str) -> std::path::PathBuf {
    let (data, path) = (torch.data("from.npz", 0, 100), torch.path(name));
    let script = format!("import sys, numpy as np\nimage = np.load(sys.argv[1])['image'].copy()\n{lines}");
    let output = Command::new(&torch.python).args(["-c", &script]).arg(data).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    path
}

pub(super) fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn data_that_does_not_fit() {
    let Some(torch) = Torch::find() else { return };
    let cases = [
        ("np.savez(sys.argv[2], image=image, picture=image)", ""),
        (
            "np.savez(sys.argv[2], picture=image, label=image)",
            "error[T0804]: data: there is no array for the argument `image` of `forward`; there are `picture`, `label`",
        ),
        ("np.savez(sys.argv[2], image[0:0])", "error[T0804]: data: there are no samples"),
        ("np.savez(sys.argv[2], image=np.float32(1))", "error[T0804]: data: `image` is a single number"),
        (
            "np.savez(sys.argv[2], image=image.astype(complex))",
            "error[T0804]: data: `image` has elements of type `complex128`",
        ),
        (
            "np.savez(sys.argv[2], image=image[:, :, :, 0])",
            "error[T0803]: PyTorch cannot run the archive on samples 0 to 31 (`image` float32[32, 1, 8]): ",
        ),
        ("open(sys.argv[2], 'wb').write(b'text')", "error[T0804]: data: cannot be read"),
    ];
    for (number, (lines, expected)) in cases.into_iter().enumerate() {
        let data = made(&torch, &format!("{number}.npz"), lines);
        let mut command = torch.calibrate(Path::new(DIGITS), &data, "ranges.json");
        if expected.is_empty() {
            told(&mut command);
            fs::remove_file(torch.path("ranges.json")).unwrap();
        } else {
            let said = said(&mut command);
            assert!(said.starts_with(expected), "{said}");
            assert!(!torch.path("ranges.json").exists());
        }
    }
}

#[test]
fn an_interrupted_run_goes_on() {
    let Some(torch) = Torch::find() else { return };
    let broken = made(&torch, "broken.npz", "image[70, 0, 2, 3] = np.nan\nnp.savez(sys.argv[2], image=image)");
    let whole = torch.data("whole.npz", 0, 100);
    for observer in ["minmax", "ema", "percentile"] {
        let config = torch.config(observer);
        let run = |data: &Path, out: &str| {
            let mut command = torch.calibrate(Path::new(DIGITS), data, out);
            command.arg("-c").arg(&config);
            command
        };
        let stopped = said(&mut run(&broken, "ranges.json"));
        assert!(stopped.starts_with("error[T0804]: data: `image` has nan at [70, 0, 2, 3]"), "{stopped}");
        assert!(torch.path("ranges.json.partial").exists() && !torch.path("ranges.json").exists());
        let other = said(run(&whole, "ranges.json").args(["--resume", "--feed", "picture=1"]));
        assert!(other.starts_with("error[T0805]: `forward` has no argument `picture`; it has `image`"), "{other}");
        told(run(&whole, "ranges.json").arg("--resume"));
        told(&mut run(&whole, "at_once.json"));
        let (resumed, at_once) = (torch.ranges("ranges.json"), torch.ranges("at_once.json"));
        assert!(resumed == at_once, "{observer}");
        assert!(!torch.path("ranges.json.partial").exists());
        fs::remove_file(torch.path("ranges.json")).unwrap();
    }
    // The state of another config.
    said(&mut torch.calibrate(Path::new(DIGITS), &broken, "ranges2.json"));
    let mut other = torch.calibrate(Path::new(DIGITS), &whole, "ranges2.json");
    let refused = said(other.arg("--resume").arg("-c").arg(torch.config("ema")));
    assert!(refused.starts_with("error[T0806]: cannot resume: it was made with another model, config"), "{refused}");
}

#[test]
fn no_python_with_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("ranges.json");
    let mut command = Command::new(PROGRAM);
    command.args(["calibrate", DIGITS, "--data", DIGITS, "--python", "/no/python", "-o"]).arg(out);
    let refused = said(&mut command);
    assert!(
        refused.starts_with("error[T0801]: no Python with PyTorch was found; looked at --python (`/no/python`"),
        "{refused}"
    );
    assert!(refused.contains("--emit observe"), "{refused}");
}

#[test]
fn doctor_shows_where_pytorch_is() {
    let Some(torch) = Torch::find() else { return };
    let shown = told(&mut torch.command(["doctor".as_ref()]));
    let expected = format!("QUANT_TORCH_PYTHON: found {}\n", torch.python.display());
    assert!(shown.starts_with(&expected) && shown.contains("\nPyTorch "), "{shown}");
}

#[test]
fn nothing_to_measure() {
    let Some(torch) = Torch::find() else { return };
    let config = torch.path("weights.json5");
    fs::write(&config, "[{op_types: 'default', quant_types: ['weight'], quant_bits: 8}]").unwrap();
    let data = torch.data("data.npz", 0, 10);
    let refused = said(torch.calibrate(Path::new(DIGITS), &data, "ranges.json").arg("-c").arg(&config));
    assert!(refused.starts_with("error[T0805]: the config names no activation"), "{refused}");
    let mut from = torch.command(["calibrate".as_ref(), "--from".as_ref(), DIGITS.as_ref()]);
    let refused = said(from.arg("-o").arg(torch.path("ranges.json")));
    assert!(refused.starts_with("error[T0509]: the archive does not measure"), "{refused}");
}
