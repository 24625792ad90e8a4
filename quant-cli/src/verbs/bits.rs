//! `compress` with bits that are searched for: what is asked for, and the way from single measurements to a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use quant_math::Emit;
use quant_math::allocation::{Goal, Mixable};
use quant_math::config::ConfigList;
use quant_math::plan::Quantizer;
use quant_math::sensitivity::{Loss, Sensitivity};
use quant_math::weights::Storage;

use super::compress::{destination, write_result_with};
use super::mix::Search;
use super::{Adapter, CompressArgs};
use crate::args::{GlobalArgs, probe};
use crate::diagnostic::Diagnostic;
use crate::failure::Failure;

/// What a search for bits is told, but for the data.
#[derive(Debug, Args)]
pub struct BitsArgs {
    /// Search bits for each weight: the smallest model that drops at most so many percent of the samples (`1%`, in points: with labels, right before
    /// and not now; without, of another first class than the float model's)
    #[arg(long, value_name = "PERCENT", value_parser = percent, group = "goal", conflicts_with_all = ["plan", "ranges"],
          requires = "data", help_heading = HEADING)]
    max_drop: Option<f64>,

    /// Search bits for each weight: the model that loses least in at most this share of the model's file (`30%`; of all files of a SavedModel), or so
    /// many bytes (`4MB`, `512KiB`)
    #[arg(long, value_name = "SIZE", group = "goal", conflicts_with_all = ["plan", "ranges"], requires = "data", help_heading = HEADING)]
    max_size: Option<Size>,

    /// Search bits for each weight: the smallest model whose outputs have at least so many decibels of signal over noise
    #[arg(long, value_name = "DB", value_parser = decibels, group = "goal", conflicts_with_all = ["plan", "ranges"], requires = "data",
          help_heading = HEADING)]
    min_sqnr: Option<f64>,

    /// The numbers of bits that a weight can have, besides float (comma-separated); of those that are stored alike (8 to 5, 4 and 3, 2) the most is taken
    #[arg(long, value_name = "BITS", value_delimiter = ',', default_values_t = [8, 4], requires = "goal", help_heading = HEADING)]
    bits: Vec<u32>,

    /// Write the config that makes the same model again
    #[arg(long, value_name = "C.json", requires = "goal", help_heading = HEADING)]
    write_config: Option<PathBuf>,
}

const HEADING: &str = "Bits by search";

/// A share of the model's file, or bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Size {
    Share(f64),
    Bytes(u64),
}

impl Size {
    /// Bytes, of a model of so many.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share, of 0 or more"
    )]
    pub(super) fn of(self, before: u64) -> u64 {
        match self {
            Self::Share(share) => (share * before as f64).floor() as u64,
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const UNITS: [(&str, u64); 7] = [
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("kB", 1000),
            ("KB", 1000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
        ];
        if text.ends_with('%') {
            return percent(text).map(Self::Share);
        }
        let wrong =
            || format!("`{text}` is no size, expected a share like `30%`, or bytes like `4000000`, `4MB` or `4MiB`");
        let (number, unit) = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))
            .unwrap_or((text.strip_suffix('B').unwrap_or(text), 1));
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        #[expect(clippy::cast_precision_loss, reason = "a unit")]
        let bytes = number * unit as f64;
        if !(0.0..1e18).contains(&bytes) {
            return Err(wrong());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 1e18, and not below 0")]
        let bytes = bytes as u64;
        Ok(Self::Bytes(bytes))
    }
}

/// `1%` as 0.01.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let number = number.filter(|number| number.is_finite() && *number >= 0.0);
    number
        .map(|number| number / 100.0)
        .ok_or_else(|| format!("`{text}` is no percentage, expected one like `1%` or `0.5%`"))
}

fn decibels(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches("dB").trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("`{text}` is no number of decibels, expected one like `30`"))
}

