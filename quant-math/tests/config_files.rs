//! Configs as people write them: what is understood, and what is said about mistakes. The cases are in `config/`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use quant_math::config::{ConfigError, ConfigErrors, ConfigList, Entry, PerChannel, Preset};
use quant_math::plan::{Observer, Rounding};
use quant_math::{QuantType, Quantizer};

struct Case<'a> {
    name: &'a str,
    quantizer: Option<Quantizer>,
    text: &'a str,
    expected: &'a str,
}

fn cases(file: &str) -> Vec<Case<'_>> {
    let (_about, cases) = file.split_once("\n=== ").unwrap();
    let case = |case| {
        let (name, rest): (&str, &str) = str::split_once(case, '\n').unwrap();
        let (quantizer, rest) = rest.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("\n---").unwrap();
        let quantizer = match quantizer {
            "-" => None,
            other => Some(Quantizer::named(other).unwrap_or_else(|| panic!("{name}: {other}"))),
        };
        Case { name, quantizer, text, expected: expected.trim() }
    };
    cases.split("\n=== ").map(case).collect()
}

fn understood(config: &ConfigList) -> String {
    let mut lines: Vec<_> =
        config.entries.iter().enumerate().map(|(index, entry)| entry_line(config, index, entry)).collect();
    lines.extend(config.warnings().iter().map(|reason| format!("warning {} {}", reason.code, reason.text)));
    lines.join("\n")
}

fn entry_line(config: &ConfigList, index: usize, entry: &Entry) -> String {
    let mut words = vec![format!("{index}:")];
    let types: Vec<_> = entry.op_types().collect();
    let names: Vec<_> = entry.op_names().collect();
    words.extend((!types.is_empty()).then(|| format!("types [{}]", types.join(", "))));
    words.extend((!names.is_empty()).then(|| format!("names [{}]", names.join(", "))));
    words.extend(entry.exclude.then(|| "exclude".to_owned()));
    for &kind in &entry.quant_types {
        let Some(settings) = entry.settings(config.quantizer, kind, index) else { continue };
        assert_eq!((settings.quantizer, settings.entry, settings.channel_axis), (config.quantizer, index, None));
        words.push(format!("{kind}={}", settings.bits));
        let usual = kind == QuantType::Weight;
        words.extend((settings.symmetric != usual).then(|| if usual { "affine" } else { "symmetric" }.to_owned()));
        words.extend((settings.quant_start_step > 0).then(|| format!("start {}", settings.quant_start_step)));
        words.extend(settings.ema_decay.map(|decay| format!("decay {decay}")));
        words.extend((settings.observer != Observer::MinMax).then(|| format!("{:?}", settings.observer)));
        words.extend((settings.rounding != Rounding::Nearest).then(|| format!("{:?}", settings.rounding)));
        words.extend((settings.seed > 0).then(|| format!("seed {}", settings.seed)));
    }
    let weight = entry.quant_types.contains(&QuantType::Weight);
    let per_channel = match entry.per_channel {
        PerChannel::Always => Some("per channel"),
        PerChannel::Never => Some("per tensor").filter(|_| config.quantizer != Quantizer::DoReFa),
        PerChannel::Auto => None,
    };
    words.extend(per_channel.filter(|_| weight).map(str::to_owned));
    words.join(" ")
}

fn told(errors: &ConfigErrors) -> String {
    let mut lines = Vec::new();
    for error in errors.iter() {
        lines.push(format!("{} {error}", error.code()));
        lines.extend(error.help().map(|help| format!("  help: {help}")));
    }
    lines.join("\n")
}

#[test]
fn configs_are_understood() {
    let cases = cases(include_str!("config/accepted.txt"));
    for Case { name, quantizer, text, expected } in &cases {
        let config = ConfigList::parse(text, *quantizer).unwrap_or_else(|errors| panic!("{name}\n{}", told(&errors)));
        assert_eq!(understood(&config), *expected, "{name}");
    }
    assert!(cases.len() > 10);
}

#[test]
fn mistakes_are_told_with_path_and_way_out() {
    let cases = cases(include_str!("config/errors.txt"));
    let mut wrong = Vec::new();
    let mut codes = BTreeSet::new();
    for Case { name, quantizer, text, expected } in &cases {
        match ConfigList::parse(text, *quantizer) {
            Ok(config) => wrong.push(format!("{name}: accepted as\n{}", understood(&config))),
            Err(errors) if told(&errors) != *expected => wrong.push(format!("{name}:\n{}", told(&errors))),
            Err(errors) => codes.extend(errors.iter().map(ConfigError::code)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let all = ["C0101", "C0102", "C0103", "C0104", "C0105", "C0106", "C0108"];
    assert_eq!(codes, all.into(), "every code is shown");
}

#[test]
fn an_absent_config_is_eight_bit_weights_of_the_default_ops() {
    for quantizer in [Quantizer::Naive, Quantizer::Qat, Quantizer::DoReFa] {
        assert_eq!(understood(&ConfigList::default_for(quantizer)), "0: types [default] weight=8");
    }
}

#[test]
fn a_preset_of_the_caller_stands_under_every_entry() {
    let nni = Some(Preset::Nni);
    let absent = |quantizer| understood(&ConfigList::preset_for(quantizer, nni));
    assert_eq!(absent(Quantizer::Naive), "0: types [default] weight=8 Truncate per tensor");
    assert_eq!(absent(Quantizer::Qat), "0: types [default] weight=8 per tensor");
    assert_eq!(absent(Quantizer::DoReFa), "0: types [default] weight=8");

    let text = "[{op_types: 'Conv2d'}, {op_types: 'Linear', per_channel: true, rounding: 'nearest'}]";
    let parsed = ConfigList::parse_on(text, Some(Quantizer::Naive), nni).unwrap();
    let expected = "0: types [Conv2d] weight=8 Truncate per tensor\n1: types [Linear] weight=8 per channel";
    assert_eq!(understood(&parsed), expected);
    // The same in the text.
    let named = format!("{{ preset: 'nni', config_list: {text} }}");
    assert_eq!(ConfigList::parse_on(&named, Some(Quantizer::Naive), None).unwrap(), parsed);
    assert_eq!(ConfigList::parse_on(&named, Some(Quantizer::Naive), nni).unwrap(), parsed);
}

#[test]
fn channels_are_chosen_by_shape_alone() {
    for (elements, channels, auto) in [(27, 9, true), (18, 9, false), (9, 9, false), (512, 1, false), (0, 0, false)] {
        assert_eq!(PerChannel::Auto.chooses(elements, channels), auto, "{elements} in {channels}");
        assert!(PerChannel::Always.chooses(elements, channels) && !PerChannel::Never.chooses(elements, channels));
    }
    assert!(PerChannel::Auto.chooses(u64::MAX, 1 << 40), "no shape overflows");
}
