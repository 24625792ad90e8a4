//! An archive that another program shortens or changes while it is mapped, or that a command would put another file in the place of: an
//! error with its code, and nothing is written.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use quant_math::config::ConfigList;
use quant_math::plan::PlanOptions;
use quant_math::{Emit, Quantizer};
use tempfile::TempDir;
use torch_adapter::{Error, Model};

/// It is longer than what a pipe holds.
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits_traced.pt");

struct Case {
    folder: TempDir,
    model: PathBuf,
    out: PathBuf,
}

impl Case {
    /// A model, and an output from before.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [model, out] = ["model.pt", "out.pt"].map(|name| folder.path().join(name));
        quant_cli::atomic::write(&model, &fs::read(DIGITS).unwrap()).unwrap();
        quant_cli::atomic::write(&out, b"old").unwrap();
        Self { folder, model, out }
    }

    fn file(&self) -> File {
        OpenOptions::new().write(true).open(&self.model).unwrap()
    }

    /// `result` says that the model changed, and the output is as it was.
    #[track_caller]
    fn check<T>(&self, result: Result<T, Error>) {
        let Err(error) = result else { panic!("no error") };
        assert_eq!((error.code(), error.location()), ("T0003", Some(self.model.display().to_string())), "{error}");
        assert!(error.help().unwrap().contains("rename"));
        self.check_files();
    }

    #[track_caller]
    fn check_files(&self) {
        assert_eq!(fs::read(&self.out).unwrap(), b"old");
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 2, "something was left behind");
    }
}

/// Ways in which a file changes in place.
const CHANGES: [fn(&File); 3] = [
    |file| file.set_len(5).unwrap(),
    |file| file.set_len(1 << 30).unwrap(),
    |mut file| {
        file.seek(SeekFrom::Start(1 << 13)).unwrap();
        file.write_all(&[0; 4096]).unwrap();
        // The clock of file systems may be coarser than this test is quick.
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    },
];

fn config() -> ConfigList {
    ConfigList::default_for(Quantizer::Naive)
}

fn options(emit: Emit) -> PlanOptions<'static> {
    PlanOptions { emit: Some(emit), ..PlanOptions::default() }
}

#[test]
fn an_archive_that_changes_before_a_look_at_it() {
    for change in CHANGES {
        let case = Case::new();
        let model = Model::open(&case.model).unwrap();
        let plan = model.plan(&config(), options(Emit::Baked)).unwrap();
        change(&case.file());
        case.check(model.plan(&config(), options(Emit::Baked)));
        case.check(model.inspect());
        case.check(model.diff(&Model::open(DIGITS).unwrap()));
        case.check(Model::open(DIGITS).unwrap().diff(&model));
        case.check(model.apply(&plan));
    }
}

#[test]
fn an_archive_that_changes_while_it_is_written() {
    for change in CHANGES {
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
            let case = Case::new();
            let model = Model::open(&case.model).unwrap();
            let plan = model.plan(&config(), options(emit)).unwrap();
            let compressed = model.apply(&plan).unwrap();
            let file = case.file();
            case.check(compressed.write_to_with(&case.out, &|_| change(&file)));
        }
    }
}

#[test]
fn an_archive_that_is_replaced_is_held_on_to() {
    let case = Case::new();
    let model = Model::open(&case.model).unwrap();
    let plan = model.plan(&config(), options(Emit::Baked)).unwrap();
    quant_cli::atomic::write(&case.model, b"another one").unwrap();
    model.apply(&plan).unwrap().write_to(&case.out).unwrap();
    Model::open(&case.out).unwrap().archive().check_all().unwrap();
}

#[test]
fn the_program_says_so_and_ends_with_1() {
    let case = Case::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_torch-adapter"))
        .arg("compress")
        .arg(&case.model)
        .args(["-o", "-", "-Q", "naive", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    // It has begun to write, and cannot end before somebody reads.
    out.read_exact(&mut [0]).unwrap();
    case.file().set_len(5).unwrap();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(
        told.starts_with(r#"{"level":"error","code":"T0003","message":"the file changed while it was read: "#),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    case.check_files();
}

#[test]
fn no_file_takes_the_place_of_another() {
    let case = Case::new();
    let run = |report: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_torch-adapter"));
        command.arg("compress").arg(&case.model).arg("-o").arg(&case.out).args(["-Q", "naive", "--report"]).arg(report);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (report, other) in [(&case.model, "the model"), (&case.out, "the output")] {
        let (code, told) = run(report);
        assert_eq!(code, Some(2), "{told}");
        let error = format!("error[U0106]: the report would take the place of {other}: they are one file\n");
        assert!(told.starts_with(&error), "{told}");
    }
    let (code, told) = run("/no/such/folder/r.html".as_ref());
    assert_eq!(code, Some(1), "{told}");
    assert!(told.starts_with("error[O0101]: cannot create a file in `/no/such/folder`\n"), "{told}");
    case.check_files();
}

#[test]
fn a_full_disk_says_so() {
    let case = Case::new();
    // A limit on the size of files stands for a full disk: the write fails in the middle. The unit is 512 bytes.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$0\" compress \"$1\" -o \"$2\" -Q naive"]);
    shell.arg(env!("CARGO_BIN_EXE_torch-adapter")).arg(&case.model).arg(&case.out);
    let output = shell.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with(&format!("error[O0104]: cannot write `{}`\n", case.out.display())), "{told}");
    assert!(told.contains("\n  help: free some space"), "{told}");
    case.check_files();
}
