//! Archives that are made from choices: modules, their pickle, their class text and their records agree, so that what is behind the
//! readers' checks is reached too; then changes to text, pickle, records or the finished file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use torch_adapter::archive::{Archive, Body, Edits, write};

use super::choices::Choices;

/// Which part of an archive is changed after it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    None,
    /// The class text.
    Code,
    /// The pickle.
    Pickle,
    /// A tensor's record.
    Record,
    /// The finished file.
    File,
}

/// An archive; `base` is a sound one, whose objects, code and tensors are exchanged.
pub(crate) fn archive(choices: &mut Choices<'_>, base: &Archive, damage: Damage) -> Vec<u8> {
    let changes = if damage == Damage::None { 0 } else { 1 + choices.below(3) };
    let mut made = Made::default();
    made.root(choices);
    let (mut code, mut pickle) = (made.files, made.pickle);
    let mut records = made.records;
    for _ in 0..changes {
        match damage {
            Damage::Code => {
                let which = choices.below(code.len());
                if let Some(text) = code.values_mut().nth(which) {
                    *text = changed_text(choices, text);
                }
            }
            Damage::Pickle => changed_pickle(choices, &mut pickle),
            Damage::Record if !records.is_empty() => {
                let which = choices.below(records.len());
                choices.damage(&mut records[which]);
            }
            _ => {}
        }
    }
    let mut contents: BTreeMap<String, Vec<u8>> =
        code.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    contents.insert("data.pkl".to_owned(), pickle);
    contents.extend(records.into_iter().enumerate().map(|(number, bytes)| (format!("data/{number}"), bytes)));
    let mut edits = Edits::new();
    for record in base.records().filter(|record| record.starts_with("data/") || record.starts_with("code/")) {
        edits.remove(record);
    }
    for (record, bytes) in contents {
        let body = Body::Bytes(Cow::Owned(bytes));
        if base.has(&record) { edits.replace(record, body) } else { edits.add(record, body) }
    }
    let mut out = Vec::new();
    write(base, &edits, &mut out, &|_| {}).expect("records with new content");
    for _ in 0..changes {
        if damage == Damage::File {
            choices.damage(&mut out);
        }
    }
    out
}

/// The parts of an archive.
#[derive(Debug, Default)]
struct Made {
    pickle: Vec<u8>,
    /// Text by record.
    files: BTreeMap<String, String>,
    /// Bytes of the tensors.
    records: Vec<Vec<u8>>,
    /// Memo positions of tensors and of children that can stand again: position, and for children attribute's type.
    tensors: Vec<u8>,
    children: Vec<(u8, String)>,
    memo: u8,
    classes: usize,
}

impl Made {
    fn text(&mut self, text: &str) {
        self.pickle.push(b'X');
        self.pickle.extend(u32::try_from(text.len()).expect("a short text").to_le_bytes());
        self.pickle.extend(text.as_bytes());
    }

    fn int(&mut self, value: usize) {
        self.pickle.push(b'J');
        self.pickle.extend(u32::try_from(value).expect("a small number").to_le_bytes());
    }

    fn ints(&mut self, values: &[usize]) {
        self.pickle.push(b'(');
        for value in values {
            self.int(*value);
        }
        self.pickle.push(b't');
    }

    /// Remember the newest value, while there are positions.
    fn remember(&mut self) -> Option<u8> {
        let position = self.memo;
        self.memo = position.checked_add(1)?;
        self.pickle.extend([b'q', position]);
        Some(position)
    }

