//! Frozen Keras MobileNetV2 and ResNet50 in every form that `compress` writes: TensorFlow runs each, every weight that reaches an op has
//! the reference's bits, and outputs are as far off as the errors of the weights let expect.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells its story on stderr"
)]

mod activations;
#[path = "../common/mod.rs"]
mod common;
mod way;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::tf::{Answer, Digest, Job, TensorFlow, digest};
use ndarray::ArrayD;
use quant_math::report::Report;
use quant_math::{Emit, Quantizer};
use tf_rewriter::{Fold, Graph, PlanOptions};
use way::{WAYS, Way};

const EMITS: [Emit; 3] = [Emit::Baked, Emit::Packed, Emit::Inference];

#[test]
fn mobilenet_v2_is_what_the_reference_says() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let trial = Trial::new(&tensorflow, "mobilenet_v2");
    assert_eq!(trial.ops.len(), 35 + 17 + 1, "convolutions, depthwise ones, and one dense layer");
    trial.check();
}

#[test]
fn resnet50_is_what_the_reference_says() {
    let Some(tensorflow) = TensorFlow::find() else { return };
    let trial = Trial::new(&tensorflow, "resnet50");
    assert_eq!(trial.ops.len(), 53 + 1, "convolutions and one dense layer");
    trial.check();
    for output in trial.outputs.iter().filter(|output| output.emit == Emit::Packed) {
        let Report { bytes_before, bytes_after, .. } = output.report;
        assert!(bytes_after * 100 <= bytes_before * 27, "{output}: {bytes_after} of {bytes_before} bytes");
    }
}

/// One model, compressed in every way.
struct Trial<'a> {
    tensorflow: &'a TensorFlow,
    model: PathBuf,
    inputs: PathBuf,
    /// The tensor that is compared at the end of the graph.
    logits: String,
    /// Type of each op that has a weight, by name.
    ops: BTreeMap<String, String>,
    outputs: Vec<Output>,
}

/// A compressed model.
struct Output {
    way: Way,
    emit: Emit,
    path: PathBuf,
    report: Report,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.way, self.emit)
    }
}

impl<'a> Trial<'a> {
    fn new(tensorflow: &'a TensorFlow, name: &str) -> Self {
        let (model, inputs, names) = tensorflow.keras(name);
        let outputs: Vec<Output> = WAYS
            .iter()
            .flat_map(|way| EMITS.map(|emit| (*way, emit)))
            .map(|(way, emit)| {
                let path = tensorflow.path(&format!("{way} {emit}.pb"));
                let graph = Graph::open(&model).unwrap();
                // What reaches an op is held against the constant of the graph.
                let options = PlanOptions { emit: Some(emit), fold: Fold::Off, ..PlanOptions::default() };
                let plan = graph.plan(&way.config(), options).unwrap();
                let report = graph.apply(&plan).unwrap().write_to(&path).unwrap();
                Output { way, emit, path, report }
            })
            .collect();
        let sites = outputs[0].report.sites.iter().filter(|s| s.site.settings().is_some());
        let ops = sites.map(|s| (s.site.op.clone(), s.site.op_type.clone())).collect();
        Self { tensorflow, model, inputs, logits: names["logits"].as_str().unwrap().to_owned(), ops, outputs }
    }

    /// What the ops read as their weights.
    fn edges(&self) -> impl Iterator<Item = String> {
        self.ops.keys().map(|op| format!("{op}@1"))
    }

    fn job(&self, model: &Path, grappler: bool) -> Job {
        Job {
            model: model.to_owned(),
            inputs: Some(self.inputs.clone()),
            fetch: vec![self.logits.clone()],
            digest: Vec::new(),
            grappler,
            noise: None,
        }
    }

    fn check(&self) {
        // One process runs them all, in this order.
        let mut jobs = vec![Job { fetch: self.edges().collect(), ..self.job(&self.model, false) }];
        jobs.push(self.job(&self.model, true));
        jobs.extend(PREDICTED.iter().flat_map(|way| self.disturbed(*way)));
        jobs.extend(
            self.outputs.iter().flat_map(|output| [false, true].map(|grappler| self.output_job(output, grappler))),
        );
        let mut answers = self.tensorflow.run(&jobs).into_iter();
        let mut next = || answers.next().unwrap();

        let expected = Expected::new(&next(), &self.ops);
        let float = next().array(&self.logits);
        let mut error = |_| squared_error(&float, &next().array(&self.logits));
        let predicted = PREDICTED.map(|way| (way, SEEDS.map(&mut error).iter().sum::<f64>() / 3.0));
        for output in &self.outputs {
            for grappler in ["off", "on"] {
                let story = format!("{output}, grappler {grappler}");
                let answer = answers.next().unwrap();
                expected.check(output, &answer, &story);
                let found = squared_error(&float, &answer.array(&self.logits));
                let Some((_, predicted)) = predicted.iter().find(|(way, _)| *way == output.way) else { continue };
                eprintln!("{story}: squared error of the logits {found:.1}, predicted {predicted:.1}");
                assert!(found <= ERROR_FACTOR * predicted, "{story}: {found}, predicted {predicted}");
            }
        }
    }

