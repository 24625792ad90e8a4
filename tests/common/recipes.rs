//! The blocks of the README, to be run as they are printed.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

/// Every block of a document.
pub(crate) fn blocks(document: &Path) -> Vec<Block> {
    let text = fs::read_to_string(document).unwrap();
    let mut parts = text.split("\n```");
    parts.next();
    let mut blocks = Vec::new();
    // Opening and closing fences take turns.
    while let (Some(open), Some(_)) = (parts.next(), parts.next()) {
        let (language, text) = open.split_once('\n').unwrap();
        blocks.push(Block { language: language.to_owned(), text: format!("{text}\n") });
    }
    blocks
}

impl Block {
    /// The commands of a session, as the shell is to run them; what installs the programs is left out, which are there.
    pub(crate) fn commands(&self) -> String {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("$ "));
        lines.filter(|line| !line.starts_with("cargo install ")).collect::<Vec<_>>().join("\n")
    }

    /// Run it in `folder`, where `program` is found by its name, and `python3` is `python`; what it says on either stream.
    pub(crate) fn run(&self, folder: &Path, program: &Path, python: &Path) -> String {
        let bin = folder.join("bin");
        fs::create_dir_all(&bin).unwrap();
        for (name, target) in [("python3", python), (program.file_name().unwrap().to_str().unwrap(), program)] {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\nexec '{}' \"$@\"\n", target.display())).unwrap();
            assert!(Command::new("chmod").arg("+x").arg(&path).status().unwrap().success());
        }
        let script = match self.language.as_str() {
            "console" => self.commands(),
            "python" => format!("python3 - <<'PROGRAM'\n{}PROGRAM\n", self.text),
            other => panic!("no way to run a block of {other:?}"),
        };
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &script]).current_dir(folder).env("PATH", path).env("TF_CPP_MIN_LOG_LEVEL", "3");
        let output = shell.env("CUDA_VISIBLE_DEVICES", "-1").env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = told(&output.stdout) + &told(&output.stderr);
        assert!(output.status.success(), "{script}\n{told}");
        told
    }
}
