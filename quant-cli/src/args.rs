//! Argument groups: what both binaries take, they take in the same words.

use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use quant_math::codes;
use quant_math::config::{ConfigErrorKind, ConfigErrors, ConfigList, Preset};
use quant_math::plan::{Emit, Gradient, Quantizer, Reason};
use quant_math::quantizers::table::DefaultForm;

use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::out::Out;
use crate::side::{self, SideError};

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalArgs {
    /// Print JSON: the result on standard output, errors and warnings as one object a line on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,

    /// Print errors and warnings alone
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub quiet: bool,

    /// Work with N threads; the output does not depend on it, but that of training in TensorFlow [default: one per core]
    #[arg(long, short, global = true, value_name = "N", help_heading = "Global options")]
    pub jobs: Option<NonZeroUsize>,

    /// Let what is read from a file take up to BYTES of memory [default: 256 MiB, or 16 times the file's length where that is more]
    #[arg(long, global = true, value_name = "BYTES", help_heading = "Global options")]
    pub memory_limit: Option<u64>,

    /// Say more on standard error about what is done and how long it takes; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
}

impl GlobalArgs {
    /// Where the result goes: standard output, or nowhere with `--quiet` (`--json` is asked for by programs, and stays).
    pub fn out(&self) -> Out {
        if self.quiet && !self.json { Out::sink() } else { Out::stdout() }
    }

    /// The same beside an output file; when that is standard output, text goes to standard error.
    pub fn out_beside(&self, destination: &Destination) -> Out {
        match destination {
            Destination::File(_) => self.out(),
            Destination::Stdout if self.quiet => Out::sink(),
            Destination::Stdout => Out::stderr(),
        }
    }

    /// Tell errors and warnings on standard error.
    pub fn tell<'a>(&self, diagnostics: impl IntoIterator<Item = &'a Diagnostic>) {
        let mut out = anstream::stderr().lock();
        for diagnostic in diagnostics {
            let told = if self.json { diagnostic.write_json(&mut out) } else { diagnostic.write_text(&mut out) };
            // Where standard error is closed, nobody is there to be told.
            drop(told);
        }
    }

    /// Tell warnings on standard error.
    pub fn warn(&self, reasons: &[Reason]) {
        self.tell(&reasons.iter().map(Diagnostic::from_reason).collect::<Vec<_>>());
    }
}

/// What to quantize and how.
#[derive(Debug, Clone, Default, Args)]
pub struct QuantizeArgs {
    /// The quantizer; may stand in the config instead
    #[arg(long, short = 'Q', value_name = "QUANTIZER", value_parser = quantizer_parser())]
    pub quantizer: Option<Quantizer>,

    /// NNI's config_list, as JSON5 or as it stands in Python (`-`: standard input) [default: the weights of every default op, 8 bits]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Stand on a whole arithmetic in place of the defaults, keys of the config win: `nni` is one scale per tensor, and naive rounds toward zero
    #[arg(long, value_name = "PRESET", value_parser = preset_parser())]
    pub preset: Option<Preset>,

    /// Fail where a part of the config matches nothing, or has no effect
    #[arg(long)]
    pub strict: bool,

    /// Go on where no entry of the config matches an op of the model
    #[arg(long, conflicts_with = "strict")]
    pub allow_unmatched: bool,
}

/// In which form.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct EmitArgs {
    /// The form of the output
    #[arg(long, value_name = "FORM", value_parser = emit_parser(), help = emit_help())]
    pub(crate) emit: Option<Emit>,
}

fn quantizer_parser() -> impl TypedValueParser<Value = Quantizer> {
    quantizers(Quantizer::all())
}

/// A parser of the names of `these`.
pub fn quantizers(these: impl Iterator<Item = Quantizer>) -> impl TypedValueParser<Value = Quantizer> {
    words(these.map(|quantizer| (quantizer.row().name, quantizer)).collect::<Vec<_>>())
}

fn preset_parser() -> impl TypedValueParser<Value = Preset> {
    words([("nni", Preset::Nni)])
}

fn emit_help() -> String {
    let default = |quantizer: Quantizer| match quantizer.row().default_form {
        DefaultForm::Always(form) => format!("{quantizer} {form}"),
        DefaultForm::ByRanges => format!("{quantizer} inference where all ranges are known, else training"),
    };
    format!("The form of the output [default: {}]", Quantizer::all().map(default).collect::<Vec<_>>().join("; "))
}

fn emit_parser() -> impl TypedValueParser<Value = Emit> {
    words([
        ("training", Emit::Training),
        ("inference", Emit::Inference),
        ("baked", Emit::Baked),
        ("packed", Emit::Packed),
    ])
}