    /// A tensor: a new one, a view of a record, or one that stands elsewhere too.
    fn tensor(&mut self, choices: &mut Choices<'_>, rank: usize) {
        if !self.tensors.is_empty() && choices.once_in(5) {
            let position = choices.one_of(&self.tensors);
            self.pickle.extend([b'h', position]);
            return;
        }
        let mut shape: Vec<usize> =
            (0..rank).map(|_| if choices.once_in(50) { 0 } else { 1 + choices.below(5) }).collect();
        // Long enough for codes to share bytes.
        let is_long = rank > 1 && choices.once_in(6);
        if is_long {
            shape[0] = 1400 + choices.below(50);
        }
        let (class, size) = choices.one_of(&[
            ("Float", 4),
            ("Float", 4),
            ("Float", 4),
            ("Half", 2),
            ("Double", 8),
            ("BFloat16", 2),
            ("Long", 8),
        ]);
        let elements: usize = shape.iter().product();
        let mut strides: Vec<usize> = (0..rank).map(|axis| shape[axis + 1..].iter().product()).collect();
        if choices.once_in(6) {
            // Stored in another order of axes.
            strides = (0..rank).map(|axis| shape[..axis].iter().product()).collect();
        }
        let some = if is_long { elements.min(97) } else { elements };
        let noise: Vec<u8> = (0..some * size).map(|_| choices.byte() & 0x3f).collect();
        let mut bytes: Vec<u8> = noise.iter().copied().cycle().take(elements * size).collect();
        if choices.once_in(10) {
            bytes.fill(0);
        }
        self.pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.pickle.extend(format!("ctorch\n{class}Storage\n").bytes());
        self.text(&self.records.len().to_string());
        self.text(choices.one_of(&["cpu", "cpu", "cuda:0"]));
        self.int(elements);
        self.records.push(bytes);
        self.pickle.extend(b"tQ");
        self.int(0);
        self.ints(&shape);
        self.ints(&strides);
        self.pickle.push(if choices.once_in(2) { 0x88 } else { 0x89 });
        self.pickle.extend(b"ccollections\nOrderedDict\n)RtR");
        if let Some(position) = self.remember() {
            self.tensors.push(position);
        }
    }

    /// The beginning of an object of class `qualified`; `ub` ends it.
    fn open(&mut self, qualified: &str) {
        let (module, name) = qualified.rsplit_once('.').expect("a qualified name");
        self.pickle
            .extend(format!("c{module}\n{name}\n)\x7f}}(").bytes().map(|byte| if byte == 0x7f { 0x81 } else { byte }));
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.text(name);
        self.pickle.push(if value { 0x88 } else { 0x89 });
    }

    /// A module of torch's own in a class of its own, as torch mangles them; its qualified class.
    fn leaf(&mut self, choices: &mut Choices<'_>) -> String {
        let (file, class, rank, call) = choices.one_of(&[
            ("linear", "Linear", 2, "torch.linear(input, weight, bias)"),
            ("linear", "Linear", 2, "torch.matmul(input, torch.t(weight))"),
            ("linear", "Linear", 2, "torch.linear(input, torch.to(weight, 6), bias)"),
            ("conv", "Conv1d", 3, "torch.conv1d(input, weight, bias, [1], [0], [1], 1)"),
            ("conv", "Conv2d", 4, "torch.conv2d(input, weight, bias, [1, 1], [0, 0], [1, 1], 1)"),
            ("conv", "Conv2d", 4, "torch._convolution(input, weight, bias, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, False, False, True, True)"),
            ("conv", "ConvTranspose2d", 4, "torch.conv_transpose2d(input, weight, bias, [1, 1], [0, 0], [0, 0], 1, [1, 1])"),
            ("sparse", "Embedding", 2, "torch.embedding(weight, input)"),
            ("activation", "ReLU", 0, "torch.relu(input)"),
            ("rnn", "LSTM", 2, "torch.tanh(input)"),
        ]);
        self.classes += 1;
        let module = format!("__torch__.torch.nn.modules.{file}.___torch_mangle_{}", self.classes);
        let qualified = format!("{module}.{class}");
        let has_bias = choices.once_in(2);
        self.open(&qualified);
        let mut text = format!("class {class}(Module):\n  __parameters__ = [\"weight\", ]\n  __buffers__ = []\n");
        if rank > 0 {
            self.text("weight");
            self.tensor(choices, rank);
            text.push_str("  weight : Tensor\n");
            self.text("bias");
            if has_bias {
                self.tensor(choices, 1);
            } else {
                self.pickle.push(b'N');
            }
            text.push_str(if has_bias { "  bias : Tensor\n" } else { "  bias : NoneType\n" });
        }
        self.flag("training", false);
        self.pickle.extend(b"ub");
        text.push_str("  training : bool\n");
        if choices.once_in(3) {
            text.push_str("  in_features : Final[int] = 3\n");
        }
        text.push_str(&format!("  def forward(self: {qualified},\n    input: Tensor) -> Tensor:\n"));
        if rank > 0 {
            text.push_str("    weight = self.weight\n    bias = self.bias\n");
        }
        text.push_str(&format!("    return {call}\n"));
        self.files.insert(format!("code/{}.py", module.replace('.', "/")), text);
        if let Some(position) = self.remember() {
            self.children.push((position, qualified.clone()));
        }
        qualified
    }

