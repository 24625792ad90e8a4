//! Archives of one class, made from its text.

use std::borrow::Cow;
use std::fmt::Write as _;

use torch_adapter::archive::{Archive, Body, Edits, write};

/// A model of class `Net` with `weights` tensors of shape [2, 2], each in a record of its own, and this text below the declarations.
pub(crate) fn model(weights: usize, more: &[u8], declared: &str, code: &str) -> Vec<u8> {
    let base = super::open(super::model("tied.script.pt"));
    let mut pickle = b"\x80\x02c__torch__\nNet\n)\x81}(".to_vec();
    let mut class = "class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n".to_owned();
    let mut edits = Edits::new();
    for record in base.records().filter(|record| record.starts_with("data/") || record.starts_with("code/")) {
        edits.remove(record);
    }
    for number in 0..weights {
        let name = format!("w{number}");
        pickle.extend(text(&name));
        tensor(&mut pickle, number);
        writeln!(class, "  {name} : Tensor").unwrap();
        put(&base, &mut edits, format!("data/{number}"), values());
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

/// A frozen model: `count` constants of shape [2, 2], each the weight of a call.
pub(crate) fn frozen(count: usize) -> Vec<u8> {
    let base = super::open(model(
        0,
        &[],
        "",
        &lines(count, |number| format!("x = torch.linear(x, CONSTANTS.c{number}, None)")),
    ));
    let mut pickle = b"\x80\x02(".to_vec();
    let mut edits = Edits::new();
    for number in 0..count {
        tensor(&mut pickle, number);
        put(&base, &mut edits, format!("constants/{number}"), values());
    }
    pickle.extend(b"t.");
    put(&base, &mut edits, "constants.pkl".to_owned(), pickle);
    let mut out = Vec::new();
    write(&base, &edits, &mut out, &|_| {}).unwrap();
    out
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat()
}

/// A tensor of shape [2, 2] in the record of that number.
fn tensor(pickle: &mut Vec<u8>, number: usize) {
    pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle.extend(text("storage"));
    pickle.extend(b"ctorch\nFloatStorage\n");
    pickle.extend([text(&number.to_string()), text("cpu")].concat());
    pickle.extend(b"K\x04tQK\x00K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR");
}

fn values() -> Vec<u8> {
    [1.0_f32, -2.0, 3.0, 0.5].iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn put(base: &Archive, edits: &mut Edits<'_>, record: String, bytes: Vec<u8>) {
    let body = Body::Bytes(Cow::Owned(bytes));
    if base.has(&record) { edits.replace(record, body) } else { edits.add(record, body) }
}

/// The head of its method.
pub(crate) const FORWARD: &str = "  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n";

/// The method with `count` lines.
pub(crate) fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    let body = (0..count).map(line).collect::<Vec<_>>().join("\n    ");
    format!("{FORWARD}    {body}\n    return x\n")
}
