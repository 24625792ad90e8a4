//! A whole command, run as a process: this program is both the test and the tool that it tests.
#![cfg_attr(not(unix), expect(dead_code, reason = "the checks need a Unix shell"))]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};

use clap::{CommandFactory, Parser, Subcommand};
use model_file::AtomicFile;
use quant_cli::{CompletionsArgs, Diagnostic, Failure, GlobalArgs, QuantizeArgs, SchemaArgs};

#[derive(Debug, Parser)]
#[command(name = "tool")]
struct Tool {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the number of threads
    Threads,
    /// Print a million lines, then make a file
    Lines {
        mark: PathBuf,
    },
    /// Read a config
    Config(QuantizeArgs),
    /// Fail
    Fail,
    /// Write a large file, and wait in the middle of it
    Large {
        out: PathBuf,
        #[arg(long)]
        wait: bool,
    },
    Schema(SchemaArgs),
    Completions(CompletionsArgs),
}

fn tool(tool: &Tool) -> Result<(), Failure> {
    let mut out = tool.global.out();
    match &tool.verb {
        Verb::Threads => writeln!(out, "{}", rayon::current_num_threads())?,
        Verb::Lines { mark } => {
            for line in 0..1_000_000 {
                writeln!(out, "line {line}")?;
            }
            model_file::atomic::write(mark, b"the work went on")?;
        }
        Verb::Config(args) => {
            let config = args.config_list()?;
            args.check(&tool.global, &config.warnings())?;
            writeln!(out, "{} entries", config.entries.len())?;
        }
        Verb::Fail => {
            let diagnostic = Diagnostic::error("T0001", "the tool was asked to fail").at("here").help("do not ask");
            return Err(Failure::failed(diagnostic));
        }
        Verb::Large { out, wait } => {
            let mut file = AtomicFile::create(out)?;
            file.write_all(&vec![b'x'; 1 << 20])?;
            if *wait {
                let mut stdout = tool.global.out();
                writeln!(stdout, "half")?;
                stdout.flush()?;
                std::io::stdin().read_exact(&mut [0])?;
            }
            file.persist()?;
        }
        Verb::Schema(args) => args.run(&tool.global)?,
        Verb::Completions(args) => args.run(&tool.global, Tool::command())?,
    }
    Ok(out.finish()?)
}

fn main() -> ExitCode {
    if std::env::var_os("QUANT_CLI_TEST_TOOL").is_some() {
        let parsed: Tool = match quant_cli::parse() {
            Ok(parsed) => parsed,
            Err(code) => return code,
        };
        return quant_cli::run(&parsed.global, || tool(&parsed));
    }
    #[cfg(unix)]
    checks();
    ExitCode::SUCCESS
}

