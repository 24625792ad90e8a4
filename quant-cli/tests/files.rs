//! No file of a command takes the place of another, under whatever name.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use model_file::atomic;
use quant_cli::Files;
use tempfile::TempDir;

struct Case(TempDir);

impl Case {
    fn new() -> Self {
        let case = Self(tempfile::tempdir().unwrap());
        for name in ["model", "config"] {
            atomic::write(&case.path(name), b"").unwrap();
        }
        fs::create_dir(case.path("data")).unwrap();
        atomic::write(&case.path("data/x.npy"), b"").unwrap();
        symlink("model", case.path("link")).unwrap();
        fs::hard_link(case.path("model"), case.path("hard")).unwrap();
        symlink("new", case.path("dangling")).unwrap();
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The message, where output and report may not have these names.
    fn refused(&self, output: &str, report: &str) -> Option<String> {
        let files = Files::of_model(self.path("model")).reads("the config", self.path("config"));
        let files =
            files.reads("the data", self.path("data")).may_read("the ranges", None::<PathBuf>).reads("stdin", "-");
        let files = files.writes("the output", self.path(output)).may_write("the report", Some(self.path(report)));
        let failure = files.check().err()?;
        let [diagnostic] = failure.diagnostics() else { return Some("not one diagnostic".to_owned()) };
        assert_eq!((failure.exit_code(), diagnostic.code.as_str()), (2, "U0106"));
        assert!(diagnostic.help.as_deref().unwrap().starts_with("choose another name for the "));
        Some(diagnostic.message.clone())
    }

    #[track_caller]
    fn check(&self, output: &str, report: &str, what: &str, other: &str) {
        let message = format!("{what} would take the place of {other}: they are one file");
        assert_eq!(self.refused(output, report), Some(message));
    }
}

#[test]
fn different_files_are_fine() {
    let case = Case::new();
    for (output, report) in
        [("out", "r.html"), ("model", "r.html"), ("link", "r.html"), ("hard", "r.html"), ("data/y.npy", "r")]
    {
        assert_eq!(case.refused(output, report), None, "{output} {report}");
    }
    // Devices and folders are told by whoever would write them.
    assert_eq!(case.refused("data", "data"), None);
    assert_eq!(
        Files::default().writes("the output", "/dev/null").writes("the report", "/dev/null").check().err(),
        None
    );
}

#[test]
fn one_file_under_two_names_is_refused() {
    let case = Case::new();
    for name in ["model", "link", "hard", "data/../model"] {
        case.check("out", name, "the report", "the model");
        case.check(name, "model", "the report", "the model");
    }
    case.check("config", "r.html", "the output", "the config");
    case.check("data/x.npy", "r.html", "the output", "the data");
    case.check("new", "new", "the report", "the output");
    case.check("new", "dangling", "the report", "the output");
    case.check("dangling", "data/../new", "the report", "the output");
}
