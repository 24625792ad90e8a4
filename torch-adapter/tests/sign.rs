//! Which grid LSQ takes for an activation: unsigned where the code says that it is never negative.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::net::{FORWARD, model};
use quant_math::config::ConfigList;
use quant_math::{Emit, QuantType, Quantizer};
use torch_adapter::{Model, PlanOptions};

/// Whether each tensor of `kind` of the calls of `op_type` is on the signed grid, in the order of the lines.
fn signed(lines: &[&str], op_type: &str, kind: QuantType, more: &str) -> Vec<bool> {
    let body: String = lines.iter().flat_map(|line| ["    ", line, "\n"]).collect();
    let bytes = model(3, &[], "", &format!("{FORWARD}{body}    return x\n"));
    let text = format!("[{{op_types: ['{op_type}'], quant_types: ['{kind}'], quant_bits: 4{more}}}]");
    let config = ConfigList::parse(&text, Some(Quantizer::Lsq)).unwrap();
    let options = PlanOptions { emit: Some(Emit::Training), ..PlanOptions::default() };
    let plan = Model::from_bytes(bytes).unwrap().plan(&config, options).unwrap();
    plan.quantized().map(|site| site.settings().unwrap().symmetric).collect()
}

fn inputs(lines: &[&str]) -> Vec<bool> {
    signed(lines, "Tanh", QuantType::Input, "")
}

#[test]
fn what_makes_nothing_below_0_makes_unsigned_tensors() {
    for made in [
        "torch.relu(x)",
        "torch.relu_(torch.linear(x, self.w0, None))",
        "torch.hardtanh(x, 0., 6.)",
        "torch.clamp(torch.tanh(x), 0, 1)",
        "torch.sigmoid(x)",
        "torch.softmax(x, 1)",
        "torch.exp(torch.tanh(x))",
        "torch.abs(torch.tanh(x))",
    ] {
        let found = inputs(&[&format!("y = {made}"), "_1 = torch.tanh(y)"]);
        assert_eq!(found.last(), Some(&false), "{made}");
    }
    for made in ["x", "torch.tanh(x)", "torch.hardtanh(x, -1., 1.)", "torch.clamp(x, -1, 1)", "torch.gelu(x)"] {
        let found = inputs(&[&format!("y = {made}"), "_1 = torch.tanh(y)"]);
        assert_eq!(found.last(), Some(&true), "{made}");
    }
}

#[test]
fn what_passes_values_on_keeps_the_grid() {
    for made in [
        "torch.max_pool2d(y, [2, 2])",
        "torch.flatten(torch.avg_pool2d(y, [2, 2]), 1)",
        "torch.dropout(torch.view(y, [1, 4]), 0.5, False)",
        "torch.permute(torch.contiguous(y), [1, 0])",
        "torch.cat([y, torch.sigmoid(x)], 1)",
        "torch.add(y, y)",
        "torch.mul(y, torch.sigmoid(x))",
        "torch.constant_pad_nd(y, [1, 1], 0.)",
        "torch.to(torch.slice(y, 0, 0, 1), 6)",
        "torch.mean(y, [1])",
    ] {
        assert_eq!(inputs(&["y = torch.relu(x)", &format!("_1 = torch.tanh({made})")]), [false], "{made}");
        assert_eq!(inputs(&["y = torch.gelu(x)", &format!("_1 = torch.tanh({made})")]), [true], "{made}");
    }
    for made in [
        "torch.sub(y, 1)",
        "torch.neg(y)",
        "torch.add(y, x)",
        "torch.add(y, y, alpha=-1)",
        "torch.cat([y, torch.gelu(x)], 1)",
        "torch.constant_pad_nd(y, [1, 1], -1.)",
        "torch.linear(y, self.w0, None)",
    ] {
        assert_eq!(inputs(&["y = torch.relu(x)", &format!("_1 = torch.tanh({made})")]), [true], "{made}");
    }
}

#[test]
fn what_is_written_into_a_tensor_or_chosen_in_a_turn_counts() {
    assert_eq!(inputs(&["y = torch.relu(x)", "_1 = torch.sub_(y, 1)", "_2 = torch.tanh(y)"]), [true]);
    assert_eq!(inputs(&["y = torch.relu(x)", "_1 = torch.mul_(y, y)", "_2 = torch.tanh(y)"]), [false]);
    let turns = ["y = torch.relu(x)", "for _0 in range(2):", "  y = torch.tanh(y)"];
    assert_eq!(inputs(&turns), [true]);
    let ways = |other: &str| {
        let other = format!("  y = torch.{other}(x)");
        inputs(&["if bool(1):", "  y = torch.relu(x)", "else:", &other, "_1 = torch.tanh(y)"])
    };
    assert_eq!((ways("sigmoid"), ways("gelu")), (vec![false], vec![true]));
}

#[test]
fn outputs_have_the_grid_of_their_op_and_the_entry_decides_before() {
    let lines = ["y = torch.relu(x)", "_1 = torch.max_pool2d(y, [2, 2])", "_2 = torch.tanh(y)"];
    for (op_type, expected) in [("ReLU", false), ("MaxPool2d", false), ("Tanh", true)] {
        assert_eq!(signed(&lines, op_type, QuantType::Output, ""), [expected], "{op_type}");
    }
    assert_eq!(signed(&lines, "ReLU", QuantType::Output, ", symmetric: true"), [true]);
    assert_eq!(signed(&lines, "Tanh", QuantType::Output, ", symmetric: {output: false}"), [false]);
}
