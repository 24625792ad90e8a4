//! The JSON Schema of a config, for editors and for `schema`.
#![expect(
    dead_code,
    reason = "the types are there for their schema alone; validation gives better messages than a derive"
)]

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::op_types::OP_TYPES;
use super::preset::Preset;
use crate::plan::{Observer, QuantType, Quantizer, Rounding};

/// What [`SCHEMA`](super::SCHEMA) is made by: it stands in a file, so that programs need not make it anew.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    let mut schema: Schema = settings.into_generator().into_root_schema_for::<Config>();
    let rows = OP_TYPES.iter().map(|row| {
        json!({
            "names": row.names,
            "default_in_tensorflow": row.default_in_tensorflow,
            "default_in_torch": row.default_in_torch,
        })
    });
    schema.insert("x-op-types".to_owned(), rows.collect());
    schema.to_value()
}

/// An `Option` here is a key that may be left out; `null` is no value for it.
fn without_null(schema: &mut Schema) {
    let is_null = |value: &Value| value == "null" || value.get("type").is_some_and(|found| found == "null");
    for key in ["type", "anyOf"] {
        let Some(Value::Array(choices)) = schema.get_mut(key) else { continue };
        choices.retain(|choice| !is_null(choice));
        let only = if choices.len() == 1 { choices.pop() } else { None };
        match only {
            Some(Value::Object(only)) => {
                schema.remove(key);
                for (key, value) in only {
                    schema.insert(key, value);
                }
            }
            Some(only) => drop(schema.insert(key.to_owned(), only)),
            None => {}
        }
    }
}

/// What is quantized, and how: a list of entries, of which the last one that matches an op decides about it.
#[derive(JsonSchema)]
#[schemars(untagged, title = "config_list")]
enum Config {
    /// The entries alone; the quantizer is given elsewhere.
    List(Vec<EntryKeys>),
    /// The entries and their quantizer.
    Named(Named),
}

/// The entries and their quantizer.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Named {
    /// The quantizer; may be left out where it is given elsewhere, and must not differ from that.
    quantizer: Option<Quantizer>,
    /// A whole arithmetic in one word, under the keys of the entries, which win: `nni` is one scale per tensor and, for Naive, rounding
    /// toward zero.
    preset: Option<Preset>,
    /// The entries.
    config_list: Vec<EntryKeys>,
}

/// Matches an op when each of `op_types` and `op_names` that it has matches; at least one must be there.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["op_types"] }, { "required": ["op_names"] }]))]
#[schemars(extend("not" = { "required": ["q_bits", "quant_bits"] }))]
struct EntryKeys {
    /// Op or module types, of either framework and in any case; `default` stands for every op that has a weight to quantize.
    op_types: Option<OneOrMany>,
    /// Exact names, or globs in which `*` stands for any characters (`block_*/conv`).
    #[schemars(length(min = 1))]
    op_names: Option<Vec<String>>,
    /// Leave in float what this entry matches.
    #[schemars(extend("default" = false))]
    exclude: Option<bool>,
    /// The tensors to quantize.
    #[schemars(description = quant_types())]
    #[schemars(length(min = 1))]
    quant_types: Option<Vec<QuantType>>,
    /// Bits of a code, for all kinds of tensors or for each.
    #[schemars(description = quant_bits())]
    quant_bits: Option<Bits>,
    /// The same as a single number in `quant_bits`, which must not be given too.
    #[schemars(range(min = 1, max = 32))]
    q_bits: Option<u32>,
    /// QAT: the training step from which on what this entry matches is quantized; its ranges are observed from the first step.
    #[schemars(extend("default" = 0))]
    quant_start_step: Option<u64>,
    /// Zero point 0 on the signed narrow grid; else affine on the unsigned grid. Weights true, inputs and outputs false where not given.
    symmetric: Option<Symmetric>,
    /// One scale per channel of a weight. `auto`: where a channel has three elements and more, so that its parameters cost less than its
    /// codes save; DoReFa always has one scale for the tensor. `false` is what NNI does. With codes of at most 8 bits, a channel beside a
    /// bias has a scale of at least 2^-16 of it, or a 256th of the largest channel's where that is less, so that integer kernels, which
    /// count the bias in steps of this scale, have a number for it.
    #[schemars(extend("default" = "auto"))]
    per_channel: Option<PerChannelWord>,
    /// QAT: the decay of the moving average of a range.
    #[schemars(extend("default" = 0.99, "exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    ema_decay: Option<f64>,
    /// QAT: how the values of an input or output become a range: in calibration `minmax` where not given; in training `ema` where not
    /// given, or `minmax`.
    observer: Option<Observer>,
    /// How a weight becomes codes. Naive and QAT: `reconstruct` keeps what the layer makes of the data whose moments were measured (`calibrate
    /// --moments`, `compress --moments`). Naive: `truncate` is what NNI does.
    #[schemars(extend("default" = "nearest"))]
    rounding: Option<Rounding>,
    /// DoReFa: the seed of the gradient noise.
    #[schemars(extend("default" = 0))]
    seed: Option<u64>,
}

