//! Which batch normalizations are folded, in the same words in both binaries.

use clap::Args;
use clap::builder::TypedValueParser;
use quant_math::fold::Fold;

use crate::args::words;

/// Which batch normalizations go into the layers before them.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct FoldArgs {
    #[arg(long, value_name = "WHERE", value_parser = fold_parser(), help = FOLD_HELP)]
    fold: Option<Fold>,
}

/// The same, where a plan that was written down can say it instead.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct PlanFoldArgs {
    #[arg(long, value_name = "WHERE", value_parser = fold_parser(), help = FOLD_HELP, conflicts_with = "plan")]
    fold: Option<Fold>,
}

const FOLD_HELP: &str = "Batch norms into the weights and biases of the layers before them: where the weight gets a scale for each channel \
                         (`auto`), wherever it can be done (`on`), or nowhere (`off`) [default: auto]";

impl FoldArgs {
    /// What was asked for, or the default.
    pub fn fold(self) -> Fold {
        self.fold.unwrap_or_default()
    }
}

impl PlanFoldArgs {
    /// What was asked for, or the default.
    pub fn fold(self) -> Fold {
        self.fold.unwrap_or_default()
    }
}

fn fold_parser() -> impl TypedValueParser<Value = Fold> {
    words([("auto", Fold::Auto), ("on", Fold::On), ("off", Fold::Off)])
}
