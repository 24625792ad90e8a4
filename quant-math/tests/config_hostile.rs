//! No text makes the reader panic, run away or answer without a reason.
#![expect(clippy::string_slice, reason = "a test fails by panicking")]

use proptest::prelude::*;
use quant_math::Quantizer;
use quant_math::config::{ConfigList, OpFacts};

const VALID: &str = "config_list = [{  # weights
    'quant_types': ['weight', 'output'], \"quant_bits\": {weight: 8, 'output': 4,},
    'op_types': ['Conv2d', 'default'], /* all */ 'op_names': ['block_*/conv[0-9]', '\\u0061'],
    'exclude': False, 'symmetric': True, 'ema_decay': .99, 'seed': 0x10, 'per_channel': None
}]";

/// Parse, and use what came out in every way there is.
fn exercise(text: &str) {
    for quantizer in [None, Some(Quantizer::Naive), Some(Quantizer::Qat), Some(Quantizer::DoReFa)] {
        match ConfigList::parse(text, quantizer) {
            Ok(config) => {
                let op = OpFacts { name: "block_1/conv2", other_name: None, op_type: "Conv2D", is_default: true };
                let _selection = config.select(&op);
                assert!(config.unmatched(&[op]).iter().chain(&config.warnings()).all(|reason| !reason.text.is_empty()));
            }
            Err(errors) => {
                for error in errors.iter() {
                    assert!(error.code().starts_with("C01") && !error.message.is_empty(), "{error:?}");
                    // A key may be as long as the text; messages do not repeat values at length.
                    assert!(error.message.len() < 400 + text.len(), "{error}");
                    if error.code() == "C0101" {
                        assert_place(text, &error.path);
                    }
                }
            }
        }
    }
}

/// Line and column of a syntax error lie in the text, or just behind its end.
fn assert_place(text: &str, path: &str) {
    let numbers: Vec<usize> = path.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let [line, column] = numbers.as_slice() else { unreachable!("{path}") };
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}'], "\n");
    let found = text.split('\n').nth(line - 1);
    assert!(found.is_some_and(|found| *column <= found.chars().count() + 1), "{path} in {text:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text(text in any::<String>()) {
        exercise(&text);
    }

    #[test]
    fn text_of_the_grammars_own_marks(text in r#"([\[\]{}()'",:#/*\\=+.\-_ \n\r]|True|False|None|null|NaN|0x|1e9|'op_types'|q_bits|é|\u{2028}){0,60}"#) {
        exercise(&text);
    }

    #[test]
    fn a_valid_text_with_a_few_changes(changes in proptest::collection::vec((0..VALID.len(), 0..3_usize, any::<char>()), 1..4)) {
        let mut text: Vec<char> = VALID.chars().collect();
        for (at, what, c) in changes {
            let at = at.min(text.len());
            match what {
                0 => text.truncate(at),
                1 => text.insert(at, c),
                _ => drop(text.drain(at..text.len().min(at + 1))),
            }
        }
        exercise(&text.into_iter().collect::<String>());
    }
}

#[test]
fn every_prefix() {
    for end in 0..=VALID.len() {
        exercise(&VALID[..end]);
    }
}

#[test]
fn deep_and_long_texts() {
    exercise(&"[".repeat(1_000_000));
    exercise(&("[".repeat(1_000_000) + &"]".repeat(1_000_000)));
    exercise(&format!("[{{op_names: [{:?}]}}]", "{".repeat(100_000)));
    exercise(&format!("[{{op_names: [{:?}]}}]", "*".repeat(1024)));
    exercise(&format!("[{{op_names: [{:?}]}}]", "{a,b}".repeat(200)));
    exercise(&format!("[{{{:?}: 1}}]", "k".repeat(100_000)));
    exercise(&format!("[{{op_types: 'default', quant_types: [{}]}}]", "'weight',".repeat(10_000)));
    exercise(&format!("[{}]", "{op_types: 5},".repeat(10_000)));
    exercise(&format!("# {}\n[]", "x".repeat(1_000_000)));
}
