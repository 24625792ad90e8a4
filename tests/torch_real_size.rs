//! Convolutional nets of the usual sizes: how small `packed` makes the file, and that it and `baked` hold quant-math's values.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::{Framework, oracle, run_python};
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter};
use quant_math::config::ConfigList;
use quant_math::weights::fake_quant_view;
use quant_math::{Emit, Plan, QuantType, Quantizer};
use torch_adapter::{Fold, Model, PlanOptions};

const SCRIPT: &str = "tests/torch/real_size.py";

fn compress(source: &Path, config: &ConfigList, emit: Emit, out: &Path) -> Plan {
    let model = Model::open(source).unwrap();
    // The reference has the net's own weights.
    let options = PlanOptions { emit: Some(emit), fold: Fold::Off, ..PlanOptions::default() };
    let plan = model.plan(config, options).unwrap();
    model.apply(&plan).unwrap().write_to(out).unwrap();
    plan
}

/// What quant-math makes of the float weights, read by a reader that is not ours.
fn expected(plan: &Plan, floats: &Path, out: &Path) {
    let mut reader = NpzReader::new(File::open(floats).unwrap()).unwrap();
    let mut writer = NpzWriter::new(File::create_new(out).unwrap());
    for site in plan.quantized().filter(|site| site.kind == QuantType::Weight) {
        let weights: ArrayD<f32> = reader.by_name::<_, IxDyn>(&format!("{}.npy", site.tensor)).unwrap();
        let values = fake_quant_view(site.settings().unwrap(), &weights.view()).unwrap();
        writer.add_array(site.tensor.as_str(), &values).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_packed_convolutional_net_is_about_a_quarter_of_the_float_one() {
    let Some(python) = oracle(Framework::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run_python(&python, SCRIPT, &["make".as_ref(), folder], &[]);
    // A quarter are codes. Biases, scales and what the file says besides tensors come on top. A MobileNetV2 whose batch norms are not folded
    // keeps their 68,224 floats, 1.9 % of its file, and code, names and zip headers that are another 1.7 %. Codes of 4 and 2 bits are an eighth
    // and a sixteenth.
    let limits = [
        ("resnet18.script", false, 8, 27),
        ("resnet18.script", true, 8, 27),
        ("resnet18.freeze", false, 8, 27),
        ("mobilenet_v2.freeze", false, 8, 27),
        ("mobilenet_v2.freeze", true, 8, 27),
        ("mobilenet_v2.script", false, 8, 28),
        ("mobilenet_v2.script", true, 8, 29),
        ("resnet50.script", true, 4, 14),
        ("resnet50.script", true, 2, 8),
        ("resnet50.freeze", false, 4, 14),
        ("resnet50.freeze", true, 2, 8),
    ];
    for (net, per_channel, bits, percent) in limits {
        let text = format!("[{{op_types: 'default', quant_bits: {bits}, per_channel: {per_channel}}}]");
        let config = ConfigList::parse(&text, Some(Quantizer::Naive)).unwrap();
        let path = |end: &str| folder.join(format!("{net}.{per_channel}.{bits}.{end}"));
        let float = folder.join(format!("{net}.pt"));
        let (baked, packed) = (path("baked.pt"), path("packed.pt"));
        let plan = compress(&float, &config, Emit::Baked, &baked);
        assert_eq!(plan.skipped().count(), 0, "{net}");
        compress(&float, &config, Emit::Packed, &packed);
        run_python(&python, "tests/torch/reader.py", &[folder, &float], &[]);
        expected(&plan, &folder.join(format!("{net}.pt.npz")), &path("npz"));
        let arguments = ["check".as_ref(), float.as_os_str(), baked.as_os_str(), packed.as_os_str()];
        let values = path("npz");
        let arguments: Vec<_> = arguments.into_iter().chain([values.as_os_str()]).collect();
        run_python(&python, SCRIPT, &arguments, &[]);
        let len = |path: &Path| fs::metadata(path).unwrap().len();
        let (before, after) = (len(&float), len(&packed));
        assert!(
            after * 100 <= before * percent,
            "{net}, per channel {per_channel}, {bits} bits: {after} of {before} bytes"
        );
        let [baked, packed] = [baked, packed].map(|path| Model::open(path).unwrap());
        assert!(baked.diff(&packed).unwrap().tensors.is_empty(), "{net}: `diff` sees other values");
        let options = PlanOptions { emit: Some(Emit::Packed), ..PlanOptions::default() };
        assert!(packed.plan(&config, options).unwrap().is_empty(), "{net}: a second run would quantize something");
        let weights = |model: &Model| -> Vec<_> {
            let found = model.inspect().unwrap();
            found.weights.into_iter().map(|weight| (weight.op, weight.tensor, weight.shape, weight.range)).collect()
        };
        assert_eq!(weights(&baked), weights(&packed), "{net}");
    }
}