    fn output_job(&self, output: &Output, grappler: bool) -> Job {
        let mut job = self.job(&output.path, grappler);
        // Digests say that all is right; where a few values may differ, the values must come.
        let tensors = if output.in_graph_dorefa() { &mut job.fetch } else { &mut job.digest };
        tensors.extend(self.edges());
        job
    }

    /// The float model with each weight disturbed by uniform noise of the mean square error that the report has for it.
    fn disturbed(&self, way: Way) -> [Job; 3] {
        let baked = self.outputs.iter().find(|output| output.way == way && output.emit == Emit::Baked).unwrap();
        let sites = baked.report.sites.iter().filter_map(|site| Some((site.site.op.clone(), site.metrics?.mse)));
        let noise: BTreeMap<String, f64> = sites.collect();
        assert_eq!(noise.len(), self.ops.len());
        SEEDS.map(|seed| Job { noise: Some((seed, noise.clone())), ..self.job(&self.model, true) })
    }
}

/// The ways whose errors at the output are predicted. DoReFa turns weights of a few hundredths into weights of up to 1: fifty layers of
/// that overflow, as they must.
const PREDICTED: [Way; 2] = [WAYS[0], WAYS[1]];
const SEEDS: [u64; 3] = [1, 2, 3];

/// How far the squared error of the logits may lie above the prediction, the mean over the disturbed models.
///
/// To first order the error of the logits is a sum over all weights of sensitivity times error. Rounding errors are spread like uniform
/// noise of the same mean square and do not depend on the sensitivities, so quantization is one more draw of the noise, and its squared
/// error has the same mean. Two draws differ by 10 to 20 % here, as a chi-squared variable with about 100 degrees of freedom does;
/// the ratio of two such exceeds 2 less than once in a thousand, and the prediction is a mean of three.
const ERROR_FACTOR: f64 = 2.0;

fn squared_error(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

impl Output {
    fn in_graph_dorefa(&self) -> bool {
        self.way.quantizer == Quantizer::DoReFa && self.emit == Emit::Inference
    }
}

/// What must reach each op as its weight.
struct Expected<'a> {
    ops: &'a BTreeMap<String, String>,
    /// By op and way.
    reference: BTreeMap<String, Vec<Digest>>,
    fake_quant: BTreeMap<String, Vec<Digest>>,
    dorefa: BTreeMap<String, ArrayD<f32>>,
}

impl<'a> Expected<'a> {
    fn new(float: &Answer, ops: &'a BTreeMap<String, String>) -> Self {
        let mut expected =
            Self { ops, reference: BTreeMap::new(), fake_quant: BTreeMap::new(), dorefa: BTreeMap::new() };
        let digest_of = |values: &ArrayD<f32>| digest(values.shape(), values.as_slice().unwrap());
        for (op, op_type) in ops {
            let weights = float.array(&format!("{op}@1"));
            let (mut references, mut fake_quants) = (Vec::new(), Vec::new());
            for way in WAYS {
                let reference = way.reference(&weights, op_type);
                references.push(digest_of(&reference));
                if way.quantizer == Quantizer::DoReFa {
                    // No FakeQuant op makes these; the values themselves are compared.
                    fake_quants.push(digest_of(&reference));
                    expected.dorefa.insert(op.clone(), reference);
                } else {
                    fake_quants.push(digest_of(&way.fake_quant(&weights, op_type)));
                }
            }
            expected.reference.insert(op.clone(), references);
            expected.fake_quant.insert(op.clone(), fake_quants);
        }
        expected
    }

    fn check(&self, output: &Output, answer: &Answer, story: &str) {
        if output.in_graph_dorefa() {
            return self.check_dorefa(answer, story);
        }
        let way = WAYS.iter().position(|way| *way == output.way).unwrap();
        let digests = if output.emit == Emit::Inference { &self.fake_quant } else { &self.reference };
        for (op, digests) in digests {
            assert_eq!(answer.digest(&format!("{op}@1")), digests[way], "{story}: weights of {op}");
        }
    }

    /// TensorFlow's tanh is not ours: one level of difference on at most one value in 100,000.
    fn check_dorefa(&self, answer: &Answer, story: &str) {
        // Values are 2·q/255 − 1, so a level is 2/255. Within a level, TensorFlow may have divided by multiplying with the inverse, which
        // is off by 2^-24 of itself and whose product, at most 2, rounds by another 2^-24 of itself: 2^-22 in all, and 2^-24 for
        // the subtraction.
        const LEVEL: f32 = 2.0 / 255.0;
        const ROUNDING: f32 = 1.0 / 4_194_304.0 + 1.0 / 16_777_216.0;
        let (mut different, mut all) = (0, 0);
        for op in self.ops.keys() {
            let (found, expected) = (answer.array(&format!("{op}@1")), &self.dorefa[op]);
            assert_eq!(found.shape(), expected.shape());
            for (found, expected) in found.iter().zip(expected) {
                let off = (found - expected).abs();
                let one_level = (off - LEVEL).abs() <= 2.0 * ROUNDING;
                assert!(off <= ROUNDING || one_level, "{story}: weights of {op}: {found}, expected {expected}");
                different += usize::from(one_level);
            }
            all += expected.len();
        }
        eprintln!("{story}: {different} of {all} weights are a level off");
        assert!(different * 100_000 <= all, "{story}: {different} of {all} weights differ");
    }
}
