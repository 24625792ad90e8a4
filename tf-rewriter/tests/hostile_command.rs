//! The program itself on bad input: one error with its code and place, the right exit code, and never half an output.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tf-rewriter");
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits.pb");

/// A folder with files in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        model_file::atomic::write(&path, content.as_ref()).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn compress(model: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("compress").arg(model).arg("-o").arg(out).args(["--quantizer", "naive"]).args(more);
    command
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The run failed with this exit code and exactly these errors, in this order.
#[track_caller]
fn check(output: &Output, exit: i32, errors: &[&str]) {
    let stderr = stderr(output);
    assert_eq!(output.status.code(), Some(exit), "{stderr}");
    let told: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(told, errors, "{stderr}");
}

#[track_caller]
fn check_location(output: &Output, location: &str) {
    let stderr = stderr(output);
    assert!(stderr.contains(&format!("\n  --> {location}")), "{stderr}");
}

fn graph(text: &str) -> Vec<u8> {
    tf_rewriter::text::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn weight(tensor: &str) -> Vec<u8> {
    graph(&format!(
        "node {{ name: 'x' op: 'Placeholder' }}
        node {{ name: 'w' op: 'Const' attr {{ key: 'dtype' value {{ type: DT_FLOAT }} }} attr {{ key: 'value' value {{ tensor {{ {tensor} }} }} }} }}
        node {{ name: 'y' op: 'MatMul' input: 'x' input: 'w' attr {{ key: 'T' value {{ type: DT_FLOAT }} }} }}"
    ))
}

#[test]
fn bad_models() {
    let shape = "dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } }";
    let no_graph =
        |found: &str| format!("error[E0102]: this is {found}, expected a TensorFlow GraphDef (binary or text)");
    let cases: &[(&str, &[u8], &str, &str)] = &[
        ("empty.pb", b"", &no_graph("an empty file"), ""),
        ("noise.pb", &[0xab; 4096], &no_graph("a file of no known format"), ""),
        ("prose.pbtxt", b"Dear reader,\n", &no_graph("text of another kind"), ""),
        ("archive.pb", b"PK\x03\x04", &no_graph("a zip archive of another kind"), ""),
        (
            "fingerprint.pb",
            b"\x08\x07\x10\x05\x18\x03\x20\x02\x28\x01",
            &no_graph("the fingerprint.pb of a SavedModel"),
            "",
        ),
        (
            "half.pb",
            b"\x0a\x09\x0a\x01a\x12\x04NoOp\x0a\x09\x0a\x01b\x12",
            "error[E0201]: GraphDef: found a length of 9, expected at most the 4 bytes that are left",
            ", offset 0xc",
        ),
        (
            "missing.pb",
            &graph("node { name: 'a' op: 'NoOp' } node { name: 'b' op: 'AddN' input: 'a' input: 'c' }"),
            "error[E0203]: node `b` reads `c`, which is not in the graph",
            ", node `b` (number 1), offset 0xb",
        ),
        (
            "twice.pb",
            &graph("node { name: 'a' op: 'NoOp' } node { name: 'a' op: 'NoOp' }"),
            "error[E0202]: two nodes are called `a` (numbers 0 and 1), expected unique names",
            ", node `a` (number 1), offset 0xb",
        ),
        (
            "cycle.pb",
            &graph("node { name: 'a' op: 'AddN' input: 'b' } node { name: 'b' op: 'AddN' input: 'a' }"),
            "error[E0204]: node `a` depends on itself: a → b → a",
            ", node `a` (number 0), offset 0x0",
        ),
        (
            "contradiction.pb",
            &weight(&format!("{shape} tensor_content: '1234567'")),
            "error[E0301]: tensor of `w`: found 7 bytes of tensor_content, expected 8 for DT_FLOAT of shape [1, 2]",
            ", node `w`, offset 0x46",
        ),
        (
            "nan.pb",
            &weight(&format!("{shape} float_val: [1, nan]")),
            "error[M0101]: tensor `w`: element 1 is NaN, expected a finite number",
            "",
        ),
        (
            "text.pbtxt",
            b"node {\n  name: 'a'\n  opp: 'NoOp'\n}\n",
            "error[E0401]: line 3, column 3: found `opp`, expected a field of NodeDef: `name`, `op`, `input`, `device`, \
             `attr`, `experimental_debug_info`, `experimental_type`",
            "",
        ),
    ];
    for (name, content, error, location) in cases {
        let folder = Folder::new();
        let model = folder.file(name, content);
        let output = compress(&model, &folder.path("out.pb"), &[]).output().unwrap();
        check(&output, 1, &[error]);
        check_location(&output, &format!("{}{location}", model.display()));
        assert_eq!(folder.names(), [*name]);
    }
}

#[test]
fn a_saved_model_without_what_it_computes_is_told_what_to_do() {
    let folder = Folder::new();
    let out = folder.path("out.pb");
    let told = |line: &str, help: &str| {
        let output = compress(folder.0.path(), &out, &[]).output().unwrap();
        check(&output, 1, &[line]);
        check_location(&output, &folder.0.path().display().to_string());
        assert!(stderr(&output).contains(help), "{}", stderr(&output));
    };
    told(
        "error[E0102]: this is a folder, expected a TensorFlow GraphDef (binary or text)",
        "give a SavedModel's folder",
    );
    folder.file("saved_model.cpb", b"");
    told(
        "error[E0901]: this is a SavedModel in chunks (saved_model.cpb), which no loader of TensorFlow 2.21 reads either",
        "save the model again without chunks",
    );
    // SavedModel { schema version 1, meta_graphs { graph_def {} } }
    folder.file("saved_model.pb", b"\x08\x01\x12\x02\x12\x00");
    told("error[E0903]: the model has no signature that says what it computes", "`--outputs`");
    // Two meta graphs, for `a` and for `b`.
    folder.file("saved_model.pb", b"\x08\x01\x12\x05\x0a\x03\x22\x01a\x12\x05\x0a\x03\x22\x01b");
    told(
        "error[E0902]: the model holds 2 meta graphs, and none is the one to serve",
        "choose one with `--tags`: `a` or `b`",
    );
    assert!(!out.exists());
}

#[test]
fn a_file_that_is_not_there() {
    let folder = Folder::new();
    let output = compress(&folder.path("none.pb"), &folder.path("out.pb"), &[]).output().unwrap();
    check(&output, 1, &["error[E0101]: cannot open the model"]);
    check_location(&output, &folder.path("none.pb").display().to_string());
    assert!(stderr(&output).contains("\n  caused by: No such file or directory"), "{}", stderr(&output));
}

#[test]
fn two_gibibytes_are_refused_before_any_work() {
    let folder = Folder::new();
    let model = folder.file("large.pb", b"\x0a\x0b\x0a\x01a\x12\x04NoOp");
    fs::OpenOptions::new().write(true).open(&model).unwrap().set_len(1 << 31).unwrap();
    let output = compress(&model, &folder.path("out.pb"), &[]).output().unwrap();
    check(&output, 1, &["error[E0103]: the graph is 2147483648 bytes long, expected at most 2147483647"]);
    assert_eq!(folder.names(), ["large.pb"]);
}

#[test]
fn bad_configs() {
    let entry = |text: &str| format!("[{{ {text} }}]");
    let sound = "quant_types: ['weight'], op_types: ['default']";
    let cases: &[(&str, &[&str])] = &[
        (
            &entry(&format!("{sound}, quant_bit: 8")),
            &["error[C0102]: config_list[0].quant_bit: unknown key; did you mean `quant_bits`?"],
        ),
        (
            &entry(&format!("{sound}, quant_bits: '8'")),
            &["error[C0103]: config_list[0].quant_bits: found \"8\", expected an integer, or a map per quant_type"],
        ),
        (
            &entry(&format!("{sound}, quant_bits: 1")),
            &["error[C0104]: config_list[0].quant_bits: 1 is out of range, expected 2 to 16"],
        ),
        (
            &entry(&format!("{sound}, quant_bits: {{weight: 17}}")),
            &["error[C0104]: config_list[0].quant_bits.weight: 17 is out of range, expected 2 to 16"],
        ),
        (
            &entry(&format!("{sound}, quant_bits: 8, q_bits: 8")),
            &["error[C0106]: config_list[0].q_bits: `quant_bits` is given too, and both mean the same"],
        ),
        (
            &entry("op_types: ['default'], quant_bits: 8"),
            &["error[C0105]: config_list[0]: `quant_types` is missing, and qat has no default for it"],
        ),
        ("[{", &["error[C0101]: line 1, column 2: `{` is never closed"]),
    ];
    for (config, errors) in cases {
        let folder = Folder::new();
        let config = folder.file("config.json", config);
        // The model is not even opened.
        let output = Command::new(PROGRAM)
            .args(["compress", "no-such-model.pb", "-Q", "qat", "-o"])
            .arg(folder.path("out.pb"))
            .arg("-c")
            .arg(&config)
            .output()
            .unwrap();
        check(&output, 2, errors);
        check_location(&output, &config.display().to_string());
        assert_eq!(folder.names(), ["config.json"]);
    }
}

#[test]
fn a_config_that_matches_nothing_is_a_warning_and_with_strict_an_error() {
    let cases = [
        (
            "[{ quant_types: ['weight'], quant_bits: 8, op_types: ['Conv2dd'] }]",
            "config_list[0].op_types: `Conv2dd` matches no op in this model; did you mean `Conv2D` (3 ops)?",
        ),
        (
            "[{ quant_types: ['weight'], quant_bits: 8, op_names: ['block_*'] }]",
            "config_list[0].op_names: `block_*` matches no op in this model",
        ),
    ];
    for (config, text) in cases {
        let folder = Folder::new();
        let config = folder.file("config.json", config);
        let out = folder.path("out.pb");
        let config = config.to_str().unwrap();
        let output = compress(Path::new(DIGITS), &out, &["--config", config, "--strict"]).output().unwrap();
        let none = "error[C0110]: config_list: no entry matches an op of this model";
        check(&output, 2, &[&format!("error[C0107]: {text}"), none]);
        assert_eq!(folder.names(), ["config.json"]);
        // No entry at all matches: an error, unless it is allowed.
        let output = compress(Path::new(DIGITS), &out, &["--config", config]).output().unwrap();
        check(&output, 2, &[none]);
        assert!(stderr(&output).starts_with(&format!("warning[C0107]: {text}\n")), "{}", stderr(&output));
        assert!(stderr(&output).contains("--allow-unmatched"), "{}", stderr(&output));
        assert_eq!(folder.names(), ["config.json"]);
        let output = compress(Path::new(DIGITS), &out, &["--config", config, "--allow-unmatched"]).output().unwrap();
        check(&output, 0, &[]);
        assert!(stderr(&output).starts_with(&format!("warning[C0107]: {text}\n")), "{}", stderr(&output));
        assert_eq!(fs::read(&out).unwrap(), fs::read(DIGITS).unwrap());
    }
}

/// Each sort of trouble once, with the way out, on standard error and in the report.
#[test]
fn weights_that_lose_much_are_told() {
    let rows: Vec<String> = (0..12).map(|i| if i % 4 == 0 { "100".to_owned() } else { format!("0.0{i}1") }).collect();
    let w = weight(&format!(
        "dtype: DT_FLOAT tensor_shape {{ dim {{ size: 3 }} dim {{ size: 4 }} }} float_val: [{}]",
        rows.join(", ")
    ));
    let folder = Folder::new();
    let (model, out) = (folder.file("model.pb", w), folder.path("out.pb"));
    let told = |model: &Path, options: &[&str]| {
        let options = [&["--json"], options].concat();
        let output = compress(model, &out, &options).output().unwrap();
        check(&output, 0, &[]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let empty = Vec::new();
        let warnings = report["warnings"].as_array().unwrap_or(&empty);
        let codes: Vec<String> = warnings.iter().map(|w| w["code"].as_str().unwrap().to_owned()).collect();
        let lines: Vec<serde_json::Value> =
            stderr(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(codes, lines.iter().map(|line| line["code"].as_str().unwrap()).collect::<Vec<_>>());
        codes
    };
    assert_eq!(told(&model, &[]), [""; 0], "a scale per channel");
    assert_eq!(told(&model, &["--preset", "nni"]), ["channels-differ"]);
    let config = folder.file("config.json", "[{op_types: 'default', quant_bits: 2}]");
    assert_eq!(told(Path::new(DIGITS), &["--config", config.to_str().unwrap()]), ["low-sqnr"]);
}

#[test]
fn an_output_that_cannot_be_created() {
    let folder = Folder::new();
    let nowhere = folder.path("none");
    let output = compress(Path::new(DIGITS), &nowhere.join("out.pb"), &[]).output().unwrap();
    check(&output, 1, &[&format!("error[O0101]: cannot create a file in `{}`", nowhere.display())]);
    check_location(&output, &nowhere.join("out.pb").display().to_string());

    let output = compress(Path::new(DIGITS), folder.0.path(), &[]).output().unwrap();
    check(
        &output,
        1,
        &[&format!("error[O0102]: `{}` is a folder, expected a file or nothing", folder.0.path().display())],
    );
}

#[test]
fn a_folder_without_write_permission() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let locked = folder.path("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    // To the administrator permissions mean nothing; /sys is closed to everybody.
    let target = if fs::OpenOptions::new().append(true).create(true).open(locked.join("probe")).is_ok() {
        PathBuf::from("/sys")
    } else {
        locked
    };
    let output = compress(Path::new(DIGITS), &target.join("out.pb"), &[]).output().unwrap();
    check(&output, 1, &[&format!("error[O0101]: cannot create a file in `{}`", target.display())]);
    assert!(stderr(&output).contains("its folder must be writable"), "{}", stderr(&output));
}

#[test]
fn no_space_left() {
    let folder = Folder::new();
    let out = folder.file("out.pb", "old");
    // A limit on the size of files stands for a full disk: the write fails in the middle. The unit is 512 bytes.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$0\" compress \"$1\" -o \"$2\" -Q naive", PROGRAM, DIGITS])
        .arg(&out);
    let output = shell.output().unwrap();
    check(&output, 1, &[&format!("error[O0104]: cannot write `{}`", out.display())]);
    assert!(stderr(&output).contains("\n  help: free some space"), "{}", stderr(&output));
    assert_eq!(folder.names(), ["out.pb"]);
    assert_eq!(fs::read(&out).unwrap(), b"old");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_behind_standard_output() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = compress(Path::new(DIGITS), Path::new("-"), &[]).stdout(full).output().unwrap();
    check(&output, 1, &["error[E0101]: cannot write the graph"]);
    assert!(stderr(&output).contains("\n  caused by: No space left on device"), "{}", stderr(&output));
}

/// A graph with one weight of `bytes` bytes, all of them 1.0.
fn large_model(folder: &Folder, bytes: usize) -> PathBuf {
    let content = 1.0_f32.to_le_bytes().repeat(bytes / 4);
    let tensor = tf_rewriter::tensor::encode_tensor(
        tf_rewriter::pb::DataType::DT_FLOAT,
        &[1, content.len() as u64 / 4],
        &content,
    );
    let field = |number: u32, body: &[u8]| {
        let mut field = Vec::new();
        tf_rewriter::wire::put_bytes(&mut field, number, body);
        field
    };
    let attr = field(5, &[field(1, b"value"), field(2, &field(8, &tensor))].concat());
    let weight = field(1, &[field(1, b"w"), field(2, b"Const"), attr].concat());
    let rest = graph(
        "node { name: 'x' op: 'Placeholder' } node { name: 'y' op: 'MatMul' input: 'x' input: 'w' attr { key: 'T' value { type: DT_FLOAT } } }",
    );
    folder.file("model.pb", [weight, rest].concat())
}

/// Start a run over an old output, and send it `signal` while it writes; how it ended, and the folder. `setting` is what a shell does
/// before it becomes the run. A run that is over before the signal is repeated with a larger model.
fn ended_in_the_middle(signal: &str, setting: &str) -> (ExitStatus, Folder) {
    for mebibytes in [32, 128, 512] {
        let folder = Folder::new();
        let model = large_model(&folder, mebibytes << 20);
        let out = folder.file("out.pb", "old");
        // Whoever runs the tests may ignore signals (`nohup`, a job in the background), which a shell cannot take back.
        let mut shell = Command::new("env");
        shell
            .args(["--default-signal=INT,TERM,HUP", "sh"])
            .args(["-c", &format!("{setting} exec \"$@\""), "sh", PROGRAM, "compress"])
            .arg(&model)
            .arg("-o")
            .arg(&out);
        shell.args(["-Q", "naive"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = shell.spawn().unwrap();
        let begun = || {
            let entries = fs::read_dir(folder.0.path()).unwrap().flatten();
            entries
                .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".out.pb."))
                .any(|temp| temp.metadata().is_ok_and(|found| found.len() > 0))
        };
        while !begun() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        let status = child.wait().unwrap();
        if sent.success() && fs::read(&out).unwrap() == b"old" || setting.contains("trap") {
            return (status, folder);
        }
    }
    panic!("no run could be ended before it was done");
}

#[test]
fn killed_in_the_middle_the_old_output_is_intact_and_the_next_run_clears_up() {
    let (status, folder) = ended_in_the_middle("KILL", "");
    assert_eq!(status.signal(), Some(9), "{status}");
    assert_eq!(folder.names().len(), 3, "{:?}", folder.names());
    let output = compress(&folder.path("model.pb"), &folder.path("out.pb"), &[]).output().unwrap();
    check(&output, 0, &[]);
    assert_eq!(folder.names(), ["model.pb", "out.pb"]);
    assert!(fs::metadata(folder.path("out.pb")).unwrap().len() >= 32 << 20);
}

#[test]
fn a_signal_in_the_middle_leaves_nothing() {
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let (status, folder) = ended_in_the_middle(name, "");
        assert_eq!(status.signal(), Some(number), "{name}: {status}");
        assert_eq!(folder.names(), ["model.pb", "out.pb"], "{name}");
    }
}

#[test]
fn a_signal_that_was_ignored_before_stays_ignored() {
    let (status, folder) = ended_in_the_middle("HUP", "trap '' HUP;");
    assert!(status.success(), "{status}");
    assert_eq!(folder.names(), ["model.pb", "out.pb"]);
}

#[test]
fn the_output_may_be_the_input() {
    let folder = Folder::new();
    let model = folder.file("model.pb", fs::read(DIGITS).unwrap());
    let elsewhere = folder.path("elsewhere.pb");
    check(&compress(&model, &elsewhere, &[]).output().unwrap(), 0, &[]);
    check(&compress(&model, &model, &[]).output().unwrap(), 0, &[]);
    assert_eq!(fs::read(&model).unwrap(), fs::read(&elsewhere).unwrap());
}

#[test]
fn no_file_takes_the_place_of_another() {
    let folder = Folder::new();
    let bytes = fs::read(DIGITS).unwrap();
    let model = folder.file("model.pb", &bytes);
    let config = folder.file("config.json", "[{op_types: 'default', quant_types: ['weight'], q_bits: 8}]");
    std::os::unix::fs::symlink(&model, folder.path("link")).unwrap();
    fs::hard_link(&model, folder.path("hard")).unwrap();
    let names = folder.names();
    let one =
        |what: &str, other: &str| format!("error[U0106]: {what} would take the place of {other}: they are one file");
    let new = folder.path("new.pb");
    for report in ["model.pb", "link", "hard"] {
        let output = compress(&model, &new, &["--report", folder.path(report).to_str().unwrap()]).output().unwrap();
        check(&output, 2, &[&one("the report", "the model")]);
    }
    let output = compress(&model, &new, &["--report", new.to_str().unwrap()]).output().unwrap();
    check(&output, 2, &[&one("the report", "the output")]);
    let output = compress(&model, &config, &["--config", config.to_str().unwrap()]).output().unwrap();
    check(&output, 2, &[&one("the output", "the config")]);
    // A report that cannot be made is told before there is an output.
    let output = compress(&model, &new, &["--report", "/no/such/folder/r.html"]).output().unwrap();
    check(&output, 1, &["error[O0101]: cannot create a file in `/no/such/folder`"]);

    let run = |arguments: &[&str]| {
        let arguments = arguments.iter().map(|argument| argument.replace('@', folder.0.path().to_str().unwrap()));
        Command::new(PROGRAM).args(arguments).output().unwrap()
    };
    folder.file("ckpt.index", "index");
    folder.file("x.npy", "data");
    let before = folder.names();
    let output = run(&["freeze", "@/model.pb", "--checkpoint", "@/ckpt", "-o", "@/ckpt.index"]);
    check(&output, 2, &[&one("the output", "the checkpoint")]);
    if cfg!(feature = "run") {
        let calibrate = ["calibrate", "@/model.pb", "--data", "@/x.npy", "-o"];
        let output = run(&[&calibrate[..], &["@/link"]].concat());
        check(&output, 2, &[&one("the output", "the model")]);
        let output = run(&[&calibrate[..], &["@/x.npy"]].concat());
        check(&output, 2, &[&one("the output", "the data")]);
        let output = run(&["evaluate", "@/model.pb", "--data", "@/x.npy", "--save", "@/x.npy"]);
        check(&output, 2, &[&one("the file of outputs", "the data")]);
        let finetune = ["finetune", "@/model.pb", "--data", "@/x.npy", "--distill", "-c", "@/config.json"];
        let output = run(&[&finetune[..], &["-o", "@/new.pb", "--report", "@/new.pb.training"]].concat());
        check(&output, 2, &[&one("the report", "the state for `--resume`")]);
    }
    assert_eq!(folder.names(), before);
    assert_eq!(before.len(), names.len() + 2);
    assert!(fs::read(&model).unwrap() == bytes);
}

/// `freeze` of a graph without variables or quantizers copies it; a form is nothing that it could have.
#[test]
fn a_float_graph_is_frozen_as_it_is() {
    let folder = Folder::new();
    let run = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("freeze").arg(DIGITS).arg("-o").arg(folder.path("out.pb")).args(more);
        command.output().unwrap()
    };
    let output = run(&["--emit", "baked"]);
    let told = "error[E0507]: the model has no quantizers to freeze, and comes out in float whatever `--emit` says, expected a graph that `--emit training` made";
    check(&output, 1, &[told]);
    assert!(stderr(&output).contains(&format!("--> {DIGITS}\n")));
    assert!(folder.names().is_empty());
    let output = run(&[]);
    check(&output, 0, &[]);
    assert!(fs::read(DIGITS).unwrap() == fs::read(folder.path("out.pb")).unwrap());
}

#[test]
fn hostile_files_under_a_memory_cap() {
    let huge = "dtype: DT_FLOAT tensor_shape { dim { size: 1024 } dim { size: 1099511627776 } } float_val: 3";
    let deep = "node { attr { value { ".to_owned() + &"func { attr { value { ".repeat(1_000_000);
    let long = [&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x07][..], &[0x0a; 64]].concat();
    let cases: &[(&[u8], &str, i32)] = &[
        (&weight(huge), "", 0),
        (deep.as_bytes(), "error[E0401]", 1),
        (&long, "error[E0201]", 1),
        (&b"\x0b".repeat(1 << 20), "error[E0102]", 1),
        (&[b"\x0a\x00".repeat(1 << 20), vec![0x0b]].concat(), "error[E0201]", 1),
    ];
    for (content, error, exit) in cases {
        let folder = Folder::new();
        let model = folder.file("model.pb", content);
        for emit in ["baked", "packed", "inference"] {
            // Kibibytes of address space: the program, its threads' stacks, the mapped file, and little more.
            let mut shell = Command::new("sh");
            shell.args([
                "-c",
                "ulimit -v 400000; exec \"$0\" compress \"$1\" -o \"$2\" -j 2 -Q qat -c \"$3\" --emit \"$4\"",
                PROGRAM,
            ]);
            let config = folder.file(
                "config.json",
                "[{quant_types: ['weight'], quant_bits: 8, op_types: ['default'], per_channel: true}]",
            );
            let output = shell.arg(&model).arg(folder.path("out.pb")).arg(config).arg(emit).output().unwrap();
            assert_eq!(output.status.code(), Some(*exit), "{}", stderr(&output));
            assert!(stderr(&output).starts_with(error), "{}", stderr(&output));
        }
    }
}