/// A parser that knows its words, for the help and for completions.
pub fn words<T>(all: impl Into<Vec<(&'static str, T)>>) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let all = all.into();
    PossibleValuesParser::new(all.iter().map(|(word, _)| *word)).try_map(move |given| {
        let found = all.iter().find(|(word, _)| *word == given);
        found.map(|(_, value)| *value).ok_or("not one of the possible values")
    })
}

/// How a training graph is going to be differentiated.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct GradientArgs {
    /// How gradients pass the rounding in `training`: by the fake-quant op, which Python differentiates, or by ops that TensorFlow's C API
    /// differentiates too [default: op]
    #[arg(long, value_name = "STYLE", value_parser = gradient_parser(), conflicts_with = "plan")]
    pub gradient: Option<Gradient>,
}

fn gradient_parser() -> impl TypedValueParser<Value = Gradient> {
    words([("op", Gradient::Op), ("composed", Gradient::Composed)])
}

impl QuantizeArgs {
    /// Read the config, or take the default one. What is wrong with it is a [`Failure::usage`] with every error.
    ///
    /// # Errors
    /// A [`Failure::usage`] with everything that is wrong with the config, or where no quantizer is named; a file that cannot be read.
    pub fn config_list(&self) -> Result<ConfigList, Failure> {
        match (&self.config, self.quantizer) {
            (Some(path), quantizer) => {
                let text = read_config(path)?;
                ConfigList::parse_on(&text, quantizer, self.preset)
                    .map_err(|errors| Failure::config(&errors, Some(&shown(path))))
            }
            (None, Some(quantizer)) => Ok(ConfigList::preset_for(quantizer, self.preset)),
            (None, None) => {
                let diagnostic = Diagnostic::error("U0101", "no quantizer is named");
                Err(Failure::usage(diagnostic.help(format!(
                    "give `--quantizer {}`, or a `--config` that names one",
                    Quantizer::names().join("|")
                ))))
            }
        }
    }

    /// The config whose `input` and `output` sites are measured; without a file, those of every default op.
    ///
    /// # Errors
    /// Those of [`config_list`](Self::config_list).
    pub fn measured_config(file: Option<&Path>) -> Result<ConfigList, Failure> {
        const EVERYTHING: &str = "[{op_types: 'default', quant_types: ['input', 'output'], quant_bits: 8}]";
        // QAT alone has activations with ranges.
        let quantizer = Some(Quantizer::Qat);
        match file {
            Some(path) => Self { quantizer, config: Some(path.to_owned()), ..Self::default() }.config_list(),
            None => Ok(ConfigList::parse(EVERYTHING, quantizer)?),
        }
    }

    /// The config whose weights are measured; without a file, those of every default op. A list of entries may be for any quantizer that has
    /// grids: which of them counts for nothing here.
    ///
    /// # Errors
    /// Those of [`config_list`](Self::config_list).
    pub fn weights_config(file: Option<&Path>) -> Result<ConfigList, Failure> {
        let Some(path) = file else { return Ok(ConfigList::default_for(Quantizer::Naive)) };
        let text = read_config(path)?;
        let parse = |quantizer| ConfigList::parse(&text, quantizer);
        let unnamed = |errors: &ConfigErrors| {
            errors.first().kind == ConfigErrorKind::Missing && errors.first().path == "quantizer"
        };
        let parsed = match parse(None) {
            Err(errors) if unnamed(&errors) => {
                parse(Some(Quantizer::Naive)).or_else(|errors| parse(Some(Quantizer::Qat)).map_err(|_| errors))
            }
            parsed => parsed,
        };
        parsed.map_err(|errors| Failure::config(&errors, Some(&shown(path))))
    }

