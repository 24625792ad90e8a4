//! The graphs of the rewriter's rule tests, before and after.

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use crate::case::Case;
use crate::common::{Framework, oracle, repository};
use crate::session::{Job, run, write};

#[test]
fn every_form_of_every_rule_loads_and_runs() {
    let Some(python) = oracle(Framework::TensorFlow) else { return };
    let folder = TempDir::new().unwrap();
    let mut sources: Vec<_> = fs::read_dir(repository("tf-rewriter/tests/rules"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pbtxt"))
        .collect();
    sources.sort();
    let mut jobs = Vec::new();
    for path in &sources {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let case = Case::read(&fs::read_to_string(path).unwrap());
        let mut models = BTreeMap::new();
        for &emit in &case.emits {
            let mut out = Vec::new();
            // Some rules are errors; their tests say which.
            if case.compress(emit).and_then(|compressed| compressed.write(&mut out)).is_ok() {
                models.insert(emit.to_string(), write(folder.path(), &format!("{name}_{emit}"), &out));
            }
        }
        jobs.push(Job { name, float: path.clone(), models, runs: case.runs });
    }
    let models: usize = jobs.iter().map(|job| job.models.len()).sum();
    assert!(jobs.len() > 60 && models > 130, "{} rules, {models} graphs", jobs.len());
    for (job, graphs) in jobs.iter().zip(run(&python, &jobs)) {
        let float = &graphs["float"];
        assert!(!job.runs || !float.is_empty(), "{}: nothing was fetched", job.name);
        if let (Some(baked), Some(packed)) = (graphs.get("baked"), graphs.get("packed")) {
            assert!(baked == packed, "{}: `packed` gives other values than `baked`", job.name);
        }
        for (form, outputs) in &graphs {
            assert!(outputs.keys().eq(float.keys()), "{}, {form}", job.name);
            for (tensor, runs) in outputs {
                for ((dtype, shape, bytes), before) in runs.iter().zip(&float[tensor]) {
                    assert_eq!((dtype, shape), (&before.0, &before.1), "{}, {form}: {tensor}", job.name);
                    let broken = dtype == "float32" && is_finite(&before.2) && !is_finite(bytes);
                    assert!(!broken, "{}, {form}: {tensor} is not finite", job.name);
                }
            }
        }
    }
}

fn is_finite(floats: &[u8]) -> bool {
    floats.as_chunks().0.iter().all(|value| f32::from_le_bytes(*value).is_finite())
}