#[test]
fn a_file_that_changes_its_kind_is_read_as_what_it_is() {
    // The name says text, the content is binary, and the other way round.
    let folder = Folder::new();
    let binary = folder.file("model.pbtxt", fs::read(DIGITS).unwrap());
    check(&compress(&binary, &folder.path("a.pb"), &[]).output().unwrap(), 0, &[]);
    let mut text = Vec::new();
    tf_rewriter::text::write(&fs::read(DIGITS).unwrap(), &mut text).unwrap();
    let text = folder.file("model.pb", text);
    check(&compress(&text, &folder.path("b.pb"), &[]).output().unwrap(), 0, &[]);
    assert_eq!(fs::read(folder.path("a.pb")).unwrap(), fs::read(folder.path("b.pb")).unwrap());
}

#[test]
fn a_pipe_may_be_the_model() {
    let folder = Folder::new();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&fs::read(DIGITS).unwrap()).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "cat | \"$0\" compress /dev/stdin -o \"$1\" -Q naive", PROGRAM])
        .arg(folder.path("out.pb"))
        .stdin(file);
    check(&shell.output().unwrap(), 0, &[]);
    let direct = folder.path("direct.pb");
    check(&compress(Path::new(DIGITS), &direct, &[]).output().unwrap(), 0, &[]);
    assert_eq!(fs::read(folder.path("out.pb")).unwrap(), fs::read(direct).unwrap());
}
