//! Batch normalizations folded into their layers, beside PyTorch (`tests/torch/norms.py`): the folded archive computes what the archive does.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Framework, oracle, run_python};
use quant_math::config::ConfigList;
use quant_math::{Emit, Plan, QuantType, Quantizer};
use serde_json::{Value, json};
use torch_adapter::run::{Calibration, Running, calibrate};
use torch_adapter::{Counting, Error, Fold, Folded, Model, PlanOptions};

const SCRIPT: &str = "tests/torch/norms.py";

/// Products of the folded weights are rounded once more, and sums are put together in another order: the outputs differ by some roundings of
/// their type, 2⁻²⁴ ≈ 6e-8 each for float32. Measured on trained networks of five layers: 131 dB.
const SHALLOW_DB: f64 = 130.0;
/// In twenty and more layers roundings grow.
const DEEP_DB: f64 = 100.0;
const OF_LARGEST: f64 = 1e-5;

/// The archives, and what is to become of the batch norms of each.
struct Made {
    python: PathBuf,
    folder: tempfile::TempDir,
    /// By `NAME.FORM`.
    cases: Vec<(String, Value)>,
}

impl Made {
    fn find() -> Option<Self> {
        let python = oracle(Framework::Torch)?;
        let folder = tempfile::tempdir().unwrap();
        let said = run_python(&python, SCRIPT, &["make".as_ref(), folder.path()], &[]);
        let told: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_slice(&said).unwrap();
        let of = |(name, forms): (String, BTreeMap<String, Value>)| {
            forms.into_iter().map(move |(form, folds)| (format!("{name}.{form}"), folds))
        };
        Some(Self { python, folder, cases: told.into_iter().flat_map(of).collect() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self, case: &str) -> PathBuf {
        self.path(&format!("{case}.pt"))
    }

    fn open(&self, case: &str) -> Model {
        Model::open(self.archive(case)).unwrap()
    }

    /// The largest difference over the largest output, and the SQNR in decibels: of each archive beside another, and of the same once PyTorch has
    /// frozen it.
    fn distances(&self, pairs: &[(String, PathBuf, PathBuf)]) -> Vec<[(f64, f64); 2]> {
        let told = |(case, model, folded): &(String, PathBuf, PathBuf)| {
            let name = case.split('.').next().unwrap();
            json!({"input": self.path(&format!("{name}.input")), "model": model, "folded": folded})
        };
        let told: Vec<Value> = pairs.iter().map(told).collect();
        let said = run_python(&self.python, SCRIPT, &["check"], &serde_json::to_vec(&told).unwrap());
        serde_json::from_slice(&said).unwrap()
    }
}

fn config(text: &str, quantizer: Quantizer) -> ConfigList {
    ConfigList::parse(text, Some(quantizer)).unwrap()
}

fn per_channel(quantizer: Quantizer) -> ConfigList {
    config("[{op_types: 'default', quant_types: ['weight'], quant_bits: 8, per_channel: true}]", quantizer)
}

fn options(emit: Emit, fold: Fold) -> PlanOptions<'static> {
    PlanOptions { emit: Some(emit), fold, ..PlanOptions::default() }
}

/// The layer of each normalization that is folded, and the code of each that is not.
fn told(folds: &[Folded]) -> BTreeMap<String, String> {
    let told = |fold: &Folded| match fold.reason() {
        Some(reason) => reason.code.clone(),
        None => fold.layer.clone().unwrap(),
    };
    folds.iter().map(|fold| (fold.norm.clone(), told(fold))).collect()
}

fn folded(folds: &[Folded]) -> usize {
    folds.iter().filter(|fold| fold.is_folded()).count()
}

/// What an archive of this name may be off by.
fn bounds(case: &str) -> (f64, f64) {
    match case.split('.').next().unwrap() {
        // Eight bits of a number are stored: a weight is off by up to 2⁻⁹ of itself.
        "bfloat16" => (0.02, 35.0),
        "double" => (1e-13, 250.0),
        "mobilenet_v2" | "resnet18" => (OF_LARGEST, DEEP_DB),
        _ => (OF_LARGEST, SHALLOW_DB),
    }
}

#[test]
fn a_folded_archive_computes_what_it_did() {
    let Some(made) = Made::find() else { return };
    assert!(made.cases.len() > 60, "{}", made.cases.len());
    let mut pairs = Vec::new();
    for (case, expected) in &made.cases {
        let (source, out) = (made.archive(case), made.path(&format!("{case}.folded.pt")));
        let model = made.open(case).folded_everywhere().unwrap();
        let folds = model.folds().to_vec();
        match expected.as_u64() {
            Some(count) => assert_eq!((folded(&folds) as u64, folds.len() as u64), (count, count), "{case}: {folds:?}"),
            None => assert_eq!(json!(told(&folds)), *expected, "{case}: {folds:?}"),
        }
        let written = model.as_it_is().unwrap();
        let report = written.write_to(&out).unwrap();
        assert_eq!((&report.folds, report.bytes_before), (&folds, report.bytes_after), "{case}");
        let same = std::fs::read(&source).unwrap() == std::fs::read(&out).unwrap();
        assert_eq!(same, folded(&folds) == 0, "{case}: what folds nothing changes nothing");
        let again = Model::open(&out).unwrap().folded_everywhere().unwrap();
        assert_eq!(folded(again.folds()), 0, "{case}: {:?}", again.folds());
        assert_eq!(again.folds().len() + folded(&folds), folds.len(), "{case}: {:?}", again.folds());
        if folded(&folds) > 0 {
            pairs.push((case.clone(), source, out));
        }
    }
    for ((case, ..), distances) in pairs.iter().zip(made.distances(&pairs)) {
        for (off, decibel) in distances {
            eprintln!("{case}: {off:.1e} of the largest, {decibel:.1} dB");
            let (most, least) = bounds(case);
            assert!(off <= most && decibel >= least, "{case}: {off:e}, {decibel} dB");
        }
    }
    check_forms(&made, &pairs);
    check_choice(&made);
    check_plans(&made);
    check_ranges(&made);
}

/// The values of a weight are the same in every form, and those of the folded archive quantized by itself.
fn check_forms(made: &Made, folded: &[(String, PathBuf, PathBuf)]) {
    let config = per_channel(Quantizer::Naive);
    let mut pairs = Vec::new();
    for (case, source, float) in folded.iter().filter(|(case, ..)| !case.starts_with("resnet18")) {
        let write = |source: &Path, emit: Emit, fold: Fold| {
            let out = made.path(&format!("{case}.{emit}.{fold:?}.pt"));
            let model = Model::open(source).unwrap();
            let plan = model.plan(&config, options(emit, fold)).unwrap();
            assert_eq!(plan.quantized().count(), plan.sites.len(), "{case} as {emit}");
            model.apply(&plan).unwrap().write_to(&out).unwrap();
            let again = Model::open(&out).unwrap().plan(&config, options(emit, fold)).unwrap();
            assert_eq!((again.quantized().count(), self::folded(&again.folds)), (0, 0), "{case} as {emit}");
            out
        };
        let baked = write(source, Emit::Baked, Fold::On);
        pairs.push((case.clone(), baked.clone(), write(float, Emit::Baked, Fold::Off)));
        for emit in [Emit::Packed, Emit::Inference] {
            pairs.push((case.clone(), baked.clone(), write(source, emit, Fold::On)));
        }
    }
    for ((case, _, other), [(off, decibel), _]) in pairs.iter().zip(made.distances(&pairs)) {
        // The op of `inference` multiplies by 1 / scale, where the others divide: in three million weights it rounds some of those half way
        // between two codes to the other one, folded or not.
        let is_near = case.starts_with("mobilenet_v2") && decibel >= DEEP_DB;
        let same = off.abs() <= 0.0 || is_near && other.to_string_lossy().contains(".inference.");
        assert!(same, "{case}: {} differs by {off:e}, {decibel} dB", other.display());
    }
}

/// What is folded by itself depends on the weight's scales, and on no form but the one that is trained.
fn check_choice(made: &Made) {
    let all = [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training];
    let check = |case: &str, config: &ConfigList, expected: &str, trained: &str| {
        for emit in all.into_iter().filter(|emit| config.quantizer != Quantizer::Naive || *emit != Emit::Training) {
            let plan = made.open(case).plan(config, options(emit, Fold::Auto)).unwrap();
            let expected = if emit == Emit::Training { trained } else { expected };
            assert_eq!(told(&plan.folds)["norm"], expected, "{case} as {emit}");
            let step = if expected == "layer" { vec!["norms-folded"] } else { Vec::new() };
            assert_eq!(plan.prepared.iter().map(|step| step.code.as_str()).collect::<Vec<_>>(), step);
            let off = made.open(case).plan(config, options(emit, Fold::Off)).unwrap();
            assert_eq!(off.folds, []);
        }
    };
    for case in ["conv2d.script", "conv2d.trace", "depthwise.script"] {
        let text = |per_channel: &str| {
            format!("[{{op_types: 'default', quant_bits: 8, quant_types: ['weight']{per_channel}}}]")
        };
        for quantizer in [Quantizer::Naive, Quantizer::Qat] {
            check(case, &config(&text(", per_channel: true"), quantizer), "layer", "norm-trains");
            check(case, &config(&text(", per_channel: 'auto'"), quantizer), "layer", "norm-trains");
            check(case, &config(&text(", per_channel: false"), quantizer), "norm-per-tensor", "norm-trains");
        }
        let other =
            "[{op_types: 'default', quant_types: ['weight'], quant_bits: 8}, {op_types: 'Conv2d', exclude: true}]";
        check(case, &config(other, Quantizer::Qat), "norm-not-quantized", "norm-trains");
    }
    // One scale serves a channel of each group.
    check("transposed_groups.script", &per_channel(Quantizer::Naive), "norm-per-tensor", "norm-trains");
}

/// A plan that was written down folds what it says, or is refused.
fn check_plans(made: &Made) {
    let config = per_channel(Quantizer::Naive);
    let made_plan = made.open("looped.script").plan(&config, options(Emit::Packed, Fold::Auto)).unwrap();
    let text = serde_json::to_string(&made_plan).unwrap();
    let read: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(made.open("looped.script").check_plan(&read).unwrap(), made_plan);
    let write = |plan: &Plan| {
        let mut out = Vec::new();
        let report = made.open("looped.script").apply(plan).unwrap().write(&mut out).unwrap();
        (out, told(&report.folds))
    };
    let (whole, _) = write(&made_plan);
    assert_eq!(write(&read).0, whole);
    let mut one = made_plan.clone();
    one.folds.remove(1);
    let checked = made.open("looped.script").check_plan(&one).unwrap();
    let (part, folds) = write(&checked);
    assert_eq!(folds.into_iter().collect::<Vec<_>>(), [("blocks.0.norm".to_owned(), "blocks.0.conv".to_owned())]);
    assert_ne!(part, whole);
    let refused = |plan: &Plan, words: &str| {
        for result in [made.open("looped.script").check_plan(plan).err(), made.open("looped.script").apply(plan).err()]
        {
            let error = result.unwrap();
            assert!(matches!(error.innermost(), Error::Plan { .. }) && error.to_string().contains(words), "{error}");
        }
    };
    one.folds[0].norm = "blocks.9.norm".into();
    refused(&one, "`blocks.9.norm` is not in the model");
    let mut shared = made.open("both.script").plan(&config, options(Emit::Packed, Fold::Auto)).unwrap();
    shared.folds[0] = made_plan.folds[0].clone();
    shared.folds[0].norm = "norm".into();
    let error = made.open("both.script").apply(&shared).unwrap_err();
    assert!(error.to_string().contains("`norm` cannot be folded (norm-shared)"), "{error}");
}

/// Ranges know which layers had taken their batch norms; what such a layer makes is another tensor in the other archive.
fn check_ranges(made: &Made) {
    let text = "[{op_types: 'default', quant_types: ['weight', 'output'], quant_bits: 8, per_channel: true}]";
    let config = config(text, Quantizer::Qat);
    let data = made.path("data.npy");
    let numpy =
        "import numpy, sys; numpy.save(sys.argv[1], numpy.random.RandomState(1).randn(8, 3, 9, 9).astype('f4'))";
    let saved = std::process::Command::new(&made.python).args(["-c", numpy]).arg(&data).status().unwrap();
    assert!(saved.success());
    let running = Running { python: &made.python, data: &data, batch: 4, feeds: &[], threads: Some(1), verbose: false };
    let how = Calibration {
        running,
        counting: Counting::Exact,
        state: None,
        save_every: std::time::Duration::ZERO,
        resume: false,
    };
    let measured = |fold: Fold| {
        let model = made.open("conv2d.script").folded(&config, fold).unwrap();
        calibrate(model, &config, &how, &mut |_, _| {}).unwrap().0
    };
    let (on, off) = (measured(Fold::Auto), measured(Fold::Off));
    assert_eq!((on.folded.as_slice(), off.folded.as_slice()), (&["layer".to_owned()][..], &[][..]));
    let ends = |ranges: &quant_math::ranges::Ranges| {
        let found = ranges.find("layer", QuantType::Output, "layer:output").unwrap();
        (found.min, found.max)
    };
    assert_ne!(ends(&on), ends(&off));
    for (ranges, fold, fits) in
        [(&on, Fold::Auto, true), (&off, Fold::Off, true), (&on, Fold::Off, false), (&off, Fold::On, false)]
    {
        let options = PlanOptions { ranges: Some(ranges), ..options(Emit::Inference, fold) };
        let plan = made.open("conv2d.script").plan(&config, options);
        assert_eq!(plan.is_ok(), fits, "{fold:?}: {plan:?}");
        if let Ok(plan) = plan {
            let out = made.path("ranged.pt");
            made.open("conv2d.script").apply(&plan).unwrap().write_to(&out).unwrap();
        }
    }
}
