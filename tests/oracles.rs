//! The frameworks that the other tests compare with are really there.

mod common;

use common::{Framework, oracle, run_python};

#[test]
fn oracles_import() {
    for framework in [Framework::TensorFlow, Framework::Torch] {
        let Some(python) = oracle(framework) else { continue };
        let version = run_python(&python, "tests/common/version.py", &[format!("{framework:?}")], &[]);
        let version = String::from_utf8(version).unwrap();
        let expected = match framework {
            Framework::TensorFlow => &["2.21."][..],
            Framework::Torch => &["1.13.", "2."],
        };
        assert!(
            expected.iter().any(|start| version.starts_with(start)),
            "{framework:?} {version}, expected {expected:?}"
        );
    }
}
