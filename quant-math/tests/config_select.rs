//! Which entry decides about an op, and what is said about entries that decide about none.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use quant_math::codes;
use quant_math::config::{ConfigList, Entry, OpFacts, PerChannel, Selection};
use quant_math::{QuantType, Quantizer};

fn naive(text: &str) -> ConfigList {
    ConfigList::parse(text, Some(Quantizer::Naive)).unwrap()
}

fn op<'a>(name: &'a str, op_type: &'a str) -> OpFacts<'a> {
    OpFacts {
        name,
        other_name: None,
        op_type,
        is_default: matches!(op_type, "Conv2D" | "MatMul" | "Conv2d" | "Linear"),
    }
}

/// The bits of the deciding entry, `-` not selected, `x` excluded.
fn decided(config: &ConfigList, op: &OpFacts<'_>) -> String {
    assert_eq!(config.selector().select(op), config.select(op), "looked up and asked one by one");
    match config.select(op) {
        Selection::NotSelected => "-".to_owned(),
        Selection::Excluded { .. } => "x".to_owned(),
        Selection::Selected { entry, config: found } => {
            let settings = found.settings(config.quantizer, QuantType::Weight, entry).unwrap();
            assert_eq!(settings.entry, entry);
            settings.bits.to_string()
        }
    }
}

#[test]
fn the_last_match_decides_alone() {
    let config = naive(
        "[{op_types: 'default', q_bits: 4, per_channel: true},
          {op_names: ['head*'], q_bits: 8},
          {op_types: 'default', op_names: ['stem', 'head/aux'], exclude: true},
          {op_names: ['head/aux'], op_types: ['Conv2d']}]",
    );
    let all = [
        op("conv", "Conv2D"),
        op("head", "MatMul"),
        op("stem", "Conv2D"),
        op("head/aux", "Linear"),
        op("head/aux", "Conv2D"),
    ];
    assert_eq!(all.each_ref().map(|op| decided(&config, op)), ["4", "8", "x", "x", "8"]);
    assert_eq!(decided(&config, &op("relu", "Relu")), "-");
    assert_eq!(decided(&config, &op("stem", "Relu")), "-", "both keys must match");
    let Selection::Selected { config: entry, .. } = config.select(&op("head", "MatMul")) else { unreachable!() };
    assert_eq!(entry.per_channel, PerChannel::Auto, "nothing leaks from an earlier match");
}

/// The keys of the last match stay the rule; what that costs is said, once for each two entries and kind.
#[test]
fn what_an_entry_takes_from_an_earlier_one_is_told() {
    let text = "[{op_types: ['default'], quant_types: ['weight', 'output'], quant_bits: 8},
                 {op_names: ['head*'], quant_types: ['output'], quant_bits: 8},
                 {op_types: ['Relu'], quant_types: ['output'], quant_bits: 8},
                 {op_names: ['head/last'], exclude: true},
                 {op_names: ['head/back'], quant_types: ['weight', 'output', 'input'], quant_bits: 4}]";
    let config = ConfigList::parse(text, Some(Quantizer::Qat)).unwrap();
    let ops = [
        op("conv", "Conv2D"),
        op("head/a", "MatMul"),
        op("head/b", "MatMul"),
        op("head/relu", "Relu"),
        op("head/last", "MatMul"),
        op("head/back", "MatMul"),
    ];
    let told = config.taken_away(&ops);
    let [one] = told.as_slice() else { panic!("{told:?}") };
    assert!(one.is(codes::TAKEN_AWAY), "{one:?}");
    assert!(one.text.contains("config_list[1] takes `weight` away from 2 ops, for example `head/a`"), "{}", one.text);
    assert!(one.text.contains("config_list[0] gives it"), "{}", one.text);
    let selector = config.selector();
    let of = |op: &OpFacts<'_>, kind| selector.taken_away(op, selector.select(op), kind).map(|reason| reason.code);
    assert_eq!(of(&ops[1], QuantType::Weight).as_deref(), Some(codes::TAKEN_AWAY.name));
    assert_eq!(of(&ops[1], QuantType::Output), None);
    assert_eq!(of(&ops[0], QuantType::Weight), None, "nothing comes after");
    assert_eq!(of(&ops[4], QuantType::Weight), None, "excluding is no taking away");
}

