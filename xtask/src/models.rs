//! The models that examples, tests and benches work on.

use std::path::Path;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::oracles;
use crate::run::{python, root, run, run_aside};

/// Where those are that git does not have.
pub(crate) const FOLDER: &str = "target/models";

/// SavedModels that only measurements need: the folder in [`FOLDER`], and the script that makes it.
pub(crate) type SavedModel<'a> = (&'a str, &'a [&'a str]);
pub(crate) const MOBILENET: SavedModel<'_> =
    ("mobilenet_v2_export", &["tests/models/make_keras.py", "--export", "--only", "mobilenet_v2"]);
pub(crate) const RESNET: SavedModel<'_> =
    ("resnet50_export", &["tests/models/make_keras.py", "--export", "--only", "resnet50"]);
pub(crate) const BIG: SavedModel<'_> = ("big_saved_model", &["tests/models/make_big_saved_model.py"]);

#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    /// What to make; without it everything
    #[arg(value_enum)]
    which: Vec<Which>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// `examples/models/digits.pb`, the SavedModel beside it, its data and its ranges
    Digits,
    /// `target/models`: MobileNetV2 and ResNet50 with seeded weights
    Keras,
    /// `target/models`: a graph of 1.9 GB, and one that passes 2 GiB
    Big,
    /// `target/models`: a graph of 50,000 nodes
    Nodes,
    /// `examples/models/digits_script.pt` and `digits_traced.pt`, and the small archives of `tests/models/torch`
    Torch,
    /// `target/models`: a TorchScript archive of 1.07 GB
    BigTorch,
}

/// Makes the models.
pub(crate) fn make(args: &ModelsArgs) -> Result<()> {
    let all = Which::value_variants();
    let which = if args.which.is_empty() { all } else { &args.which };
    // The interpreter of TensorFlow serves the scripts that need none as well: it has NumPy.
    let script = |path: &str| run(python(&oracles::tensorflow()?).arg(root().join(path)));
    let torch = |path: &str, arguments: &[&str]| {
        run(python(&oracles::torch()?).arg(root().join(path)).args(arguments).current_dir(root()))
    };
    for which in which {
        match which {
            Which::Digits => {
                script("examples/models/make_digits.py")?;
                script("examples/models/make_digits_saved_model.py")?;
                script("examples/models/record_ranges.py")?;
            }
            Which::Keras => script("tests/models/make_keras.py")?,
            Which::Big => script("tests/models/make_big_graph.py")?,
            Which::Nodes => script("tests/models/make_many_nodes.py")?,
            Which::Torch => {
                torch("examples/models/make_digits_torch.py", &[])?;
                torch("tests/models/make_torch.py", &["tests/models/torch"])?;
            }
            Which::BigTorch => torch("tests/models/make_big_torch.py", &[])?,
        }
    }
    Ok(())
}

/// Make those that are not there.
pub(crate) fn bring(interpreter: &Path, models: &[SavedModel<'_>]) -> Result<()> {
    for (folder, script) in models {
        if !root().join(FOLDER).join(folder).is_dir() {
            run_aside(python(interpreter).args(*script))?;
        }
    }
    Ok(())
}