fn quant_types() -> String {
    let without = Quantizer::all().filter(|quantizer| quantizer.row().default_kinds.is_empty());
    let with = Quantizer::all().filter(|quantizer| !quantizer.row().default_kinds.is_empty());
    format!(
        "The tensors to quantize. `weight` where not given; {} must name them ({} need not).",
        words(without),
        words(with)
    )
}

fn quant_bits() -> String {
    let bits = Quantizer::all().map(|quantizer| format!("`{quantizer}` {}", quantizer.row().bits.words));
    let default =
        Quantizer::all().filter_map(|quantizer| Some(format!("`{quantizer}` takes {}", quantizer.row().default_bits?)));
    let [bits, default] = [bits.collect::<Vec<_>>(), default.collect()].map(|texts| texts.join("; "));
    format!("Bits of a code, for all kinds of tensors or for each: {bits}. Where none are given: {default}.")
}

fn words(quantizers: impl Iterator<Item = Quantizer>) -> String {
    quantizers.map(|quantizer| format!("`{quantizer}`")).collect::<Vec<_>>().join(", ")
}

/// Whether a weight has one scale per channel.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum PerChannelWord {
    /// Always or never.
    Said(bool),
    /// By the weight's shape.
    Auto(Auto),
}

/// By the weight's shape.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Auto {
    /// The word for it.
    Auto,
}

/// One word or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(#[schemars(length(min = 1))] Vec<String>),
}

/// One number for all kinds of tensors, or one for each.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Bits {
    /// For all.
    All(#[schemars(range(min = 1, max = 32))] u32),
    /// For each.
    Each(EachBits),
}

/// Bits for each kind of tensor; every kind in `quant_types` needs some.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct EachBits {
    /// Bits of weights.
    #[schemars(range(min = 1, max = 32))]
    weight: Option<u32>,
    /// Bits of inputs.
    #[schemars(range(min = 1, max = 32))]
    input: Option<u32>,
    /// Bits of outputs.
    #[schemars(range(min = 1, max = 32))]
    output: Option<u32>,
    /// Bits of gradients.
    #[schemars(range(min = 1, max = 32))]
    gradient: Option<u32>,
}

/// One answer for all kinds of tensors, or one for each.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Symmetric {
    /// For all.
    All(bool),
    /// For each.
    Each(EachSymmetric),
}

/// Whether each kind of tensor is quantized symmetrically.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct EachSymmetric {
    /// Weights.
    #[schemars(extend("default" = true))]
    weight: Option<bool>,
    /// Inputs.
    #[schemars(extend("default" = false))]
    input: Option<bool>,
    /// Outputs.
    #[schemars(extend("default" = false))]
    output: Option<bool>,
    /// Gradients.
    #[schemars(extend("default" = false))]
    gradient: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::super::validate::KEYS;
    use super::*;

    #[test]
    fn the_schema_describes_every_key_that_is_read() {
        let schema = schema();
        let properties = schema["$defs"]["EntryKeys"]["properties"].as_object().unwrap();
        assert_eq!(properties.keys().collect::<Vec<_>>(), KEYS.iter().collect::<Vec<_>>());
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 10), "{key}");
        }
        assert_eq!(properties["ema_decay"]["default"], json!(0.99));
        assert_eq!(properties["exclude"]["default"], json!(false));
        assert_eq!(properties["op_names"]["type"], "array");
        assert_eq!(properties["op_types"]["$ref"], "#/$defs/OneOrMany");
        assert!(!schema["$defs"].to_string().contains("null"), "no key takes null");
        assert_eq!(schema["x-op-types"].as_array().unwrap().len(), OP_TYPES.len());
    }
}