#[test]
fn one_config_serves_both_frameworks() {
    let config = naive(
        "[{op_types: ['Conv2d'], q_bits: 2}, {op_types: ['linear'], q_bits: 3}, {op_types: ['ReLU6'], q_bits: 4}]",
    );
    for (op_type, bits) in [
        ("Conv2D", "2"),
        ("Conv2d", "2"),
        ("MatMul", "3"),
        ("Linear", "3"),
        ("Dense", "3"),
        ("Relu6", "4"),
        ("Relu", "-"),
        ("DepthwiseConv2dNative", "-"),
    ] {
        assert_eq!(decided(&config, &op("x", op_type)), bits, "{op_type}");
    }
    // What is `default` is the adapter's to say.
    let config = naive("[{op_types: ['DEFAULT'], q_bits: 5}]");
    assert_eq!(decided(&config, &OpFacts { name: "x", other_name: None, op_type: "Thing", is_default: true }), "5");
    assert_eq!(decided(&config, &OpFacts { name: "x", other_name: None, op_type: "Conv2D", is_default: false }), "-");
}

#[test]
fn kinds_that_an_entry_does_not_name_have_no_settings() {
    let text = "[{op_types: 'ReLU', quant_types: ['output'], quant_bits: 8}, {op_types: 'default', exclude: true}]";
    let config = ConfigList::parse(text, Some(Quantizer::Qat)).unwrap();
    let settings = |entry: &Entry, kind| entry.settings(Quantizer::Qat, kind, 0);
    let [output, excluded] = config.entries.as_slice() else { unreachable!() };
    assert!(settings(output, QuantType::Output).is_some());
    for kind in [QuantType::Weight, QuantType::Input, QuantType::Gradient] {
        assert_eq!(settings(output, kind), None);
    }
    assert_eq!(settings(excluded, QuantType::Weight), None);
    assert!(config.uses(QuantType::Output) && !config.uses(QuantType::Weight));
}

/// What is told of a config of which some entry matches; that none does is told at the end.
fn unmatched(text: &str) -> Vec<String> {
    let mut model = vec![op("block1/conv", "Conv2D"); 12];
    model.extend([op("head", "MatMul"), op("relu", "Relu6")]);
    naive(text).unmatched(&model).into_iter().map(|reason| format!("{} {}", reason.code, reason.text)).collect()
}

#[test]
fn entries_that_match_nothing_are_told_with_the_nearest_op() {
    let check = |text: &str, expected: &[&str]| assert_eq!(unmatched(text), expected, "{text}");
    check("[{op_types: 'default'}, {op_names: ['*']}]", &[]);
    check(
        "[{op_names: ['head']}, {op_types: 'Conv2dd'}]",
        &["C0107 config_list[1].op_types: `Conv2dd` matches no op in this model; did you mean `Conv2D` (12 ops)?"],
    );
    // A slip in PyTorch's name leads to TensorFlow's.
    check(
        "[{op_types: ['default']}, {op_types: ['Linaer']}]",
        &["C0107 config_list[1].op_types: `Linaer` matches no op in this model; did you mean `MatMul` (1 op)?"],
    );
    let nothing = "C0110 config_list: no entry matches an op of this model";
    check(
        "[{op_types: 'Embedding'}]",
        &["C0107 config_list[0].op_types: `Embedding` matches no op in this model", nothing],
    );
    check(
        "[{op_names: ['block1/cnov', 'nowhere/*']}]",
        &[
            "C0107 config_list[0].op_names: `block1/cnov` matches no op in this model; did you mean `block1/conv`?",
            "C0107 config_list[0].op_names: `nowhere/*` matches no op in this model",
            nothing,
        ],
    );
    // A known type beside one that matches is no mistake, an unknown one is.
    check("[{op_types: ['Conv2d', 'Embedding']}]", &[]);
    check(
        "[{op_types: ['Conv2d', 'Dense1', 'Wibble']}]",
        &[
            "C0107 config_list[0].op_types: `Dense1` matches no op in this model; did you mean `MatMul` (1 op)?",
            "C0107 config_list[0].op_types: `Wibble` matches no op in this model",
        ],
    );
    check(
        "[{op_types: ['Relu6'], op_names: ['head']}]",
        &["C0107 config_list[0]: no op in this model has one of its `op_types` and one of its `op_names`", nothing],
    );
    check("[]", &["C0107 config_list: is empty and selects nothing", nothing]);
    check(
        "[{op_types: 'ReLU', exclude: true}]",
        &["C0107 config_list[0].op_types: `ReLU` matches no op in this model; did you mean `Relu6` (1 op)?", nothing],
    );
    assert_eq!(
        naive("[{op_types: 'default'}]").unmatched(&[]).len(),
        2,
        "in a model without ops nothing matches, `default` included"
    );
}

