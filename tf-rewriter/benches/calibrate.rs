//! `calibrate` against its limit, the plain inference that it must run, in one process and on the same batches.
//!
//! There are two such limits. The model's own inference never makes some of the tensors that are measured: TensorFlow fuses a
//! convolution with what follows it, unless somebody reads what is between. So each row has a second ratio, to an inference of which
//! those tensors are outputs, but for which nobody looks at their values.
//!
//! `cargo bench -p tf-rewriter --bench calibrate`; needs `cargo xtask models keras` first, and TensorFlow where `tf-rewriter doctor`
//! finds it, or as the package of the interpreter that `QUANT_TF_PYTHON` names.

#[cfg(feature = "run")]
#[expect(dead_code, reason = "the other bench measures memory, too")]
#[path = "../../benches/measure/mod.rs"]
mod measure;

#[cfg(not(feature = "run"))]
fn main() {}

#[cfg(feature = "run")]
fn main() -> measure::Outcome<()> {
    run::main()
}

#[cfg(feature = "run")]
mod run {
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use quant_math::Quantizer;
    use quant_math::config::ConfigList;
    use tensorflow::{ImportGraphDefOptions, Operation, Output, Session, SessionOptions, SessionRunArgs, Tensor};
    use tf_rewriter::Graph;
    use tf_rewriter::run::{Batch, Calibrator, EvaluateOptions, Evaluator, Feeds, Model, RunOptions, Search, VARIABLE};

    use crate::measure::{Outcome, in_turns, row};

    /// Tells this program that it was started with the library's folder in the environment.
    const BEGUN: &str = "QUANT_BENCH_BEGUN";
    const FIND: &str = "import importlib.util as u; print(u.find_spec('tensorflow').submodule_search_locations[0])";
    /// Batches of a turn.
    const BATCHES: usize = 4;

    pub(super) fn main() -> Outcome<()> {
        let mut out = anstream::stdout();
        if std::env::var_os(BEGUN).is_none() {
            // The library's folder is told in the environment, which must not change while there are threads.
            let search = Search::new(package().as_deref());
            let Ok(folder) = search.folder() else {
                writeln!(out, "TensorFlow is missing: see `tf-rewriter doctor`")?;
                return Ok(());
            };
            let mut again = Command::new(std::env::current_exe()?);
            again.env(BEGUN, "1").env(VARIABLE, folder.path()).env("TF_CPP_MIN_LOG_LEVEL", "3");
            let status = again.status()?;
            return if status.success() { Ok(()) } else { Err(format!("the bench ended with {status}").into()) };
        }
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models");
        for (name, file) in [("MobileNetV2", "mobilenet_v2"), ("ResNet50", "resnet50")] {
            let (model, input) = (models.join(format!("{file}.pb")), models.join(format!("{file}_input.npz")));
            if !model.exists() {
                writeln!(out, "{} is missing: run `cargo xtask models keras` first", model.display())?;
                return Ok(());
            }
            // NNI's documentation quantizes the outputs of activation functions.
            for (what, ops) in [("activations", "'Relu', 'Relu6'"), ("convolutions", "'default'")] {
                for observer in ["minmax", "entropy"] {
                    let config = format!(
                        "[{{op_types: [{ops}], quant_types: ['output'], quant_bits: 8, observer: '{observer}'}}]"
                    );
                    ratios(&mut out, &format!("{name}, {what}, {observer}"), (&model, &input), &config)?;
                }
            }
        }
        Ok(())
    }

    fn ratios(out: &mut impl Write, what: &str, (model, input): (&Path, &Path), config: &str) -> Outcome<()> {
        let config = ConfigList::parse(config, Some(Quantizer::Qat)).map_err(|errors| format!("{errors:?}"))?;
        let graph = Graph::open(model)?;
        let options = RunOptions::default();
        let mut calibrator = Calibrator::new(&graph, &config, &options)?;
        let plain = Model::new(&graph, &options)?;
        let mut plain = Evaluator::new(plain, None, &graph, &EvaluateOptions::default())?;
        let mut data = Feeds::open(calibrator.model(), input, None)?;
        let batch: Batch = data.next(u64::MAX)?.ok_or("an empty batch")?;
        calibrator.observe(&batch)?;
        let tensors = calibrator.ranges()?.ranges.into_iter().map(|range| range.tensor).collect::<Vec<_>>();
        let unread = Unread::new(&graph, calibrator.model().outputs(), &tensors)?;
        let (name, x) = batch.arrays.first().ok_or("no input")?;
        let x = Tensor::new(x.shape()).with_values(&x.to_f32())?;
        let mut calibrate = || (0..BATCHES).try_for_each(|_| calibrator.observe(&batch).map_err(Into::into));
        let (inference, calibration) = in_turns(
            || (0..BATCHES).try_for_each(|_| plain.add(data.path(), &batch, None).map(drop).map_err(Into::into)),
            &mut calibrate,
        )?;
        let what = format!("calibrate {what} ({}) /", tensors.len());
        row(out, &format!("{what} inference"), calibration, inference, Some(1.1))?;
        let (inference, calibration) =
            in_turns(|| (0..BATCHES).try_for_each(|_| unread.run(name, &x)), &mut calibrate)?;
        Ok(row(out, &format!("{what} tensors"), calibration, inference, Some(1.1))?)
    }

    /// A model with tensors that must be made, though only their sizes are read.
    struct Unread {
        graph: tensorflow::Graph,
        session: Session,
        fetches: Vec<Operation>,
    }

    impl Unread {
        fn new(graph: &Graph, outputs: &[String], tensors: &[String]) -> Outcome<Self> {
            let mut tf = tensorflow::Graph::new();
            tf.import_graph_def(graph.bytes(), &ImportGraphDefOptions::new())?;
            let find = |tf: &tensorflow::Graph, name: &str| -> Outcome<Output> {
                let (node, port) = name.split_once(':').unwrap_or((name, "0"));
                Ok(Output { operation: tf.operation_by_name_required(node)?, index: port.parse()? })
            };
            let mut fetches = Vec::new();
            for output in outputs {
                fetches.push(find(&tf, output)?.operation);
            }
            let mut sizes = Vec::new();
            for tensor in tensors {
                let tensor = find(&tf, tensor)?;
                let mut node = tf.new_operation("Size", &format!("bench/size_{}", sizes.len()))?;
                node.add_input(tensor);
                sizes.push(Output { operation: node.finish()?, index: 0 });
            }
            let mut node = tf.new_operation("Pack", "bench/sizes")?;
            node.add_input_list(&sizes);
            fetches.push(node.finish()?);
            let session = Session::new(&SessionOptions::new(), &tf)?;
            Ok(Self { graph: tf, session, fetches })
        }

        fn run(&self, input: &str, x: &Tensor<f32>) -> Outcome<()> {
            let mut run = SessionRunArgs::new();
            run.add_feed(&self.graph.operation_by_name_required(input)?, 0, x);
            for fetch in &self.fetches {
                run.request_fetch(fetch, 0);
            }
            Ok(self.session.run(&mut run)?)
        }
    }

    /// The `tensorflow` package of the interpreter that the tests use.
    fn package() -> Option<PathBuf> {
        let python = std::env::var_os("QUANT_TF_PYTHON")?;
        let output = Command::new(python).args(["-c", FIND]).output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim().into())
    }
}