    fn root(&mut self, choices: &mut Choices<'_>) {
        self.pickle.extend(b"\x80\x02");
        self.open("__torch__.Net");
        let mut text = "class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n".to_owned();
        self.flag("training", false);
        text.push_str("  training : bool\n");
        let mut names = Names::default();
        for number in 0..=choices.below(5) {
            let name = format!("m{number}");
            self.text(&name);
            let class = if !self.children.is_empty() && choices.once_in(5) {
                let (position, class) = self.children[choices.below(self.children.len())].clone();
                self.pickle.extend([b'h', position]);
                class
            } else {
                self.leaf(choices)
            };
            text.push_str(&format!("  {name} : {class}\n"));
            names.modules.push(name);
        }
        for number in 0..choices.below(4) {
            let name = format!("w{number}");
            self.text(&name);
            let rank = 1 + choices.below(4);
            self.tensor(choices, rank);
            text.push_str(&format!("  {name} : {}\n", choices.one_of(&["Tensor", "Tensor", "Optional[Tensor]"])));
            names.tensors.push(name);
        }
        if choices.once_in(3) {
            self.text("l");
            self.pickle.extend(b"](");
            self.tensor(choices, 2);
            self.tensor(choices, 2);
            self.pickle.extend(b"e");
            text.push_str("  l : List[Tensor]\n");
            names.list = true;
        }
        if choices.once_in(4) {
            self.text("note");
            self.text("a text");
            self.text("size");
            self.ints(&[1, 2]);
            text.push_str("  note : str\n  size : Tuple[int, int]\n");
        }
        self.pickle.extend(b"ub.");
        names.values.push("x".to_owned());
        text.push_str("  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n");
        let count = 3 + choices.below(10);
        names.block(choices, &mut text, "    ", count);
        text.push_str(&format!("    return {}\n", names.value(choices)));
        let mut helper = Names { values: vec!["x".to_owned()], ..names };
        helper.next = 100;
        text.push_str("  def helper(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n");
        helper.no_calls = true;
        helper.block(choices, &mut text, "    ", 2);
        text.push_str(&format!("    return {}\n", helper.value(choices)));
        text.push_str("def free(x: Tensor,\n    w: Tensor) -> Tensor:\n  return torch.linear(x, w, None)\n");
        self.files.insert("code/__torch__.py".to_owned(), text);
    }
}

/// The names that a method's text can use.
#[derive(Debug, Clone, Default)]
struct Names {
    modules: Vec<String>,
    tensors: Vec<String>,
    list: bool,
    values: Vec<String>,
    next: usize,
    no_calls: bool,
}

impl Names {
    fn value(&self, choices: &mut Choices<'_>) -> String {
        self.values[choices.below(self.values.len())].clone()
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("_{}", self.next)
    }

    /// Text of a tensor of the model.
    fn weight(&self, choices: &mut Choices<'_>) -> String {
        match (choices.below(4), self.tensors.is_empty(), self.modules.is_empty()) {
            (0, _, false) => format!("(self.{}).weight", self.modules[choices.below(self.modules.len())]),
            (1, _, _) if self.list => format!("(self.l)[{}]", choices.below(2)),
            (_, false, _) => format!("self.{}", self.tensors[choices.below(self.tensors.len())]),
            _ => self.value(choices),
        }
    }

    fn block(&mut self, choices: &mut Choices<'_>, out: &mut String, indent: &str, count: usize) {
        let outer = self.values.len();
        for _ in 0..count {
            self.statement(choices, out, indent);
        }
        if count == 0 {
            out.push_str(&format!("{indent}pass\n"));
        }
        if indent.len() > 4 {
            self.values.truncate(outer);
        }
    }