    /// Tell the warnings of a plan: those about the config as [`check`](Self::check) does, and the others as they are.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub(crate) fn check_all(&self, global: &GlobalArgs, warnings: &[Reason]) -> Result<(), Failure> {
        let (about_config, others): (Vec<Reason>, Vec<Reason>) =
            warnings.iter().cloned().partition(Reason::is_about_config);
        self.check(global, &about_config)?;
        global.warn(&others);
        Ok(())
    }

    /// Tell what of the config matches nothing or has no effect; with `--strict` that is an error. So is a config of which no entry
    /// matches, unless that is allowed; a model without layers is none of the default config's making.
    ///
    /// # Errors
    /// A [`Failure::usage`] with what matches nothing, where that is forbidden.
    pub fn check(&self, global: &GlobalArgs, reasons: &[Reason]) -> Result<(), Failure> {
        if reasons.is_empty() || !self.strict {
            let fatal =
                |reason: &Reason| reason.is(codes::NO_ENTRY_MATCHES) && self.config.is_some() && !self.allow_unmatched;
            let (errors, warnings): (Vec<Reason>, Vec<Reason>) = reasons.iter().cloned().partition(fatal);
            global.warn(&warnings);
            let Some(error) = errors.first() else { return Ok(()) };
            let diagnostic = Diagnostic::error(&error.code, error.text.clone());
            let help = "`inspect` shows the names and types of a model; with `--allow-unmatched` this is a warning";
            let diagnostic = self.config.iter().fold(diagnostic, |diagnostic, path| diagnostic.at(shown(path)));
            return Err(Failure::usage(diagnostic.help(help)));
        }
        let error = |reason: &Reason| {
            let diagnostic = Diagnostic::error(&reason.code, reason.text.clone());
            match &self.config {
                Some(path) => diagnostic.at(shown(path)),
                None => diagnostic,
            }
        };
        Err(Failure::usages(reasons.iter().map(error).collect()))
    }
}

pub(crate) fn shown(path: &Path) -> String {
    if is_dash(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn read_config(path: &Path) -> Result<String, Failure> {
    /// No config is near to this many MiB; a model given by mistake is beyond it.
    const LARGEST: u64 = 1;
    side::read(path, LARGEST, true).map_err(|error| {
        let diagnostic = Diagnostic::error("U0102", "cannot read the config").at(shown(path)).caused_by(&error);
        Failure::usage(match error {
            SideError::TooLarge(_) | SideError::NotText => diagnostic.help("is this the model? a config is text"),
            SideError::Io(_) | SideError::NoFile => diagnostic,
        })
    })
}

/// Where the result of a command goes.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// The output file (`-`: standard output); it may be the input
    #[arg(long, short, value_name = "OUT")]
    pub output: PathBuf,
}

/// A place for bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file, to be written with [`AtomicFile`](model_file::AtomicFile).
    File(PathBuf),
}

impl OutputArgs {
    /// The place; a terminal is refused.
    ///
    /// # Errors
    /// A [`Failure::usage`] for a terminal.
    pub fn destination(&self) -> Result<Destination, Failure> {
        self.destination_for(io::stdout().is_terminal())
    }

    fn destination_for(&self, terminal: bool) -> Result<Destination, Failure> {
        if !is_dash(&self.output) {
            return Ok(Destination::File(self.output.clone()));
        }
        if terminal {
            let diagnostic = Diagnostic::error("U0103", "standard output is a terminal, and a model is no text");
            return Err(Failure::usage(diagnostic.help("write to a file with `-o OUT`, or into a pipe")));
        }
        Ok(Destination::Stdout)
    }
}

impl Destination {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Stdout => None,
            Self::File(path) => Some(path),
        }
    }

    /// Refuse a file that cannot be made, before work is done for it.
    ///
    /// # Errors
    /// What stands against it.
    pub fn probe(&self) -> Result<(), Failure> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(path) => probe(path),
        }
    }
}

pub(crate) fn probe(path: &Path) -> Result<(), Failure> {
    model_file::atomic::probe(path).map_err(|error| Failure::from(error).at(&path.display().to_string()))
}

/// The report.
#[derive(Debug, Clone, Default, Args)]
pub struct ReportArgs {
    /// Write what was done to every site, and what it cost, as one HTML file
    #[arg(long, value_name = "R.html")]
    pub report: Option<PathBuf>,
}

impl ReportArgs {
    /// Refuse a report that cannot be made, before work is done for it.
    ///
    /// # Errors
    /// What stands against it.
    pub fn probe(&self) -> Result<(), Failure> {
        match &self.report {
            Some(path) => probe(path),
            None => Ok(()),
        }
    }

    /// Write the file, if one was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, report: &quant_math::report::Report) -> Result<(), Failure> {
        match &self.report {
            Some(path) => Ok(model_file::atomic::write(path, crate::html::report_html(report).as_bytes())?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "tool", version)]
    pub(crate) struct Cli {
        #[command(flatten)]
        global: GlobalArgs,
        #[command(flatten)]
        quantize: QuantizeArgs,
        #[command(flatten)]
        emit: EmitArgs,
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        report: ReportArgs,
    }

    fn parse(args: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(args.split_whitespace())
    }

    #[test]
    fn the_groups_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_read() {
        let cli =
            parse("tool -Q qat -c c.json --emit packed --strict -o out.pb --report r.html --json -q -j 2 -vv").unwrap();
        assert_eq!((cli.quantize.quantizer, cli.emit.emit), (Some(Quantizer::Qat), Some(Emit::Packed)));
        assert!(cli.quantize.strict && cli.global.json && cli.global.quiet);
        assert_eq!((cli.global.jobs, cli.global.verbose), (NonZeroUsize::new(2), 2));
        assert_eq!(cli.output.destination_for(true).unwrap(), Destination::File("out.pb".into()));
        assert_eq!(cli.report.report.as_deref(), Some(Path::new("r.html")));
    }

