//! Every small archive of `tests/models/torch`, observing.

use std::path::Path;
use std::process::Command;

use quant_math::Quantizer;
use quant_math::config::ConfigList;
use torch_adapter::{Counting, Model};

use super::{Torch, stderr};

const CONFIG: &str = "[{op_types: 'default', quant_types: ['input', 'output'], quant_bits: 8, observer: 'percentile'},
    {op_types: ['ReLU', 'ReLU6', 'Hardtanh', 'GELU', 'Softmax', 'LayerNorm'], quant_types: ['output'], quant_bits: 8, observer: 'ema'},
    {op_types: ['LSTM', 'GRU'], quant_types: ['input', 'output'], quant_bits: 8}]";

#[test]
fn every_archive_that_observes_gives_what_it_gave() {
    let Some(torch) = Torch::find() else { return };
    let config = ConfigList::parse(CONFIG, Some(Quantizer::Qat)).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = root.join("tests/models/torch");
    let mut written = Vec::new();
    for entry in std::fs::read_dir(&sources).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "pt") {
            continue;
        }
        let out = torch.path(&path.file_name().unwrap().to_string_lossy());
        match Model::open(&path).unwrap().observe(&config, Counting::Sampled) {
            Ok(observing) => drop(observing.write_to(&out).unwrap()),
            Err(error) => {
                assert_eq!(error.code(), "T0805", "{}: {error}", path.display());
                continue;
            }
        }
        written.push(out);
    }
    let script = root.join("tests/torch/check_observing.py");
    let output = Command::new(&torch.python).arg(script).arg(&sources).arg(torch.folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut ranges = 0;
    for seen in written.iter().map(|path| path.with_extension("seen")).filter(|path| path.exists()) {
        let (measured, _) = Model::open(&seen).unwrap().measured("torch", None).unwrap();
        assert!(measured.ranges.iter().all(|entry| entry.min <= entry.max && entry.calibration.is_some()));
        ranges += measured.ranges.len();
    }
    assert!(written.len() > 40 && ranges > 200, "{} archives, {ranges} ranges", written.len());
}
