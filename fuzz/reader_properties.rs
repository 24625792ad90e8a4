//! What holds for any config, ranges file and data set. The fuzz targets feed it what they invent, the crate's own tests feed it inputs
//! that are made from fixed seeds.

use std::path::Path;

use quant_math::Quantizer;
use quant_math::config::{ConfigList, OpFacts};
use quant_math::plan::{Observer, QuantType, Settings};
use quant_math::ranges::{Calibration, ModelId, RANGES_VERSION, Ranges, SiteRange};
use tf_rewriter::run::Data;

use super::choices::Choices;

/// Any text is a config that can be used or an error that says where and why.
pub(crate) fn config_is_told(text: &str) {
    for quantizer in std::iter::once(None).chain(Quantizer::all().map(Some)) {
        match ConfigList::parse(text, quantizer) {
            Ok(config) => {
                let ops = [("block/conv", "Conv2D", true), ("x", "Relu", false)];
                let ops =
                    ops.map(|(name, op_type, is_default)| OpFacts { name, other_name: None, op_type, is_default });
                let _selected = ops.each_ref().map(|op| config.select(op));
                assert!(config.unmatched(&ops).iter().chain(&config.warnings()).all(|reason| !reason.text.is_empty()));
            }
            Err(errors) => assert!(errors.iter().all(|error| !error.message.is_empty())),
        }
    }
}

/// Any text is a ranges file that comes back as it was, or an error.
pub(crate) fn ranges_come_back(text: &str) {
    let Ok(ranges) = Ranges::parse(text) else { return };
    let written = ranges.to_json().expect("what was read can be written");
    let again = Ranges::parse(&written).expect("what was written can be read");
    assert_eq!(again.to_json().expect("the same"), written);
    drop(ranges.check_batch(1));
}

/// Any bytes are an array or a set of arrays of which all samples can be passed over, or an error.
pub(crate) fn data_is_bounded(bytes: &[u8], folder: &Path) {
    for name in ["d.npz", "x.npy"] {
        let path = folder.join(name);
        #[expect(clippy::disallowed_methods, reason = "files of no worth, by the thousand")]
        std::fs::write(&path, bytes).expect("a folder that can be written");
        drop(Data::names(&path));
        if let Ok(mut data) = Data::open(&path, &["x"]) {
            assert!(data.samples() > 0);
            // A head may claim any number of samples: the first that is not there ends it.
            drop(data.skip(u64::MAX));
        }
    }
}

/// A ranges file of two activations with all that a calibration keeps.
pub(crate) fn sound_ranges() -> String {
    let settings = Settings { observer: Observer::Percentile, ..Settings::new(Quantizer::Qat, 8) };
    let entry = |site: &str| {
        let mut calibration = Calibration::new(&settings).expect("a sound file");
        calibration.statistics.observe(&[1.0, -2.5, 0.0, 7.0]).expect("a sound file");
        calibration.samples += 1;
        SiteRange::measured(site, QuantType::Output, format!("{site}:0"), calibration).expect("a sound file")
    };
    let ranges = Ranges {
        version: RANGES_VERSION,
        framework: "tensorflow 2.21.0".to_owned(),
        model: ModelId { file: "m.pb".to_owned(), fingerprint: "crc32c:00000000:0".to_owned() },
        config: None,
        observer: Observer::Percentile,
        samples: 1,
        batch: None,
        folded: Vec::new(),
        ranges: vec![entry("a"), entry("b")],
    };
    ranges.to_json().expect("a sound file")
}

const WORDS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "'op_types'",
    "'op_names'",
    "'quant_types'",
    "'quant_bits'",
    "'weight'",
    "'output'",
    "'input'",
    "'default'",
    "'exclude'",
    "true",
    "False",
    "None",
    "8",
    "-1",
    "1e400",
    "0x10",
    "'*'",
    "'[a-z]*'",
    "'{a,b}'",
    "'Conv2D'",
    "\"observer\"",
    "'percentile'",
    "'per_channel'",
    "//",
    "\n",
    "#",
    "'\\u0061'",
    "/*",
    "*/",
    "config_list = ",
    "'é'",
    "'['",
];

const CONFIG: &str = "[{'op_types': ['default', 'Relu'], 'op_names': ['block_*/conv[0-9]'], 'quant_types': ['weight', 'output'], \
                      'quant_bits': {'weight': 4, 'output': 8}, 'exclude': False}, {'op_types': ['MatMul'], 'exclude': true}]";

/// A config, changed word by word.
pub(crate) fn config(choices: &mut Choices<'_>) -> String {
    changed_words(choices, CONFIG)
}

fn changed_words(choices: &mut Choices<'_>, text: &str) -> String {
    let mut words: Vec<&str> = text.split_inclusive([' ', ',', '{', '[', ':']).collect();
    for _ in 0..choices.below(12) {
        let at = choices.below(words.len() + 1);
        match choices.below(3) {
            0 if at < words.len() => drop(words.remove(at)),
            1 if at < words.len() => words[at] = choices.one_of(WORDS),
            _ => words.insert(at, choices.one_of(WORDS)),
        }
    }
    let mut bytes = words.concat().into_bytes();
    if choices.once_in(4) {
        choices.damage(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A ranges file, changed word by word.
pub(crate) fn ranges(choices: &mut Choices<'_>, sound: &str) -> String {
    changed_words(choices, sound)
}

/// An array in NumPy's format, or several in a zip; changed in some of its bytes.
pub(crate) fn data(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = if choices.once_in(4) { npy(choices) } else { npz(choices) };
    for _ in 0..choices.below(4) {
        choices.damage(&mut bytes);
    }
    bytes
}

fn npy(choices: &mut Choices<'_>) -> Vec<u8> {
    let kind = choices.one_of(&["<f4", "<f4", "<f8", "|u1", ">i2", "<i8", "|b1", "<f2", "O", "<c8"]);
    let dims: Vec<String> = (0..choices.below(4))
        .map(|_| {
            choices
                .one_of(&["1", "2", "3", "0", "5", "9223372036854775808", "18446744073709551615", "65536"])
                .to_owned()
        })
        .collect();
    let head = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({},), }}\n", dims.join(", "));
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(head.len()).expect("a short head").to_le_bytes());
    bytes.extend(head.as_bytes());
    for _ in 0..choices.below(200) {
        bytes.push(choices.byte());
    }
    bytes
}

/// Stored records, with right sums.
fn npz(choices: &mut Choices<'_>) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    let count = 1 + choices.below(3);
    for number in 0..count {
        let bytes = npy(choices);
        let name = if number == 0 { "x.npy".to_owned() } else { format!("y{number}.npy") };
        let (sum, length) = (crc32fast::hash(&bytes), u32::try_from(bytes.len()).expect("a short array"));
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fields.extend(sum.to_le_bytes());
        fields.extend(length.to_le_bytes());
        fields.extend(length.to_le_bytes());
        fields.extend(u16::try_from(name.len()).expect("a short name").to_le_bytes());
        fields.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(u32::try_from(out.len()).expect("a small file").to_le_bytes());
        directory.extend(name.as_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(name.as_bytes());
        out.extend(bytes);
    }
    let (start, length) = (out.len(), directory.len());
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    let entries = u16::try_from(count).expect("a few");
    out.extend(entries.to_le_bytes());
    out.extend(entries.to_le_bytes());
    out.extend(u32::try_from(length).expect("a small directory").to_le_bytes());
    out.extend(u32::try_from(start).expect("a small file").to_le_bytes());
    out.extend([0, 0]);
    out
}
