//! Each verb on archives of n, 2n and 4n of what costs it most: near linear in memory and in work.
//!
//! One test in a file of its own: the allocation counter is the process's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../tests/common/growth.rs"]
mod growth;
#[path = "../../tests/common/peak.rs"]
mod peak;

use common::net::{frozen, lines, model};
use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use torch_adapter::{Model, PlanOptions};

fn own_weights(count: usize) -> Vec<u8> {
    model(count, &[], "", &lines(count, |number| format!("x = torch.linear(x, self.w{number}, None)")))
}

fn one_weight(count: usize) -> Vec<u8> {
    model(1, &[], "", &lines(count, |_| "x = torch.linear(x, self.w0, None)".to_owned()))
}

fn many_names(count: usize) -> Vec<u8> {
    model(1, &[], "", &lines(count, |number| format!("y{number} = torch.relu(x)")))
}

fn many_methods(count: usize) -> Vec<u8> {
    let method = |number: usize| {
        let next =
            if number + 1 == count { "torch.relu(x)".to_owned() } else { format!("(self).h{}(x, )", number + 1) };
        format!(
            "  def h{number}(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n    y = torch.linear(x, self.w0, None)\n    return {next}\n"
        )
    };
    let methods: String = (0..count).map(method).collect();
    model(1, &[], "", &format!("{}{methods}", lines(1, |_| "x = (self).h0(x, )".to_owned())))
}

fn blocks(count: usize) -> Vec<u8> {
    model(
        1,
        &[],
        "",
        &lines(count, |_| "if torch.gt(torch.len(x), 1):\n      x = self.w0\n    else:\n      pass".to_owned()),
    )
}

fn long_expression(count: usize) -> Vec<u8> {
    model(1, &[], "", &lines(1, |_| format!("y = [{}x]", "torch.relu(x), ".repeat(count))))
}

fn long_list(count: usize) -> Vec<u8> {
    let more = [b"X\x01\x00\x00\x00l](".as_slice(), &b"K\x07".repeat(count), b"e"].concat();
    model(1, &more, "  l : List[int]\n", &lines(1, |_| "x = torch.linear(x, self.w0, None)".to_owned()))
}

fn compress(bytes: &[u8], quantizer: Quantizer, emit: Emit) -> Vec<u8> {
    let types = if emit == Emit::Training { "'weight', 'input', 'output'" } else { "'weight'" };
    let text = format!("[{{op_types: ['default', 'ReLU'], quant_types: [{types}], quant_bits: 8}}]");
    let config = ConfigList::parse(&text, Some(quantizer)).unwrap();
    let model = Model::from_bytes(bytes.to_vec()).unwrap();
    let plan = model.plan(&config, PlanOptions { emit: Some(emit), ..PlanOptions::default() }).unwrap();
    let mut out = Vec::new();
    model.apply(&plan).unwrap().write(&mut out).unwrap();
    out
}

#[test]
fn twice_the_archive_is_twice_the_work() {
    let shapes: [growth::Shape<'_>; 7] = [
        ("weights", &own_weights),
        ("one weight", &one_weight),
        ("names", &many_names),
        ("methods", &many_methods),
        ("blocks", &blocks),
        ("an expression", &long_expression),
        ("a list", &long_list),
    ];
    let verbs: [growth::Verb<'_>; 8] = [
        ("open", &|bytes| drop(Model::from_bytes(bytes.clone()).unwrap())),
        ("inspect", &|bytes| drop(Model::from_bytes(bytes.clone()).unwrap().inspect().unwrap())),
        ("diff", &|bytes| {
            let model = Model::from_bytes(bytes.clone()).unwrap();
            drop(model.diff(&model).unwrap());
        }),
        ("baked", &|bytes| drop(compress(bytes, Quantizer::Naive, Emit::Baked))),
        ("packed", &|bytes| drop(compress(bytes, Quantizer::Naive, Emit::Packed))),
        ("inference", &|bytes| drop(compress(bytes, Quantizer::DoReFa, Emit::Inference))),
        ("training of QAT", &|bytes| drop(compress(bytes, Quantizer::Qat, Emit::Training))),
        ("training of DoReFa", &|bytes| drop(compress(bytes, Quantizer::DoReFa, Emit::Training))),
    ];
    growth::check(&shapes, &verbs, 200);
    let trained = |bytes: Vec<u8>| compress(&bytes, Quantizer::Qat, Emit::Training);
    let shapes: [growth::Shape<'_>; 3] = [
        ("trained weights", &|count| trained(own_weights(count))),
        ("a trained weight", &|count| trained(one_weight(count))),
        ("trained activations", &|count| trained(many_names(count))),
    ];
    let freeze = |bytes: &[u8], emit: Emit| {
        let mut out = Vec::new();
        Model::from_bytes(bytes.to_vec()).unwrap().freeze(emit).unwrap().write(&mut out).unwrap();
    };
    let verbs: [growth::Verb<'_>; 3] = [
        ("freeze to inference", &|bytes| freeze(bytes, Emit::Inference)),
        ("freeze to baked", &|bytes| freeze(bytes, Emit::Baked)),
        ("freeze to packed", &|bytes| freeze(bytes, Emit::Packed)),
    ];
    growth::check(&shapes, &verbs, 200);
    let verbs: [growth::Verb<'_>; 3] = [
        ("baked", &|bytes| drop(compress(bytes, Quantizer::Naive, Emit::Baked))),
        ("packed", &|bytes| drop(compress(bytes, Quantizer::Naive, Emit::Packed))),
        ("training", &|bytes| drop(compress(bytes, Quantizer::Qat, Emit::Training))),
    ];
    growth::check(&[("constants", &frozen)], &verbs, 200);
}
