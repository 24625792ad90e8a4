//! What the README prints of tf-rewriter is what happens: each block that is a recipe runs as printed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, tells its story on stderr, and maps none of its files"
)]

#[path = "../../tests/common/oracle.rs"]
#[expect(dead_code, reason = "no test here asks PyTorch")]
mod oracle;
#[path = "../../tests/common/recipes.rs"]
mod recipes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use recipes::{Block, blocks};
use tf_rewriter::Graph;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tf-rewriter");
const PREFIX: &str = "$ cargo run --release -p tf-rewriter -- ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn readme() -> Vec<Block> {
    blocks(&root().join("README.md"))
}

#[test]
fn the_first_session_of_the_readme_is_real() {
    let first = readme().into_iter().find(|block| block.text.contains(PREFIX)).unwrap();
    let (_, session) = first.text.split_once(PREFIX).unwrap();
    let (line, session) = session.split_once('\n').unwrap();

    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("quantized.pb");
    let words =
        line.split_whitespace().map(|word| if word == "quantized.pb" { output.to_str().unwrap() } else { word });
    let run = Command::new(PROGRAM).args(words).current_dir(root()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(String::from_utf8(run.stdout).unwrap(), session);
    assert!(output.exists());
}

/// A folder with what the recipes take as given: the digits model, with constants and with variables, its data and a config.
fn given() -> tempfile::TempDir {
    let (folder, root) = (tempfile::tempdir().unwrap(), root());
    let copies = [
        ("examples/models/digits.pb", "model.pb"),
        ("examples/data/digits_train.npz", "samples.npz"),
        ("examples/data/digits_train.npz", "train.npz"),
        ("examples/data/digits_test.npz", "test.npz"),
        ("examples/configs/tflite_int8.json", "qat.json"),
    ];
    for (from, to) in copies {
        fs::copy(root.join(from), folder.path().join(to)).unwrap();
    }
    std::os::unix::fs::symlink(root.join("examples"), folder.path().join("examples")).unwrap();
    std::os::unix::fs::symlink(root.join("examples/models/digits"), folder.path().join("saved_model")).unwrap();
    let trainable = Graph::open(folder.path().join("model.pb")).unwrap().into_trainable().unwrap();
    fs::write(folder.path().join("graph.pb"), trainable.graph.bytes()).unwrap();
    folder
}

#[test]
fn each_recipe_runs_as_printed() {
    let Some(python) = oracle::oracle(oracle::Framework::TensorFlow) else { return };
    let folder = given();
    let (mut ran, mut told) = (Vec::new(), String::new());
    for block in readme() {
        // Others have tests of their own: the first session and the calls from Rust here, archives in torch-adapter; `cargo xtask` is CI.
        let elsewhere = ["cargo run ", "cargo xtask ", "torch-adapter "].iter().any(|word| block.text.contains(word));
        match block.language.as_str() {
            "rust" => {}
            "console" if elsewhere => {}
            "python" if block.text.starts_with("config_list = ") => {
                fs::write(folder.path().join("config.py"), &block.text).unwrap();
                let session = "$ tf-rewriter plan model.pb -Q qat --config config.py --emit training --strict\n";
                Block { language: "console".to_owned(), text: session.to_owned() }.run(
                    folder.path(),
                    PROGRAM.as_ref(),
                    &python,
                );
                ran.push("config");
            }
            "console" | "python" => {
                told += &block.run(folder.path(), PROGRAM.as_ref(), &python);
                ran.push(if block.language == "python" { "converter" } else { "session" });
            }
            other => panic!("a block of {other:?} that nothing runs"),
        }
    }
    assert_eq!(ran, ["session", "config", "session", "converter", "session", "session"], "the README's recipes");
    // The converter's call gives integers from end to end.
    let kinds = "import collections, sys, tensorflow as tf
resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
model = tf.lite.Interpreter(sys.argv[1], experimental_op_resolver_type=resolver)
model.allocate_tensors()
print(sorted({tensor['dtype'].__name__ for tensor in model.get_tensor_details()}))";
    let output = Command::new(&python).args(["-c", kinds]).arg(folder.path().join("int8.tflite")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "['int32', 'int8']", "{output:?}");
    // In a loop of one's own, quantization begins before its end.
    assert!(told.contains("of the test images") && !told.contains("not-begun"), "{told}");
}

/// The README's calls, which stand here as they stand there.
mod printed {
    use quant_math::{Emit, Quantizer, config::ConfigList};
    use tf_rewriter::{Graph, NaiveQuantizer, QatQuantizer};

    pub(super) fn from_rust(mut file: &mut Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
        // as printed
        let report =
            NaiveQuantizer::new(Graph::open("model.pb")?).emit(Emit::Packed).compress()?.write_to("small.pb")?;

        let config_list = ConfigList::parse(&std::fs::read_to_string("qat.json")?, Some(Quantizer::Qat))?;
        let quantized = QatQuantizer::new(Graph::open("model.pb")?, &config_list)?.emit(Emit::Baked).compress()?;
        quantized.write(&mut file)?;
        // until here
        assert!(report.sites.iter().all(|site| site.site.settings().is_some()));
        Ok(())
    }
}

#[test]
fn the_calls_from_rust_are_these() {
    let folder = given();
    std::env::set_current_dir(folder.path()).unwrap();
    let mut file = Vec::new();
    printed::from_rust(&mut file).unwrap();
    assert!(!file.is_empty() && folder.path().join("small.pb").exists());
    let source = include_str!("readme.rs");
    let (_, source) = source.split_once("        // as printed\n").unwrap();
    let (source, _) = source.split_once("        // until here\n").unwrap();
    // How lines are broken here is the formatter's business.
    let words = |text: &str| text.split_whitespace().collect::<String>();
    let block = readme().into_iter().find(|block| block.language == "rust").unwrap();
    let (_, calls) = block.text.split_once("\n\n").unwrap();
    assert_eq!(words(calls), words(source));
}