/// A model that can be run with any bits, made by an adapter: each weight was measured alone at each number of bits, and all together.
pub trait Mixing {
    /// What each weight costs, in the order of the plan.
    fn measured(&self) -> &Sensitivity;
    /// For each of these sites, the entry of the config that has decided.
    fn entries(&self) -> &[usize];
    /// What can be chosen.
    fn weights(&self) -> &[Mixable];
    /// The bits that a config gives the weights of the model that is measured, by the names of their ops.
    ///
    /// # Errors
    /// What the config asks for and the model cannot do.
    fn bits_of(&self, config: &ConfigList) -> Result<BTreeMap<String, u32>, Failure>;
    /// Run all data through the model in which each site has these bits; `None`: float.
    ///
    /// # Errors
    /// Those of the run.
    fn run(&mut self, bits: &[Option<u32>]) -> Result<Loss, Failure>;
    /// Make the model that a config comes to in a form, and run all data through it.
    ///
    /// # Errors
    /// Those of the run.
    fn verify(&mut self, config: &ConfigList, emit: Emit) -> Result<Loss, Failure>;
}

/// What an adapter must measure before there is a search.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The sites, their scales and the quantizer.
    pub config: &'a ConfigList,
    /// The numbers of bits, most first.
    pub bits: &'a [u32],
    /// Whether an output must have classes: [`BitsArgs::no_classes`] says that none has.
    pub needs_classes: bool,
}

impl BitsArgs {
    /// Whether a search is asked for.
    pub fn is_wanted(&self) -> bool {
        self.max_drop.is_some() || self.max_size.is_some() || self.min_sqnr.is_some()
    }

    /// What is asked for, of a model whose file has so many bytes.
    pub(super) fn goal(&self, before: u64) -> Goal {
        match (self.max_drop, self.max_size, self.min_sqnr) {
            (Some(drop), _, _) => Goal::MaxDrop(drop),
            (_, Some(size), _) => Goal::MaxSize(size.of(before)),
            (_, _, db) => Goal::MinSqnr(db.unwrap_or_default()),
        }
    }

    /// Why there is no drop.
    pub fn no_classes() -> Failure {
        let text = "no output of the model is one score for each class: a drop is not known";
        let help = "say with `--min-sqnr 30` how near to the float model's the outputs must stay, in decibels; or name the output that has scores \
                    with `--outputs`";
        Failure::failed(Diagnostic::error("B0103", text).help(help))
    }

    /// The numbers of bits that are tried, most first, and those that take as much as more bits.
    fn tried(&self, quantizer: Quantizer) -> Result<(Vec<u32>, Vec<u32>), Failure> {
        let row = quantizer.row();
        let is_there = |bits: u32| row.bits.contains(bits) && bits <= 8;
        if let Some(wrong) = self.bits.iter().find(|bits| !is_there(**bits)) {
            let (name, words) = (row.name, row.bits.words);
            let text = format!(
                "`--bits`: {wrong} is out of range for {name} in packed files, expected {words}, and at most 8"
            );
            return Err(Failure::usage(Diagnostic::error("U0203", text)));
        }
        let mut bits = self.bits.clone();
        bits.sort_unstable_by(|a, b| b.cmp(a));
        bits.dedup();
        // So many codes share bytes wherever they can.
        let stored = |bits: &u32| Storage::of(*bits, 1 << 20);
        let is_first = |at: usize, own: &u32| bits.iter().take(at).all(|more| stored(more) != stored(own));
        let (first, alike): (Vec<_>, Vec<_>) = bits.iter().enumerate().partition(|(at, own)| is_first(*at, own));
        let numbers = |of: Vec<(usize, &u32)>| of.into_iter().map(|(_, bits)| *bits).collect();
        Ok((numbers(first), numbers(alike)))
    }
}

/// How an adapter measures what a search begins with.
pub type Start<'a> = dyn Fn(&Wanted<'_>) -> Result<Box<dyn Mixing + 'a>, Failure> + 'a;

