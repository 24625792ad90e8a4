//! A plan that was written down, edited or not, is what the program carries out.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../tests/common/program.rs"]
mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tf-rewriter");

fn run(folder: &Path, args: &str) -> Output {
    program::run(PROGRAM, folder, args)
}

#[track_caller]
fn succeeds(folder: &Path, args: &str) -> Vec<u8> {
    program::succeeds(PROGRAM, folder, args).stdout
}

/// The exit code, and the codes of the errors.
fn errors(output: &Output) -> (Option<i32>, Vec<String>) {
    let lines = std::str::from_utf8(&output.stderr).unwrap().lines();
    let of = |line: &Value, key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let told = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let codes = told.filter(|line| of(line, "level") == "error").map(|line| of(&line, "code"));
    (output.status.code(), codes.collect())
}

const MODEL: &str = "EXAMPLES/models/digits.pb";

/// Each quantizer and form.
const REQUESTS: [&str; 6] = [
    "-Q naive",
    "-Q naive --emit packed --preset nni",
    "-Q qat --config EXAMPLES/configs/nni_qat.py.txt --ranges EXAMPLES/ranges/digits.json",
    "-Q qat --config EXAMPLES/configs/nni_qat.py.txt --emit training",
    "-Q qat --config EXAMPLES/configs/nni_qat.py.txt --emit training --gradient composed --ranges EXAMPLES/ranges/digits.json",
    "-Q dorefa --config EXAMPLES/configs/nni_dorefa.py.txt --emit packed",
];

/// Write down the plan of a request, and read it.
fn plan(folder: &Path, request: &str) -> Value {
    let text = succeeds(folder, &format!("plan {MODEL} {request} --json"));
    serde_json::from_slice(&text).unwrap()
}

fn written(folder: &Path, plan: &Value) -> PathBuf {
    let path = folder.join("plan.json");
    model_file::atomic::write(&path, plan.to_string().as_bytes()).unwrap();
    path
}

#[test]
fn a_plan_that_nobody_edited_is_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for request in REQUESTS {
        let direct = succeeds(folder, &format!("compress {MODEL} {request} -o direct.pb --json"));
        written(folder, &plan(folder, request));
        let planned = succeeds(folder, &format!("compress {MODEL} --plan plan.json -o planned.pb --json"));
        assert!(direct == planned, "{request}: the reports differ");
        assert!(
            fs::read(folder.join("direct.pb")).unwrap() == fs::read(folder.join("planned.pb")).unwrap(),
            "{request}"
        );
        let again = succeeds(folder, &format!("plan {MODEL} --plan plan.json --json"));
        assert_eq!(serde_json::from_slice::<Value>(&again).unwrap(), plan(folder, request), "{request}");
    }
}

#[test]
fn an_edited_plan_is_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut plan = plan(folder, REQUESTS[2]);
    let sites = plan["sites"].as_array_mut().unwrap();
    let weight = sites.iter().position(|site| site["kind"] == "weight").unwrap();
    let output = sites.iter().position(|site| site["kind"] == "output").unwrap();
    sites[weight]["decision"]["quantize"]["bits"] = json!(3);
    sites[output]["decision"] = json!({"skip": {"code": "by-hand", "text": "it is sensitive"}});
    let next = sites.iter().rposition(|site| site["kind"] == "output").unwrap();
    sites[next]["range"] = json!({"min": -1.0, "max": 254.0});
    written(folder, &plan);
    let report = succeeds(folder, &format!("compress {MODEL} --plan plan.json -o out.pb --json"));
    let report: Value = serde_json::from_slice(&report).unwrap();
    let site = |index: usize| &report["sites"][index];
    assert_eq!(site(weight)["decision"]["quantize"]["bits"], 3);
    assert!(site(weight)["metrics"]["sqnr_db"].as_f64().unwrap() < 20.0, "{}", site(weight));
    assert_eq!(site(output)["decision"]["skip"]["code"], "by-hand");
    // 255 steps over a range of 255.
    assert_eq!(site(next)["scale"], json!([1.0, 1.0]));
}

#[test]
fn what_the_model_cannot_do_is_told_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let refused = |edit: &dyn Fn(&mut Value)| {
        let mut plan = plan(folder, REQUESTS[0]);
        edit(&mut plan);
        written(folder, &plan);
        let output = run(folder, &format!("compress {MODEL} --plan plan.json -o out.pb --json"));
        assert!(!folder.join("out.pb").exists());
        let (exit, told) = errors(&output);
        assert_eq!(exit, Some(2));
        told
    };
    assert_eq!(refused(&|plan| plan["sites"][0]["op"] = json!("nobody")), ["P0104"]);
    assert_eq!(refused(&|plan| plan["sites"][0]["decision"]["quantize"]["channel_axis"] = json!(0)), ["P0105"]);
    assert_eq!(refused(&|plan| plan["sites"][0]["shape"] = json!([7])), ["P0105"]);
    assert_eq!(refused(&|plan| plan["sites"][0]["decision"]["quantize"]["bits"] = json!(1)), ["P0103"]);
    assert_eq!(refused(&|plan| plan["version"] = json!(2)), ["P0102"]);
    assert_eq!(refused(&|plan| *plan = json!([])), ["P0101"]);
    let both = |plan: &mut Value| {
        plan["sites"][0]["op"] = json!("nobody");
        plan["sites"][1]["decision"]["quantize"]["channel_axis"] = json!(0);
    };
    assert_eq!(refused(&both), ["P0104", "P0105"], "all of it at once");
}

#[test]
fn a_plan_excludes_what_it_says_itself() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    written(folder, &plan(folder, REQUESTS[0]));
    let others = [
        "--quantizer naive",
        "--config EXAMPLES/configs/nni_qat.py.txt",
        "--preset nni",
        "--emit baked",
        "--strict",
        "--ranges EXAMPLES/ranges/digits.json",
        "--gradient op",
    ];
    for other in others {
        let output = run(folder, &format!("compress {MODEL} --plan plan.json -o out.pb {other}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{other}: {said}");
        assert!(said.contains("cannot be used with"), "{other}: {said}");
    }
    let (exit, told) = errors(&run(folder, &format!("compress {MODEL} --plan none.json -o out.pb --json")));
    assert_eq!((exit, told), (Some(2), vec!["U0107".to_owned()]));
}
