//! What `calibrate` measures.

use std::fs;
use std::path::Path;

use super::{DIGITS, TRACED, Torch, told};

#[test]
fn ranges_are_those_of_torchs_observers() {
    let Some(torch) = Torch::find() else { return };
    let data = torch.data("data.npz", 0, 200);
    let frozen = torch.path("frozen.pt");
    torch.script(&["freeze".as_ref(), DIGITS.as_ref(), frozen.as_ref()]);
    for observer in ["minmax", "ema", "percentile"] {
        let config = torch.config(observer);
        let ranges = torch.path("ranges.json");
        for model in [Path::new(DIGITS), Path::new(TRACED), &frozen] {
            let said = told(torch.calibrate(model, &data, "ranges.json").arg("--exact").arg("-c").arg(&config));
            assert!(said.starts_with("14 ranges over 200 samples -> "), "{said}");
            if model != frozen {
                let checked = torch.script(&["check".as_ref(), model.as_ref(), data.as_ref(), ranges.as_ref()]);
                assert_eq!(checked, "14 ranges agree", "{observer} {}", model.display());
            }
            let found = torch.ranges("ranges.json");
            assert_eq!(Some(found.model.file.as_str()), model.file_name().and_then(|name| name.to_str()));
            assert!(found.framework.starts_with("torch "), "{}", found.framework);
            assert!(!torch.path("ranges.json.partial").exists());
        }
    }
}

#[test]
fn an_archive_that_observes_measures_wherever_it_is_run() {
    let Some(torch) = Torch::find() else { return };
    let data = torch.data("data.npz", 0, 100);
    let (observing, observed) = (torch.path("observing.pt"), torch.path("observed.pt"));
    for observer in ["minmax", "ema", "mse"] {
        let config = torch.config(observer);
        let mut emit = torch.command(["calibrate".as_ref(), DIGITS.as_ref(), "--emit".as_ref(), "observe".as_ref()]);
        told(emit.arg("-c").arg(&config).arg("-o").arg(&observing));
        let same = ["same".as_ref(), DIGITS.as_ref(), observing.as_ref(), data.as_ref()];
        assert_eq!(torch.script(&same), "the same");
        torch.script(&["run".as_ref(), observing.as_ref(), data.as_ref(), observed.as_ref()]);
        let mut read = torch.command(["calibrate".as_ref(), "--from".as_ref(), observed.as_ref()]);
        told(read.arg("-o").arg(torch.path("from.json")));
        told(torch.calibrate(Path::new(DIGITS), &data, "ranges.json").arg("-c").arg(&config));
        let (from, ranges) = (torch.ranges("from.json"), torch.ranges("ranges.json"));
        assert_eq!((from.samples, &from.model), (100, &ranges.model));
        assert!(from.ranges == ranges.ranges, "{observer}");
        assert_eq!(from.config, ranges.config);
    }
    // What observes is no model to quantize.
    let refused = torch
        .command(["plan".as_ref(), observing.as_ref(), "--quantizer".as_ref(), "naive".as_ref()])
        .output()
        .unwrap();
    assert!(super::stderr(&refused).starts_with("error[T0508]"), "{}", super::stderr(&refused));
}

#[test]
fn a_quantized_archive_is_as_accurate_as_the_float_one() {
    let Some(torch) = Torch::find() else { return };
    let data = torch.data("data.npz", 0, 512);
    let config = torch.path("qat.json5");
    let types = "quant_types: ['weight', 'input', 'output'], quant_bits: 8";
    fs::write(
        &config,
        format!("[{{op_types: 'default', {types}}}, {{op_types: ['ReLU6'], quant_types: ['output'], quant_bits: 8}}]"),
    )
    .unwrap();
    let compress = |out: &str| {
        let mut command = torch.command(["compress".as_ref(), DIGITS.as_ref(), "--quantizer".as_ref(), "qat".as_ref()]);
        command.args(["--emit", "inference", "-c"]).arg(&config).arg("-o").arg(torch.path(out));
        command
    };
    told(torch.calibrate(Path::new(DIGITS), &data, "ranges.json").arg("-c").arg(&config));
    told(compress("int8.pt").arg("--ranges").arg(torch.path("ranges.json")));
    told(compress("at_once.pt").arg("--calibrate").arg(&data));
    assert_eq!(fs::read(torch.path("int8.pt")).unwrap(), fs::read(torch.path("at_once.pt")).unwrap());
    let accuracy = |model: &Path| torch.script(&["accuracy".as_ref(), model.as_ref()]).parse::<f64>().unwrap();
    let (float, quantized) = (accuracy(Path::new(DIGITS)), accuracy(&torch.path("int8.pt")));
    assert!((float - quantized).abs() <= 0.5, "{float} {quantized}");
}

#[test]
fn parts_of_the_data_are_joined() {
    let Some(torch) = Torch::find() else { return };
    let config = torch.config("entropy");
    for (name, first, last) in [("all", 0, 160), ("one", 0, 96), ("two", 96, 160)] {
        let data = torch.data(&format!("{name}.npz"), first, last);
        let mut calibrate = torch.calibrate(Path::new(DIGITS), &data, &format!("{name}.json"));
        told(calibrate.arg("--exact").arg("-c").arg(&config));
    }
    let (one, two) = (torch.path("one.json"), torch.path("two.json"));
    let mut merge = torch.command(["merge-ranges".as_ref(), one.as_ref(), two.as_ref()]);
    told(merge.arg("-o").arg(torch.path("joined.json")));
    // In the same batches: of others PyTorch's kernels round otherwise.
    let (all, joined) = (torch.ranges("all.json"), torch.ranges("joined.json"));
    assert_eq!(all.samples, joined.samples);
    for (all, joined) in all.ranges.iter().zip(&joined.ranges) {
        assert!(all == joined, "{} ({})", all.site, all.kind);
    }
}