#[test]
fn globs_are_as_many_as_can_be_matched_in_one_pass() {
    let config = |count: usize| {
        let globs: Vec<String> = (0..count).map(|i| format!("'block_{i}/*'")).collect();
        let text = format!("[{{op_names: [{}]}}, {{op_names: ['exact']}}]", globs.join(","));
        ConfigList::parse(&text, Some(Quantizer::Naive))
    };
    let most = config(1024).unwrap();
    assert_eq!(decided(&most, &op("block_1023/conv", "Conv2D")), "8");
    let found = most.selector().select(&op("block_1023/conv", "Conv2D"));
    assert!(matches!(found, Selection::Selected { entry: 0, .. }), "{found:?}");
    let errors = config(1025).unwrap_err();
    let told: Vec<_> = errors.iter().map(|error| format!("{} {error}", error.code())).collect();
    assert_eq!(told, ["C0108 config_list[0].op_names[1024]: a config has at most 1024 globs"]);
}

/// The text of an entry: some types, some names, at least one of both.
fn entry() -> impl Strategy<Value = String> {
    let types = proptest::sample::subsequence(vec!["default", "Conv2d", "relu6", "Linear"], 0..3);
    let names = proptest::sample::subsequence(vec!["a", "b", "b*", "?"], 0..3);
    (types, names, any::<bool>(), 2..=16_u32)
        .prop_filter("one of both keys is needed", |(types, names, ..)| !types.is_empty() || !names.is_empty())
        .prop_map(|(types, names, exclude, bits)| {
            let mut keys = vec![format!("exclude: {exclude}, q_bits: {bits}")];
            keys.extend((!types.is_empty()).then(|| format!("op_types: {types:?}")));
            keys.extend((!names.is_empty()).then(|| format!("op_names: {names:?}")));
            format!("{{{}}}", keys.join(", "))
        })
}

proptest! {
    /// What a list says is what its last matching entry says when it stands alone.
    #[test]
    fn the_last_matching_entry_wins_whole(
        entries in proptest::collection::vec(entry(), 0..6),
        name in "[abc]{1,2}",
        op_type in proptest::sample::select(vec!["Conv2D", "Relu6", "MatMul", "Add"]),
    ) {
        let list = naive(&format!("[{}]", entries.join(",")));
        let facts = op(&name, op_type);
        let alone = entries.iter().map(|entry| decided(&naive(&format!("[{entry}]")), &facts));
        let expected = alone.rev().find(|decision| decision != "-").unwrap_or_else(|| "-".to_owned());
        prop_assert_eq!(decided(&list, &facts), expected);
    }

    /// An entry that decides about an op of the model is never told as unmatched, and one that does is.
    #[test]
    fn unmatched_entries_are_those_that_match_no_op(
        entries in proptest::collection::vec(entry(), 1..4),
        ops in proptest::collection::vec(("[abc]{1,2}", proptest::sample::select(vec!["Conv2D", "Relu6", "Add"])), 0..5),
    ) {
        let list = naive(&format!("[{}]", entries.join(",")));
        let ops: Vec<_> = ops.iter().map(|(name, op_type)| op(name, op_type)).collect();
        let told = list.unmatched(&ops);
        let none = told.iter().any(|reason| reason.is(codes::NO_ENTRY_MATCHES));
        prop_assert_eq!(none, !list.entries.iter().any(|entry| ops.iter().any(|op| entry.matches(op))), "{:?}", told);
        for (index, entry) in list.entries.iter().enumerate() {
            let about = told.iter().any(|reason| reason.text.starts_with(&format!("config_list[{index}]")));
            let matches = ops.iter().any(|op| entry.matches(op));
            let stray = entry.op_names().any(|name| !ops.iter().any(|op| naive(&format!("[{{op_names: [{name:?}]}}]")).entries[0].matches(op)));
            prop_assert_eq!(about, !matches || stray, "{:?}", told);
        }
    }
}