    #[test]
    fn wrong_words_name_the_right_ones() {
        let error = parse("tool -o x --quantizer bnn").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("[possible values: naive, qat, dorefa, lsq]"), "{error}");
        let error = parse("tool -o x --emit onnx").unwrap_err();
        assert!(error.to_string().contains("[possible values: training, inference, baked, packed]"), "{error}");
        assert_eq!(parse("tool -o x --jobs 0").unwrap_err().exit_code(), 2);
        assert_eq!(parse("tool").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn binary_output_to_a_terminal_is_refused() {
        let output = OutputArgs { output: "-".into() };
        assert_eq!(output.destination_for(false).unwrap(), Destination::Stdout);
        let failure = output.destination_for(true).unwrap_err();
        assert_eq!((failure.exit_code(), failure.diagnostics()[0].code.as_str()), (2, "U0103"));
    }

    #[test]
    fn a_config_comes_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let config = |bytes: &[u8]| {
            let path = folder.path().join("c.json");
            model_file::atomic::write(&path, bytes).unwrap();
            QuantizeArgs { quantizer: Some(Quantizer::Qat), config: Some(path), ..QuantizeArgs::default() }
        };
        let read = config(b"[{op_types: 'default', quant_types: ['weight'], q_bits: 4}]").config_list().unwrap();
        assert_eq!((read.quantizer, read.entries.len()), (Quantizer::Qat, 1));

        let code = |bytes: &[u8]| {
            let failure = config(bytes).config_list().unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            assert!(failure.diagnostics()[0].location.as_deref().unwrap().ends_with("c.json"));
            failure.diagnostics()[0].code.clone()
        };
        assert_eq!(code(b"[{op_typos: 'default'}]"), "C0102");
        assert_eq!(code(b"\x0a\xff\x00"), "U0102");
        assert_eq!(code(&vec![b' '; (1 << 20) + 1]), "U0102");
        let missing = QuantizeArgs { config: Some(folder.path().join("none")), ..QuantizeArgs::default() };
        let failure = missing.config_list().unwrap_err();
        assert_eq!((failure.exit_code(), failure.diagnostics()[0].code.as_str()), (2, "U0102"));
    }

    #[test]
    fn without_a_config_the_quantizer_is_needed() {
        let args = QuantizeArgs { quantizer: Some(Quantizer::Naive), ..QuantizeArgs::default() };
        assert_eq!(args.config_list().unwrap(), ConfigList::default_for(Quantizer::Naive));
        let preset = QuantizeArgs { preset: Some(Preset::Nni), ..args };
        assert_eq!(preset.config_list().unwrap(), ConfigList::preset_for(Quantizer::Naive, Some(Preset::Nni)));
        let failure = QuantizeArgs::default().config_list().unwrap_err();
        assert_eq!((failure.exit_code(), failure.diagnostics()[0].code.as_str()), (2, "U0101"));
    }

    #[test]
    fn strict_turns_warnings_into_a_usage_error() {
        let reasons = [Reason::new(codes::UNMATCHED, "config_list[0].op_types: `x` matches no op in this model")];
        let args = QuantizeArgs { config: Some("c.json".into()), ..QuantizeArgs::default() };
        args.check(&GlobalArgs::default(), &reasons).unwrap();
        // No entry at all: an error for a config that was given, unless it is allowed.
        let nothing = [Reason::new(codes::NO_ENTRY_MATCHES, "config_list: no entry matches an op of this model")];
        let failure = args.check(&GlobalArgs::default(), &nothing).unwrap_err();
        assert_eq!((failure.exit_code(), failure.diagnostics()[0].code.as_str()), (2, "C0110"));
        assert!(failure.diagnostics()[0].help.as_deref().unwrap().contains("--allow-unmatched"));
        QuantizeArgs { allow_unmatched: true, ..args.clone() }.check(&GlobalArgs::default(), &nothing).unwrap();
        QuantizeArgs { config: None, ..args.clone() }.check(&GlobalArgs::default(), &nothing).unwrap();
        let strict = QuantizeArgs { strict: true, ..args };
        strict.check(&GlobalArgs::default(), &[]).unwrap();
        let failure = strict.check(&GlobalArgs::default(), &reasons).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert_eq!(failure.diagnostics()[0].location.as_deref(), Some("c.json"));
    }
}