    fn statement(&mut self, choices: &mut Choices<'_>, out: &mut String, indent: &str) {
        let (x, w) = (self.value(choices), self.weight(choices));
        let expression = match choices.below(16) {
            0..=2 if !self.modules.is_empty() => {
                format!("(self.{}).forward({x}, )", self.modules[choices.below(self.modules.len())])
            }
            3 => format!("torch.linear({x}, {w}, None)"),
            4 => format!("torch.matmul({x}, torch.t({w}))"),
            5 => format!("torch.conv2d({x}, {w}, None, [1, 1], [0, 0], [1, 1], 1)"),
            6 => format!("torch.relu({x})"),
            7 => format!("torch.add({x}, {})", self.value(choices)),
            8 if !self.no_calls => format!("(self).helper({x}, )"),
            9 => format!("__torch__.free({x}, {w}, )"),
            10 => format!("unchecked_cast(Tensor, {w})"),
            11 => {
                let (first, second) = (self.fresh(), self.fresh());
                out.push_str(&format!("{indent}{first}, {second}, = torch.chunk({w}, 2)\n"));
                self.values.extend([first.clone(), second]);
                format!("torch.embedding({first}, {x})")
            }
            12 if indent.len() < 10 => {
                out.push_str(&format!("{indent}if torch.gt(torch.len({x}), 1):\n"));
                let (inner, count) = (format!("{indent}  "), choices.below(3));
                self.block(choices, out, &inner, count);
                out.push_str(&format!("{indent}else:\n{inner}{x} = {w}\n"));
                format!("torch.transpose({w}, 0, 1)")
            }
            13 if indent.len() < 10 => {
                out.push_str(&format!("{indent}for i in range(3):\n"));
                let (inner, count) = (format!("{indent}  "), choices.below(3));
                self.block(choices, out, &inner, count);
                format!("torch.addmm({x}, {}, {w})", self.value(choices))
            }
            14 if !self.tensors.is_empty() => {
                let name = &self.tensors[choices.below(self.tensors.len())];
                out.push_str(&format!("{indent}self.{name} = {x}\n"));
                format!("annotate(List[Tensor], [{x}, {w}])[0]")
            }
            _ => format!("torch.slice({w}, 0, 0, {}, 1)", choices.below(4)),
        };
        let name = self.fresh();
        out.push_str(&format!("{indent}{name} = {expression}\n"));
        self.values.push(name);
    }
}

/// The text with lines or words removed, repeated, exchanged, or bytes changed.
pub(crate) fn changed_text(choices: &mut Choices<'_>, text: &str) -> String {
    let by_line = choices.once_in(2);
    let words: Vec<&str> = if by_line {
        text.split_inclusive('\n').collect()
    } else {
        text.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_').collect()
    };
    if words.is_empty() {
        return text.to_owned();
    }
    let (at, other) = (choices.below(words.len()), choices.below(words.len()));
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    match choices.below(6) {
        0 => drop(words.remove(at)),
        1 => words.insert(other, words[at].clone()),
        2 => words.swap(at, other),
        3 => {
            let other = words[other].clone();
            words[at] = other;
        }
        4 => {
            let depth = 1 << choices.below(10);
            words[at] = format!("{}{}{}", "(".repeat(depth), words[at].trim_end(), ")".repeat(depth));
        }
        _ => {
            let mut bytes = std::mem::take(&mut words[at]).into_bytes();
            choices.damage(&mut bytes);
            words[at] = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    words.concat()
}

/// The pickle with an instruction removed, repeated or exchanged, or bytes changed.
fn changed_pickle(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    const INSTRUCTIONS: &[u8] = b"N()]}tus.RQqhKJXb\x81\x85\x86\x87\x88\x89";
    match choices.below(3) {
        0 if !bytes.is_empty() => {
            let at = choices.below(bytes.len());
            bytes[at] = choices.one_of(INSTRUCTIONS);
        }
        1 => {
            let at = choices.below(bytes.len() + 1);
            bytes.insert(at, choices.one_of(INSTRUCTIONS));
        }
        _ => choices.damage(bytes),
    }
}
