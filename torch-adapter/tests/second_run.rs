//! A second run sees the ops of the first, whatever was put around what they read, and has nothing to do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::net::{FORWARD, model};
use quant_math::config::ConfigList;
use quant_math::plan::{Decision, Plan};
use quant_math::{Emit, Quantizer};
use torch_adapter::{Model, PlanOptions};

const FORMS: [(Quantizer, Emit); 7] = [
    (Quantizer::Naive, Emit::Baked),
    (Quantizer::Naive, Emit::Packed),
    (Quantizer::DoReFa, Emit::Inference),
    (Quantizer::DoReFa, Emit::Packed),
    (Quantizer::DoReFa, Emit::Training),
    (Quantizer::Qat, Emit::Training),
    (Quantizer::Lsq, Emit::Training),
];

/// Three weights `w0` to `w2` of shape [2, 2], and these lines in `forward` and in `helper`.
fn net(forward: &[&str], helper: &[&str]) -> Vec<u8> {
    let body = |lines: &[&str]| lines.iter().flat_map(|line| ["    ", line, "\n"]).collect::<String>();
    let head = FORWARD.replace("forward", "helper");
    let (forward, helper) = (body(forward), body(helper));
    model(3, &[], "", &format!("{FORWARD}{forward}    return x\n{head}{helper}    return x\n"))
}

fn config(quantizer: Quantizer, emit: Emit, per_channel: bool) -> ConfigList {
    let types = if matches!(emit, Emit::Baked | Emit::Packed) { "'weight'" } else { "'weight', 'input', 'output'" };
    let per_channel = if quantizer == Quantizer::DoReFa { "" } else { &format!(", per_channel: {per_channel}") };
    let text = format!("[{{op_types: ['default', 'bmm'], quant_types: [{types}], quant_bits: 8{per_channel}}}]");
    let text =
        if matches!(emit, Emit::Inference) { text.replace("'weight', 'input', 'output'", "'weight'") } else { text };
    ConfigList::parse(&text, Some(quantizer)).unwrap()
}

fn compress(bytes: &[u8], config: &ConfigList, emit: Emit) -> (Vec<u8>, Plan) {
    let model = Model::from_bytes(bytes.to_vec()).unwrap();
    let plan = model.plan(config, PlanOptions { emit: Some(emit), ..PlanOptions::default() }).unwrap();
    let mut out = Vec::new();
    model.apply(&plan).unwrap().write(&mut out).unwrap();
    (out, plan)
}

/// Every form is written and left as it is by a second run, with the same sites.
fn settles(forward: &[&str], helper: &[&str]) {
    let bytes = net(forward, helper);
    for (quantizer, emit) in FORMS {
        for per_channel in [false, true] {
            let config = config(quantizer, emit, per_channel);
            let (once, first) = compress(&bytes, &config, emit);
            let (twice, second) = compress(&once, &config, emit);
            assert!(first.quantized().next().is_some(), "{quantizer} {emit}");
            let left: Vec<_> = second.quantized().map(|site| &site.tensor).collect();
            assert!(left.is_empty(), "{quantizer} {emit}: {left:?}");
            assert_eq!(once, twice);
            let names = |plan: &Plan| plan.sites.iter().map(|site| site.tensor.clone()).collect::<Vec<_>>();
            assert_eq!(names(&first), names(&second), "{quantizer} {emit}");
        }
    }
}

#[test]
fn a_weight_is_the_same_one_behind_any_number_of_quantizers() {
    // Two axes of `w0`: in `packed` one of them is a copy in the place of decoded codes.
    settles(
        &[
            "y = self.w1",
            "_1 = torch.linear(x, self.w0, None)",
            "_2 = torch.matmul(y, self.w0)",
            "_3 = torch.linear(x, self.w1, None)",
        ],
        &[],
    );
}

#[test]
fn a_product_of_weights_stays_a_part_of_another_one_behind_a_quantizer() {
    settles(&["_1 = torch.matmul(self.w0, self.w1)", "_2 = torch.addmm(x, _1, self.w2)"], &[]);
}

#[test]
fn what_goes_into_a_method_is_an_activation_and_a_weight_in_turn() {
    settles(
        &[
            "_1 = (self).helper(x, )",
            "_2 = (self).helper(torch.slice(self.w1, 0, 0, 1, 1), )",
            "_3 = torch.linear(x, self.w2, None)",
        ],
        &["_101 = torch.matmul(x, self.w0)"],
    );
}

#[test]
fn what_is_unknown_stays_unknown_behind_a_quantizer() {
    settles(
        &["_1 = (self).helper(x, )", "_2 = (self).helper(self.w0, )", "_3 = torch.linear(x, self.w2, None)"],
        &["y = torch.unheard_of(1)", "_101 = torch.matmul(x, y)"],
    );
}

#[test]
fn the_whole_of_a_part_that_several_calls_read_is_quantized_once() {
    let lines =
        ["part = torch.slice(self.w0, 0, 0, 1, 1)", "_1 = torch.linear(x, part, None)", "_2 = torch.matmul(x, part)"];
    settles(&lines, &[]);
    let bytes = net(&lines, &[]);
    for (per_channel, expected) in [(false, [None; 2]), (true, [None, Some("shared-text")])] {
        for emit in [Emit::Training, Emit::Inference] {
            let config = "[{op_types: 'default', quant_types: ['weight'], quant_bits: 8, per_channel: P}]";
            let config =
                ConfigList::parse(&config.replace('P', &per_channel.to_string()), Some(Quantizer::Qat)).unwrap();
            let (written, plan) = compress(&bytes, &config, emit);
            let reasons = plan.sites.iter().map(|site| match &site.decision {
                Decision::Skip(reason) => Some(reason.code.as_ref()),
                Decision::Quantize(_) => None,
            });
            assert_eq!(reasons.collect::<Vec<_>>(), expected, "{emit}");
            let model = Model::from_bytes(written).unwrap();
            let text = model.archive().text("code/__torch__.py").unwrap();
            let line = text.lines().find(|line| line.contains("torch.slice")).unwrap();
            assert_eq!(line.matches(").forward(").count() + line.matches("fake_quantize").count(), 1, "{emit}: {line}");
        }
    }
}

#[test]
fn an_op_that_is_quantized_in_one_of_its_places_stays_as_it_is() {
    // The embedding decides about the part; the product reads it too, and the whole elsewhere.
    settles(
        &[
            "part = torch.slice(self.w0, 0, 0, 1, 1)",
            "_1 = torch.embedding(part, x)",
            "_2 = torch.matmul(x, self.w0)",
            "_3 = torch.matmul(x, part)",
        ],
        &[],
    );
}
