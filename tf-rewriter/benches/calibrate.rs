//! `calibrate` against its limit, the plain inference that it must run, in one process and on the same batches.
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
    use tf_rewriter::Graph;
    use tf_rewriter::run::{Batch, Calibrator, Data, EvaluateOptions, Evaluator, Model, RunOptions, Search, VARIABLE};

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
        let (model, input) = (models.join("mobilenet_v2.pb"), models.join("mobilenet_v2_input.npz"));
        if !model.exists() {
            writeln!(out, "{} is missing: run `cargo xtask models keras` first", model.display())?;
            return Ok(());
        }
        for observer in ["minmax", "entropy"] {
            ratio(&mut out, &model, &input, observer)?;
        }
        Ok(())
    }

    fn ratio(out: &mut impl Write, model: &Path, input: &Path, observer: &str) -> Outcome<()> {
        let config =
            format!("[{{op_types: 'default', quant_types: ['output'], quant_bits: 8, observer: '{observer}'}}]");
        let config = ConfigList::parse(&config, Some(Quantizer::Qat)).map_err(|errors| format!("{errors:?}"))?;
        let graph = Graph::open(model)?;
        let options = RunOptions::default();
        let mut calibrator = Calibrator::new(&graph, &config, &options)?;
        let plain = Model::new(&graph, &options)?;
        let mut plain = Evaluator::new(plain, None, &graph, &EvaluateOptions::default())?;
        let mut data = Data::open(input, &calibrator.model().input_names())?;
        let batch: Batch = data.next(u64::MAX)?.ok_or("an empty batch")?;
        let (inference, calibration) = in_turns(
            || (0..BATCHES).try_for_each(|_| plain.add(&data, &batch, None).map(drop).map_err(Into::into)),
            || (0..BATCHES).try_for_each(|_| calibrator.observe(&data, &batch).map_err(Into::into)),
        )?;
        let ranges = calibrator.ranges()?.ranges.len();
        let what = format!("calibrate MobileNetV2, {ranges} x {observer} / inference");
        Ok(row(out, &what, calibration, inference, Some(1.1))?)
    }

    /// The `tensorflow` package of the interpreter that the tests use.
    fn package() -> Option<PathBuf> {
        let python = std::env::var_os("QUANT_TF_PYTHON")?;
        let output = Command::new(python).args(["-c", FIND]).output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim().into())
    }
}
