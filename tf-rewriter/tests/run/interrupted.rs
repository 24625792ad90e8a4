//! Killed programs and killed servers: what was measured is kept, and taken up.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{TEST_DATA, TensorFlow, fails, good, read, stderr};

/// A server of TensorFlow on this machine; ends with its drop.
struct Server {
    child: Child,
    target: String,
}

impl Server {
    fn start(tensorflow: &TensorFlow) -> Self {
        let mut child = tensorflow.script(&[&"server"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, target: format!("grpc://127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Data for thousands of batches, and a config.
fn long(tensorflow: &TensorFlow, observer: &str) -> (PathBuf, Vec<String>) {
    let data = tensorflow.path("long.npz");
    tensorflow.ask(&[&"repeat", &TEST_DATA, &"4000", &data]);
    let config = tensorflow.config(observer);
    (data, ["--batch", "2", "-c", config.to_str().unwrap()].map(str::to_owned).to_vec())
}

/// Wait until `child` has left something behind.
fn wait_for(path: &Path, child: &mut Child) {
    while !path.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it left `{}`", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_killed_run_is_taken_up() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    for observer in ["ema", "entropy"] {
        let (data, options) = long(&tensorflow, observer);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let whole = tensorflow.ranges(&data, "whole.json", &options);
        let (out, partial) = (tensorflow.path("out.json"), tensorflow.path("out.json.partial"));
        let mut child = tensorflow.calibrate(&data, &out).args(&options).args(["--save-every", "0"]).spawn().unwrap();
        wait_for(&partial, &mut child);
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!out.exists());
        let samples = read(&fs::read(&partial).unwrap()).samples;
        assert!((2..4000).contains(&samples), "{samples}");
        let left = fs::read(&partial).unwrap();
        if observer == "ema" {
            let other = tensorflow.path("batch.json");
            fs::copy(&partial, tensorflow.path("batch.json.partial")).unwrap();
            let mut command = tensorflow.calibrate(&data, &other);
            command.args(["-c", options[3], "--batch", "3", "--resume"]);
            let texts =
                ["its moving averages are of batches of 2 (`--batch 2`), expected batches of 3", "batch.json.partial"];
            fails(&mut command, "E0806", &texts);
            assert!(fs::read(tensorflow.path("batch.json.partial")).unwrap() == left && !other.exists());
        }
        good(tensorflow.calibrate(&data, &out).args(&options).arg("--resume"));
        assert!(fs::read(&out).unwrap() == whole, "{observer}: resumed after {samples} samples");
        assert!(!partial.exists());
        fs::remove_file(out).unwrap();
    }
}

#[test]
fn what_was_left_behind_must_belong() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let data = Path::new(TEST_DATA);
    let (out, partial) = (tensorflow.path("out.json"), tensorflow.path("out.json.partial"));
    let (minmax, ema) = (tensorflow.config("minmax"), tensorflow.config("ema"));
    let left = tensorflow.ranges(data, "left.json", &["-c", minmax.to_str().unwrap()]);
    let resume = |data: &Path| {
        let mut command = tensorflow.calibrate(data, &out);
        command.arg("--resume");
        command
    };
    fs::write(&partial, &left).unwrap();
    fails(resume(data).arg("-c").arg(&ema), "E0806", &["another config", "run without `--resume`"]);
    let short = tensorflow.path("short.npz");
    tensorflow.ask(&[&"repeat", &TEST_DATA, &"10", &short]);
    fails(resume(&short).arg("-c").arg(&minmax), "E0806", &["made from 697 samples, and the data holds 10"]);
    let other = String::from_utf8(left.clone()).unwrap().replace("crc32c:1a3714a8", "crc32c:00000000");
    fs::write(&partial, other).unwrap();
    fails(resume(data).arg("-c").arg(&minmax), "E0806", &["cannot resume"]);
    fs::write(&partial, &left[..left.len() / 2]).unwrap();
    fails(resume(data).arg("-c").arg(&minmax), "R0101", &["out.json.partial"]);
    assert!(partial.exists() && !out.exists());
}

#[test]
fn a_server_gives_the_same_and_its_end_is_told() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let (data, options) = long(&tensorflow, "entropy");
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let whole = tensorflow.ranges(&data, "whole.json", &options);
    let (out, partial) = (tensorflow.path("out.json"), tensorflow.path("out.json.partial"));
    {
        let mut server = Server::start(&tensorflow);
        let mut command = tensorflow.calibrate(&data, &out);
        command.args(&options).args(["--save-every", "0", "--timeout", "5", "--target", &server.target]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        wait_for(&partial, &mut child);
        server.child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.starts_with(&format!("error[E0803]: TensorFlow at `{}` cannot run the graph", server.target)),
            "{told}"
        );
        assert!(told.contains("with `--resume` the work goes on"), "{told}");
    }
    assert!(!out.exists());
    let samples = read(&fs::read(&partial).unwrap()).samples;
    assert!((2..4000).contains(&samples), "{samples}");
    let server = Server::start(&tensorflow);
    good(tensorflow.calibrate(&data, &out).args(&options).args(["--resume", "--target", &server.target]));
    assert!(fs::read(&out).unwrap() == whole, "resumed after {samples} samples");
    let remote = tensorflow.ranges(&data, "remote.json", &[&options[..], &["--target", &server.target]].concat());
    assert!(remote == whole);
}

#[test]
fn no_server_is_told() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let mut command = tensorflow.calibrate(Path::new(TEST_DATA), &tensorflow.path("out.json"));
    fails(command.args(["--target", "nonsense"]), "E0803", &["at `nonsense`"]);
    // Nothing listens at a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = format!("grpc://{free}");
    let mut command = tensorflow.calibrate(Path::new(TEST_DATA), &tensorflow.path("out.json"));
    fails(command.args(["--timeout", "1", "--target", &target]), "E0803", &[&target]);
}
