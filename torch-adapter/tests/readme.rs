//! What the README prints of torch-adapter is what happens: its recipe runs as printed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, tells its story on stderr, and maps none of its files"
)]

#[path = "../../tests/common/oracle.rs"]
#[expect(dead_code, reason = "no test here asks TensorFlow")]
mod oracle;
#[path = "../../tests/common/recipes.rs"]
mod recipes;

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn each_recipe_runs_as_printed() {
    let Some(python) = oracle::oracle(oracle::Framework::Torch) else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(root.join("examples/models/digits_script.pt"), folder.path().join("model.pt")).unwrap();
    for (script, name) in [("calibrated.py", "samples.npz"), ("evaluated.py", "test.npz")] {
        let data = ["data".into(), folder.path().join(name).into_os_string()];
        let made = Command::new(&python).arg(root.join("tests/torch").join(script)).args(data).status().unwrap();
        assert!(made.success(), "{script}");
    }
    std::os::unix::fs::symlink(root.join("examples"), folder.path().join("examples")).unwrap();
    let blocks = recipes::blocks(&root.join("README.md"));
    let (mut ran, mut told) = (0, String::new());
    for block in blocks.iter().filter(|block| block.language == "console" && block.text.contains("$ torch-adapter ")) {
        told += &block.run(folder.path(), env!("CARGO_BIN_EXE_torch-adapter").as_ref(), &python);
        ran += 1;
    }
    assert_eq!(ran, 2, "the README's recipes");
    // Quantization begins before the training's end.
    assert!(told.contains("of the test images") && !told.contains("not-begun"), "{told}");
    for name in ["small.pt", "ranges.json", "int8.pt"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}
