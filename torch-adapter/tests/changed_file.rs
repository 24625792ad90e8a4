//! An archive that another program shortens or changes while it is mapped, or that a command would put another file in the place of: an
//! error with its code, and nothing is written.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../tests/common/changed.rs"]
mod changed;

use std::fs;
use std::process::Command;

use quant_math::config::ConfigList;
use quant_math::plan::PlanOptions;
use quant_math::{Emit, Quantizer};
use torch_adapter::{Error, Model};

use changed::{Case, Told, changes};

/// It is longer than what a pipe holds.
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/digits_traced.pt");

/// Where a change is written, in the middle of the records.
const MIDDLE: u64 = 1 << 13;

fn case() -> Case {
    Case::new("model.pt", &fs::read(DIGITS).unwrap(), "T0003")
}

#[track_caller]
fn told<T>(result: Result<T, Error>) -> Told {
    let Err(error) = result else { panic!("no error") };
    Told { code: error.code(), location: error.location(), help: error.help().map(Into::into) }
}

fn config() -> ConfigList {
    ConfigList::default_for(Quantizer::Naive)
}

fn options(emit: Emit) -> PlanOptions<'static> {
    PlanOptions { emit: Some(emit), ..PlanOptions::default() }
}

#[test]
fn an_archive_that_changes_before_a_look_at_it() {
    for change in changes(MIDDLE) {
        let case = case();
        let model = Model::open(&case.model).unwrap();
        let plan = model.plan(&config(), options(Emit::Baked)).unwrap();
        change(&case.file());
        case.check(&told(model.plan(&config(), options(Emit::Baked))));
        case.check(&told(model.inspect()));
        case.check(&told(model.diff(&Model::open(DIGITS).unwrap())));
        case.check(&told(Model::open(DIGITS).unwrap().diff(&model)));
        case.check(&told(model.apply(&plan)));
    }
}

#[test]
fn an_archive_that_changes_while_it_is_written() {
    for change in changes(MIDDLE) {
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
            let case = case();
            let model = Model::open(&case.model).unwrap();
            let plan = model.plan(&config(), options(emit)).unwrap();
            let compressed = model.apply(&plan).unwrap();
            let file = case.file();
            case.check(&told(compressed.write_to_with(&case.out, &|_| change(&file))));
        }
    }
}

#[test]
fn an_archive_that_is_replaced_is_held_on_to() {
    let case = case();
    let model = Model::open(&case.model).unwrap();
    let plan = model.plan(&config(), options(Emit::Baked)).unwrap();
    model_file::atomic::write(&case.model, b"another one").unwrap();
    model.apply(&plan).unwrap().write_to(&case.out).unwrap();
    Model::open(&case.out).unwrap().archive().check_all().unwrap();
}

#[test]
fn the_program_says_so_and_ends_with_1() {
    case().check_program(env!("CARGO_BIN_EXE_torch-adapter"));
}

#[test]
fn no_file_takes_the_place_of_another() {
    let case = case();
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
    let case = case();
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
