//! The binary where the system or the config stands against it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use torch_adapter::archive::{Body, Edits, write};

const PROGRAM: &str = env!("CARGO_BIN_EXE_torch-adapter");
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits_script.pt");

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn no_space_left() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.pt");
    model_file::atomic::write(&out, b"old").unwrap();
    // A limit on the size of files stands for a full disk: the write fails in the middle. The unit is 512 bytes.
    let mut shell = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 32; exec \"$0\" compress \"$1\" -o \"$2\" -Q naive";
    let output = shell.args(["-c", script, PROGRAM, DIGITS]).arg(&out).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("error[O0104]: cannot write `{}`", out.display())), "{said}");
    assert!(said.contains("\n  help: free some space"), "{said}");
    assert_eq!(names(folder.path()), ["out.pt"]);
    assert_eq!(fs::read(&out).unwrap(), b"old");
}

#[test]
fn an_observer_that_training_cannot_follow() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let plan = |observer: &str| {
        let entry = format!("[{{op_types: 'default', quant_types: ['output'], quant_bits: 8{observer}}}]");
        model_file::atomic::write(&config, entry.as_bytes()).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["plan", DIGITS, "-Q", "qat", "--emit", "training", "--json", "-c"]).arg(&config);
        command.output().unwrap()
    };
    let refused = plan(", observer: 'percentile'");
    assert!(!refused.status.success());
    let said = format!("{}{}", String::from_utf8_lossy(&refused.stdout), stderr(&refused));
    assert!(said.contains("\"T0501\"") && said.contains("config_list[0].observer asks for `percentile`"), "{said}");
    for (observer, learnt) in [("", "\"observer\":\"ema\""), (", observer: 'minmax'", "\"observer\":\"minmax\"")] {
        let output = plan(observer);
        let said = String::from_utf8_lossy(&output.stdout).replace([' ', '\n'], "");
        assert!(output.status.success() && said.contains(learnt), "{said}{}", stderr(&output));
    }
}

/// A plan that was written down is the request, and one that was edited is carried out where the model can.
#[test]
fn a_plan_is_an_input_too() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| Command::new(PROGRAM).current_dir(folder.path()).args(args).output().unwrap();
    let write = |text: &[u8]| model_file::atomic::write(&folder.path().join("plan.json"), text).unwrap();
    for request in [&["-Q", "naive", "--emit", "packed"][..], &["-Q", "qat", "--emit", "training"], &["-Q", "dorefa"]] {
        let planned = run(&[&["plan", DIGITS, "--json"], request].concat());
        write(&planned.stdout);
        let direct = run(&[&["compress", DIGITS, "-o", "direct.pt", "--json"], request].concat());
        let from_plan = run(&["compress", DIGITS, "-o", "planned.pt", "--json", "--plan", "plan.json"]);
        assert!(direct.status.success() && from_plan.status.success(), "{}{}", stderr(&direct), stderr(&from_plan));
        assert_eq!(direct.stdout, from_plan.stdout, "{request:?}");
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        assert!(read("direct.pt") == read("planned.pt"), "{request:?}");
    }
    let planned = run(&["plan", DIGITS, "--json", "-Q", "naive"]);
    let text = String::from_utf8(planned.stdout).unwrap();
    let edited = text.replacen("\"bits\": 8", "\"bits\": 2", 1);
    assert!(edited != text, "{text}");
    write(edited.as_bytes());
    let output = run(&["compress", DIGITS, "-o", "edited.pt", "--json", "--plan", "plan.json"]);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("\"bits\": 2"),
        "{}",
        stderr(&output)
    );
    let other = text.replacen("\"tensor\": \"", "\"tensor\": \"none.", 1);
    assert!(other != text, "{text}");
    write(other.as_bytes());
    let refused = run(&["compress", DIGITS, "-o", "none.pt", "--plan", "plan.json"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.starts_with("error[P0104]: sites[0]") && said.contains("help: `plan MODEL --json`"), "{said}");
    assert!(said.contains("--> plan.json"), "{said}");
    assert!(!folder.path().join("none.pt").exists());
}

/// A quantized archive is what its original and the settings come to, or it is told where it is not.
#[test]
fn every_form_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| Command::new(PROGRAM).current_dir(folder.path()).args(args).output().unwrap();
    for request in [&["-Q", "naive"][..], &["-Q", "naive", "--emit", "packed"], &["-Q", "qat", "--emit", "training"]] {
        assert!(run(&[&["compress", DIGITS, "-o", "out.pt"], request].concat()).status.success(), "{request:?}");
        let verified = run(&[&["verify", DIGITS, "out.pt"], request].concat());
        let told = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(
            verified.status.success() && told.contains("byte for byte: "),
            "{request:?}: {told}{}",
            stderr(&verified)
        );
        let other = run(&["verify", DIGITS, "out.pt", "-Q", "dorefa", "--emit", "packed"]);
        assert_eq!(other.status.code(), Some(1), "{request:?}");
        assert!(stderr(&other).contains("error[V0101]: "), "{request:?}: {}", stderr(&other));
    }
}

/// Tuples in tuples, and a source file of blank lines, which is deflated to almost nothing.
#[test]
fn limits_are_lifted_by_the_option_that_their_messages_name() {
    let folder = tempfile::tempdir().unwrap();
    let deep = [b"X\x01\x00\x00\x00nN".as_slice(), &[0x85; 600]].concat();
    let deep = common::net::model(1, &deep, "  n : NoneType\n", &format!("{}    return x\n", common::net::FORWARD));
    let mut edits = Edits::new();
    edits.add("code/__torch__/blank.py", Body::Bytes(vec![b'\n'; 3 << 20].into()));
    let mut blank = Vec::new();
    write(&common::open(common::model("mlp.script.pt")), &edits, &mut blank, &|_| {}).unwrap();
    for (name, bytes, code) in [("deep.pt", deep, "T0207"), ("blank.pt", blank, "T0115")] {
        let path = folder.path().join(name);
        model_file::atomic::write(&path, &bytes).unwrap();
        let inspect = |more: &[&str]| Command::new(PROGRAM).arg("inspect").arg(&path).args(more).output().unwrap();
        let refused = inspect(&[]);
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(code) && said.contains("`--memory-limit 1073741824`"), "{said}");
        let allowed = inspect(&["--memory-limit", "1073741824"]);
        assert!(allowed.status.success(), "{}", stderr(&allowed));
    }
}