fn checks() {
    Tool::command().debug_assert();
    let checks: [(&str, fn()); 9] = [
        ("exit codes are 0, 1 and 2", exit_codes),
        ("errors are text or JSON on standard error", errors),
        ("a wrong command line has a code, and is JSON where that is asked for", usage),
        ("colours follow the environment", colours),
        ("jobs is the number of threads", jobs),
        ("quiet and verbose", quiet_and_verbose),
        ("a closed pipe ends quietly and the work goes on", closed_pipe),
        ("a full disk leaves the old file", full_disk),
        ("a killed run leaves the old file", killed),
    ];
    for (name, check) in checks {
        check();
        let mut out = quant_cli::Out::stdout();
        writeln!(out, "{name} ... ok").unwrap();
    }
    let shells = run(&["completions", "bash"]);
    assert!(text(&shells.stdout).contains("--quiet") && shells.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&run(&["schema"]).stdout).unwrap();
    assert_eq!(schema["title"], "config_list");
    assert!(text(&run(&["schema", "--op-types"]).stdout).contains("MatMul = Linear = Dense"));
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(args).env("QUANT_CLI_TEST_TOOL", "1").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn run_with_input(args: &[&str], input: &str) -> Output {
    let mut child = command(args).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn exit_codes() {
    let code = |output: Output| output.status.code().unwrap();
    assert_eq!(code(run(&["threads"])), 0);
    assert_eq!(code(run(&["fail"])), 1);
    assert_eq!(code(run(&["nonsense"])), 2);
    assert_eq!(code(run(&["config"])), 2, "no quantizer");
    assert_eq!(code(run_with_input(&["config", "-Q", "naive", "-c", "-"], "[{op_types: 'default'}]")), 0);
    assert_eq!(code(run_with_input(&["config", "-Q", "naive", "-c", "-"], "[{}]")), 2);
    let ignored = "[{op_types: 'default', seed: 5}]";
    assert_eq!(code(run_with_input(&["config", "-Q", "naive", "-c", "-"], ignored)), 0);
    assert_eq!(code(run_with_input(&["config", "-Q", "naive", "-c", "-", "--strict"], ignored)), 2);
}

fn errors() {
    let failed = run(&["fail"]);
    assert_eq!(text(&failed.stderr), "error[T0001]: the tool was asked to fail\n  --> here\n  help: do not ask\n");
    assert_eq!(text(&failed.stdout), "");
    let failed = run(&["fail", "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&failed.stderr).unwrap();
    assert_eq!((object["level"].as_str(), object["code"].as_str()), (Some("error"), Some("T0001")));
    let several = run_with_input(
        &["config", "-Q", "qat", "-c", "-"],
        "[{op_typos: 5}, {op_types: 6, quant_types: ['weight'], q_bits: 17}]",
    );
    assert_eq!(
        text(&several.stderr),
        "error[C0102]: config_list[0].op_typos: unknown key; did you mean `op_types`?\n  --> standard input\n\
         error[C0105]: config_list[0]: `quant_types` is missing, and qat has no default for it\n  --> standard input\n  \
         help: for example quant_types: [\"weight\", \"output\"]\n\
         error[C0103]: config_list[1].op_types: found 6, expected \"default\", an op type, or a list of them\n  --> standard input\n\
         error[C0104]: config_list[1].q_bits: 17 is out of range, expected 2 to 16\n  --> standard input\n"
    );
}

fn usage() {
    let wrong = run(&["threads", "--jbos", "3"]);
    assert_eq!((wrong.status.code(), text(&wrong.stdout)), (Some(2), ""));
    let told = text(&wrong.stderr);
    assert!(told.starts_with("error[U0201]: unexpected argument '--jbos' found\n  help: "), "{told}");
    assert!(told.contains("'--jobs'") && told.contains("--help"), "{told}");
    for (args, code) in [
        (&["threads", "--jbos", "3", "--json"][..], "U0201"),
        (&["--json", "nonsense"], "U0202"),
        (&["--json", "config", "-Q", "bnn"], "U0203"),
        (&["--json", "lines"], "U0204"),
        (&["--json", "threads", "--jobs", "0"], "U0203"),
        (&["--json", "threads", "--jobs", "9999"], "U0104"),
    ] {
        let wrong = run(args);
        assert_eq!(wrong.status.code(), Some(2), "{args:?}");
        let object: serde_json::Value = serde_json::from_slice(&wrong.stderr).unwrap();
        assert_eq!((object["level"].as_str(), object["code"].as_str()), (Some("error"), Some(code)), "{object}");
    }
    // Behind `--`, it is no option.
    assert!(text(&run(&["threads", "--", "--json"]).stderr).starts_with("error[U020"));
    let help = run(&["--help"]);
    assert_eq!((help.status.code(), text(&help.stderr)), (Some(0), ""));
    assert!(text(&help.stdout).contains("Usage: "));
    for endless in ["/dev/zero", "/"] {
        let refused = run(&["config", "-Q", "naive", "-c", endless]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains("it is no file, expected one, or a pipe"), "{endless}");
    }
}

fn colours() {
    let stderr = |variables: &[&str]| {
        let mut command = command(&["fail"]);
        command.envs(variables.iter().map(|name| (name, "1")));
        text(&command.output().unwrap().stderr).to_owned()
    };
    assert!(!stderr(&[]).contains('\u{1b}'), "a pipe is no terminal");
    assert!(stderr(&["CLICOLOR_FORCE"]).contains("\u{1b}[1m\u{1b}[31merror[T0001]\u{1b}[0m"));
    assert!(!stderr(&["NO_COLOR"]).contains('\u{1b}'));
}

fn jobs() {
    assert_eq!(text(&run(&["threads", "--jobs", "3"]).stdout), "3\n");
    assert_eq!(text(&run(&["-j", "1", "threads"]).stdout), "1\n");
}

fn quiet_and_verbose() {
    assert_eq!(text(&run(&["threads", "--quiet"]).stdout), "");
    assert_ne!(text(&run(&["threads", "--quiet", "--json"]).stdout), "", "programs asked for it");
    assert_ne!(text(&run(&["fail", "--quiet"]).stderr), "", "errors are always told");
    assert_eq!(
        text(&run(&["threads", "-vv"]).stdout),
        text(&run(&["threads"]).stdout),
        "the log is not on standard output"
    );
}

fn closed_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let mut child = command(&["lines", mark.to_str().unwrap()]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert_eq!(first, "line 0\n");
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert!(mark.exists());
}

fn full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.pb");
    model_file::atomic::write(&out, b"old").unwrap();
    // A limit on the size of files stands for a full disk: the write fails in the middle.
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 64; trap '' XFSZ; exec \"$0\" large \"$1\""]);
    shell.arg(std::env::current_exe().unwrap()).arg(&out).env("QUANT_CLI_TEST_TOOL", "1");
    let output = shell.output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with(&format!("error[O0104]: cannot write `{}`\n  caused by: ", out.display())), "{stderr}");
    assert!(stderr.contains("\n  help: free some space"), "{stderr}");
    only_the_old_file(folder.path());
}

fn killed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.pb");
    model_file::atomic::write(&out, b"old").unwrap();
    let mut child = command(&["large", "--wait", out.to_str().unwrap()]).spawn().unwrap();
    wait_for_half(&mut child);
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(std::fs::read(&out).unwrap(), b"old");
    // The next run is not troubled by what the killed one left.
    let mut child = command(&["large", "--wait", out.to_str().unwrap()]).spawn().unwrap();
    wait_for_half(&mut child);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::metadata(&out).unwrap().len(), 1 << 20);
}

fn wait_for_half(child: &mut Child) {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "half\n");
}

fn only_the_old_file(folder: &Path) {
    let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["model.pb"]);
    assert_eq!(std::fs::read(folder.join("model.pb")).unwrap(), b"old");
}
