//! `verify`: a quantized model is what its original and the settings come to, or it is told where it is not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../tests/common/program.rs"]
mod program;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tf-rewriter");

fn run(folder: &Path, args: &str) -> Output {
    program::run(PROGRAM, folder, args)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn succeeds(folder: &Path, args: &str) -> String {
    said(&program::succeeds(PROGRAM, folder, args))
}

const RANGES: &str = "-Q qat --config EXAMPLES/configs/nni_qat.py.txt --ranges EXAMPLES/ranges/digits.json";

#[test]
fn every_form_and_container_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    for (model, out, settings) in [
        ("EXAMPLES/models/digits.pb", "baked.pb", "-Q naive"),
        ("EXAMPLES/models/digits.pbtxt", "packed.pbtxt", "-Q naive --emit packed"),
        ("EXAMPLES/models/digits.pb", "inference.pb", RANGES),
        ("EXAMPLES/models/digits.pb", "training.pb", "-Q qat --emit training"),
        ("EXAMPLES/models/digits", "folder", "-Q naive"),
        ("EXAMPLES/models/digits", "packed", "-Q naive --emit packed"),
        ("EXAMPLES/models/digits", "flat.pb", "-Q dorefa --emit packed"),
    ] {
        succeeds(folder.path(), &format!("compress {model} -o {out} {settings}"));
        let told = succeeds(folder.path(), &format!("verify {model} {out} {settings}"));
        assert!(told.contains("byte for byte: "), "{told}");
        // A plan is as good as what it was made from.
        let plan = run(folder.path(), &format!("plan {model} {settings} --json")).stdout;
        model_file::atomic::write(&folder.path().join("plan.json"), &plan).unwrap();
        if out != "folder" && out != "packed" {
            succeeds(folder.path(), &format!("verify {model} {out} --plan plan.json"));
        }
    }
    let told = succeeds(folder.path(), "verify EXAMPLES/models/digits.pb baked.pb -Q naive --json");
    let told: Value = serde_json::from_str(&told).unwrap();
    // Weights of conv1, dw1, pw1, dw2, pw2, dense1 and dense2.
    assert_eq!(told["codes"], 9 * 12 + 9 * 12 + 12 * 16 + 9 * 16 + 16 * 24 + 384 * 32 + 32 * 10);
    assert_eq!((&told["identical"], &told["sites"], &told["emit"]), (&true.into(), &7.into(), &"baked".into()));
}

#[test]
fn what_is_another_model_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let model = "EXAMPLES/models/digits.pb";
    succeeds(folder.path(), &format!("compress {model} -o 8.pb -Q naive"));
    let write = |name: &str, bytes: &[u8]| model_file::atomic::write(&folder.path().join(name), bytes).unwrap();
    // One byte in the middle, where the weight of `dense1` lies: four fifths of the file.
    let good = fs::read(folder.path().join("8.pb")).unwrap();
    let at = good.len() / 2;
    let mut bad = good.clone();
    bad[at] ^= 1;
    write("bad.pb", &bad);
    let fails = |args: &str, code: &str| {
        let output = run(folder.path(), args);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("error[{code}]")), "{told}");
        told
    };
    let told = fails(&format!("verify {model} bad.pb -Q naive"), "V0101");
    assert!(told.contains(&format!("it differs at byte {at:#x}")), "{told}");
    assert!(told.contains("1 of 12288") && told.contains("1 tensor with other values"), "{told}");
    // Other settings.
    let four = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 4}]";
    write("four.json", four.as_bytes());
    let told = fails(&format!("verify {model} 8.pb -Q naive -c four.json"), "V0101");
    assert!(told.contains("7 tensors with other values"), "{told}");
    fails(&format!("verify {model} {model} -Q naive"), "V0101");
    // Damaged, and absent.
    write("cut.pb", &good[..good.len() / 2]);
    let cut = run(folder.path(), &format!("verify {model} cut.pb -Q naive"));
    assert!(!cut.status.success() && said(&cut).contains("cut.pb"), "{}", said(&cut));
    fails(&format!("verify {model} none.pb -Q naive"), "V0102");

    let saved_model = "EXAMPLES/models/digits";
    succeeds(folder.path(), &format!("compress {saved_model} -o saved -Q naive"));
    write("saved/labels.txt", b"an extra file is nobody's business");
    succeeds(folder.path(), &format!("verify {saved_model} saved -Q naive"));
    let data = folder.path().join("saved/variables/variables.data-00000-of-00001");
    let mut bytes = fs::read(&data).unwrap();
    bytes[0] ^= 1;
    model_file::atomic::write(&data, &bytes).unwrap();
    let output = run(folder.path(), &format!("verify {saved_model} saved -Q naive"));
    assert!(!output.status.success() && said(&output).contains("variables.data"), "{}", said(&output));
}