impl<M: Adapter> CompressArgs<M> {
    /// Search bits for each weight, and write the model that has them.
    ///
    /// # Errors
    /// Options that do not go together; those of the measurement; no mix that keeps to what was asked for; an output that cannot be written.
    pub fn run_with_bits(
        &self,
        global: &GlobalArgs,
        bits: &BitsArgs,
        data: &Path,
        start: &Start<'_>,
    ) -> Result<(), Failure> {
        let emit = self.plan.emit.emit.unwrap_or(Emit::Packed);
        if !matches!(emit, Emit::Packed | Emit::Baked) {
            let text = format!(
                "`--emit {emit}` does not go with bits that are searched for: weights are measured as `packed` and `baked` have them"
            );
            let help = "write the config with `--write-config C.json`, and give it to a `compress` of its own";
            return Err(Failure::usage(Diagnostic::error("U0205", text).help(help)));
        }
        if emit == Emit::Baked && bits.max_size.is_some() {
            let text = "`--emit baked` does not go with `--max-size`: baked weights take as much as float ones";
            return Err(Failure::usage(Diagnostic::error("U0205", text).help("choose `--emit packed`")));
        }
        let mut given = self.plan.quantize.clone();
        if given.config.is_none() && given.quantizer.is_none() {
            given.quantizer = Some(Quantizer::Naive);
        }
        let config = given.config_list()?;
        let (tried, not_tried) = bits.tried(config.quantizer)?;
        let folder = self.plan.model.is_folder(&self.output.output);
        let files = self.plan.files().reads("the data", data);
        let files = files.may_write("the config that is written", bits.write_config.as_ref());
        let destination = destination(files, (&self.output, folder), &self.report)?;
        if let Some(path) = &bits.write_config {
            probe(path)?;
        }
        let search = Search { args: self, bits, config: &config, tried: &tried, output: destination.file(), emit };
        let before = search.look(global)?;
        let needs_classes = bits.max_drop.is_some();
        let mut mixing = start(&Wanted { config: &config, bits: &tried, needs_classes })?;
        let (mut found, chosen) = search.find(mixing.as_mut(), before)?;
        drop(mixing);
        found.not_tried = not_tried;
        if let Some(path) = &bits.write_config {
            let text = serde_json::to_string_pretty(&found.config).map_err(std::io::Error::other)?;
            model_file::atomic::write(path, format!("{text}\n").as_bytes())?;
        }
        let compressed = search.made(&chosen, emit)?;
        let report = (&destination, &self.report);
        // The losses of weights that were measured on the outputs are known better than by their own SQNR.
        write_result_with(
            &self.plan.model,
            global,
            report,
            &compressed,
            (|_| Vec::new(), Some((&found, bits.write_config.as_deref()))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shares_or_bytes() {
        for (text, bytes) in [
            ("30%", 300),
            ("4MB", 4_000_000),
            ("4MiB", 4 << 20),
            ("1.5KiB", 1536),
            ("0.5%", 5),
            ("77", 77),
            ("77B", 77),
        ] {
            assert_eq!(text.parse::<Size>().unwrap().of(1000), bytes, "{text}");
        }
        for wrong in ["", "%", "30 percent", "-1%", "-5", "4XB", "nan", "nan%", "inf", "1e30"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert_eq!(percent("1%").map(f64::to_bits), Ok(0.01_f64.to_bits()));
        assert!(percent("1").unwrap_err().contains("expected one like `1%`"));
        assert!(decibels("thirty").is_err() && decibels("inf").is_err());
    }

    #[test]
    fn bits_that_are_stored_alike_are_tried_once() {
        let tried = |bits: &[u32], quantizer| {
            let args =
                BitsArgs { max_drop: None, max_size: None, min_sqnr: None, bits: bits.to_vec(), write_config: None };
            args.tried(quantizer)
        };
        assert_eq!(tried(&[3, 8, 4, 6, 8], Quantizer::Naive), Ok((vec![8, 4], vec![6, 3])));
        assert_eq!(tried(&[2, 5], Quantizer::Naive), Ok((vec![5, 2], Vec::new())));
        assert_eq!(tried(&[1, 2, 8], Quantizer::DoReFa), Ok((vec![8, 2], vec![1])));
        for (bits, quantizer) in [(16, Quantizer::Naive), (1, Quantizer::Naive), (32, Quantizer::DoReFa)] {
            let failure = tried(&[8, bits], quantizer).unwrap_err();
            assert_eq!((failure.diagnostics()[0].code.as_str(), failure.exit_code()), ("U0203", 2));
        }
    }
}
