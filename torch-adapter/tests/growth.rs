//! Each verb on archives of n, 2n and 4n of what costs it most: near linear in memory and in work.
//!
//! One test in a file of its own: the allocation counter is the process's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../tests/common/growth.rs"]
mod growth;
#[path = "../../tests/common/peak.rs"]
mod peak;

use std::borrow::Cow;
use std::fmt::Write as _;

use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use torch_adapter::archive::{Body, Edits, write};
use torch_adapter::{Model, PlanOptions};

/// A model of class `Net` with `weights` tensors of shape [2, 2], each in a record of its own, and this text below the declarations.
fn model(weights: usize, more: &[u8], declared: &str, code: &str) -> Vec<u8> {
    let base = common::open(common::model("tied.script.pt"));
    let text = |text: &str| [b"X", &u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat();
    let mut pickle = b"\x80\x02c__torch__\nNet\n)\x81}(".to_vec();
    let mut class = "class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n".to_owned();
    let mut edits = Edits::new();
    for record in base.records().filter(|record| record.starts_with("data/") || record.starts_with("code/")) {
        edits.remove(record);
    }
    for number in 0..weights {
        let (name, record) = (format!("w{number}"), format!("data/{number}"));
        pickle.extend(text(&name));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(text("storage"));
        pickle.extend(b"ctorch\nFloatStorage\n");
        pickle.extend([text(&number.to_string()), text("cpu")].concat());
        pickle.extend(b"K\x04tQK\x00K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR");
        writeln!(class, "  {name} : Tensor").unwrap();
        let values: Vec<u8> = [1.0_f32, -2.0, 3.0, 0.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        let body = Body::Bytes(Cow::Owned(values));
        if base.has(&record) { edits.replace(record, body) } else { edits.add(record, body) }
    }
    pickle.extend(more);
    pickle.extend(b"ub.");
    edits.replace("data.pkl", Body::Bytes(Cow::Owned(pickle)));
    let code = format!("{class}{declared}{code}");
    edits.replace("code/__torch__.py", Body::Bytes(Cow::Owned(code.into_bytes())));
    let mut out = Vec::new();
    write(&base, &edits, &mut out, &|_| {}).unwrap();
    out
}

const FORWARD: &str = "  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n";

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    let body = (0..count).map(line).collect::<Vec<_>>().join("\n    ");
    format!("{FORWARD}    {body}\n    return x\n")
}

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
        ("open", &|bytes| drop(Model::from_bytes(bytes.to_vec()).unwrap())),
        ("inspect", &|bytes| drop(Model::from_bytes(bytes.to_vec()).unwrap().inspect().unwrap())),
        ("diff", &|bytes| {
            let model = Model::from_bytes(bytes.to_vec()).unwrap();
            drop(model.diff(&model).unwrap());
        }),
        ("baked", &|bytes| drop(compress(bytes, Quantizer::Naive, Emit::Baked))),
        ("packed", &|bytes| drop(compress(bytes, Quantizer::Naive, Emit::Packed))),
        ("inference", &|bytes| drop(compress(bytes, Quantizer::DoReFa, Emit::Inference))),
        ("training of QAT", &|bytes| drop(compress(bytes, Quantizer::Qat, Emit::Training))),
        ("training of DoReFa", &|bytes| drop(compress(bytes, Quantizer::DoReFa, Emit::Training))),
    ];
    growth::check(&shapes, &verbs, 200);
}
