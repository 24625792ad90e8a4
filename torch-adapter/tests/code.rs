//! The reader of TorchScript source on texts as PyTorch 1.0 to 2.x write them, and on damaged ones.
#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test fails by panicking")]

use proptest::prelude::*;
use torch_adapter::code::{Class, ExprKind, Function, SourceFile, Splice, StatementKind, Target, parse, text_of};

const MODULE: &str = r#"class Block(Module):
  __parameters__ = ["weight", "bias", ]
  __buffers__ = ["running_mean", ]
  weight : Tensor
  bias : Optional[Tensor]
  running_mean : Tensor
  training : bool
  __annotations__["0"] = __torch__.torch.nn.modules.conv.Conv2d
  eps : Final[float] = 1.0000000000000001e-05
  padding : Final[Tuple[int, int]] = (1, 1)
  def forward(s: __torch__.Block,
    x: Tensor,
    names: Dict[str, List[int]]={"a(": [1]},
    scale: float=-inf) -> Tuple[Tensor, Optional[Tensor]]:
    _0 = "a \"quoted\" ) bracket, and \\"
    weight = s.weight
    conv = getattr(s, "0")
    if torch.gt(torch.dim(x), 3):
      y = (conv).forward(torch.relu(x), )
    else:
      y = torch.conv2d(x, weight, None, [1, 1], [0, 0],
          [1, 1])
    for i in range(3):
      a, b, = torch.chunk(y, 2)
      y : Tensor = torch.add(a, b, alpha=-1)
    return (y, None)
  def forward1(s: __torch__.Block) -> int:
    return 5
  def __len__(s: __torch__.Block) -> int:
    return 5
def relu(input: Tensor,
    inplace: bool=False) -> Tensor:
  if inplace:
    result = torch.relu_(input)
  else:
    result = torch.relu(input)
  return result
"#;

const OLD: &str = "op_version_set = 1\r\nimport __torch__.torch.nn\r\nfrom a import b\r\nclass Net(Module):\r\n    __parameters__ = [\"weight\",]\r\n    weight : Tensor\r\n    def forward(self: __torch__.Net,\r\n      input: Tensor) -> Tensor:\r\n      # a comment with ( in it\r\n      _0 = torch.matmul(input, torch.t(self.weight))\r\n      return torch.add_(_0, 1, alpha=1)\r\n";

fn class<'a>(file: &'a SourceFile, name: &str) -> &'a Class {
    file.classes.iter().find(|class| class.name == name).unwrap()
}

fn calls<'a>(source: &'a str, function: &'a Function) -> Vec<&'a str> {
    let callee = |kind: &ExprKind| match kind {
        ExprKind::Call { callee, .. } => Some(text_of(source, &function.expr(*callee).unwrap().span)),
        _ => None,
    };
    function.exprs.iter().filter_map(|expr| callee(&expr.kind)).collect()
}

#[test]
fn a_class_is_read_with_its_declarations() {
    let file = parse(MODULE).unwrap();
    let block = class(&file, "Block");
    assert_eq!(block.base, "Module");
    assert_eq!(block.parameters.as_ref().unwrap().names, ["weight", "bias"]);
    assert_eq!(block.buffers.as_ref().unwrap().names, ["running_mean"]);
    let attributes: Vec<_> =
        block.attributes.iter().map(|a| (a.name.as_str(), text_of(MODULE, &a.ty), a.constant)).collect();
    assert_eq!(
        attributes,
        [
            ("weight", "Tensor", false),
            ("bias", "Optional[Tensor]", false),
            ("running_mean", "Tensor", false),
            ("training", "bool", false),
            ("0", "__torch__.torch.nn.modules.conv.Conv2d", false),
            ("eps", "Final[float]", true),
            ("padding", "Final[Tuple[int, int]]", true),
        ]
    );
    assert!(MODULE[block.body_start..].starts_with("  __parameters__"));
    assert!(MODULE[..block.span.end].ends_with("return 5"));
    assert!(!block.has_hooks);
}

#[test]
fn methods_and_functions_are_read_with_their_calls() {
    let file = parse(MODULE).unwrap();
    let block = class(&file, "Block");
    let names: Vec<_> = block.methods.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["forward", "forward1", "__len__"]);
    let forward = block.method("forward").unwrap();
    let parameters: Vec<_> = forward.parameters.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(parameters, ["s", "x", "names", "scale"]);
    assert_eq!(&MODULE[forward.parameters_end..=forward.parameters_end], ")");
    assert_eq!(
        calls(MODULE, forward),
        [
            "getattr",
            "torch.dim",
            "torch.gt",
            "torch.relu",
            "(conv).forward",
            "torch.conv2d",
            "range",
            "torch.chunk",
            "torch.add"
        ]
    );
    assert_eq!(calls(MODULE, &file.functions[0]), ["torch.relu_", "torch.relu"]);
    assert_eq!(file.functions[0].name, "relu");
}

#[test]
fn statements_say_what_they_bind_and_how_deep_they_are() {
    let file = parse(MODULE).unwrap();
    let forward = class(&file, "Block").method("forward").unwrap();
    let shown: Vec<_> = forward
        .body
        .iter()
        .map(|statement| {
            let names = |targets: &[Target]| -> Vec<String> {
                targets
                    .iter()
                    .map(|target| match target {
                        Target::Name(span) => text_of(MODULE, span).to_owned(),
                        Target::Place(_) => "place".to_owned(),
                    })
                    .collect()
            };
            let (what, binds) = match &statement.kind {
                StatementKind::Assign { targets, unpack: false, .. } => ("=", names(targets)),
                StatementKind::Assign { targets, .. } => ("unpack", names(targets)),
                StatementKind::Return(_) => ("return", Vec::new()),
                StatementKind::Expr(_) => ("expr", Vec::new()),
                StatementKind::Other { binds, .. } => {
                    ("other", binds.iter().map(|span| text_of(MODULE, span).to_owned()).collect())
                }
            };
            format!("{} {what} {}", statement.depth, binds.join(","))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "0 = _0",
            "0 = weight",
            "0 = conv",
            "0 other ",
            "1 = y",
            "0 other ",
            "1 = y",
            "0 other i",
            "1 unpack a,b",
            "1 = y",
            "0 return "
        ]
    );
}

#[test]
fn arguments_are_split_at_depth_0() {
    let file = parse(MODULE).unwrap();
    let forward = class(&file, "Block").method("forward").unwrap();
    let conv = forward.exprs.iter().find(|expr| text_of(MODULE, &expr.span).starts_with("torch.conv2d")).map(|_| ());
    assert_eq!(conv, Some(()));
    let arguments: Vec<_> = forward
        .exprs
        .iter()
        .filter_map(|expr| match &expr.kind {
            ExprKind::Call { callee, arguments, close } => {
                Some((text_of(MODULE, &forward.expr(*callee)?.span), arguments, *close))
            }
            _ => None,
        })
        .find(|(callee, ..)| *callee == "torch.conv2d")
        .map(|(_, arguments, close)| {
            assert_eq!(&MODULE[close..=close], ")");
            arguments.iter().map(|a| text_of(MODULE, &forward.expr(a.value).unwrap().span)).collect::<Vec<_>>()
        })
        .unwrap();
    assert_eq!(arguments, ["x", "weight", "None", "[1, 1]", "[0, 0]", "[1, 1]"]);
}

#[test]
fn old_files_with_imports_and_carriage_returns_are_read() {
    let file = parse(OLD).unwrap();
    let net = class(&file, "Net");
    assert!(net.buffers.is_none());
    assert_eq!(net.body_indent, 4);
    assert_eq!(calls(OLD, net.method("forward").unwrap()), ["torch.t", "torch.matmul", "torch.add_"]);
}

#[test]
fn damage_is_an_error_with_its_place() {
    for (source, offset) in [
        ("class A(Module):\n", 17),
        ("class A(Module):\n  def f(self):\n    return torch.add(1, 2\n", 52),
        ("def f(x):\n  y = \"open\n", 16),
        ("def f(x):\n  return x]\n", 20),
        ("  x = 1\n", 2),
        ("def f(x):\n  y = x.1\n", 17),
        ("def f(x):\n  y = = x\n", 16),
        ("def f(x)\n  return x\n", 8),
        ("class A:\n  weight\n", 17),
        // Names are put into these lists.
        ("class A:\n  __buffers__ =\n", 24),
        ("class A:\n  __parameters__ = [a, ]\n", 29),
        ("class A:\n  __parameters__ = [\"a\" \"b\"]\n", 33),
        ("class A:\n  __buffers__ = [])\n", 27),
    ] {
        let error = parse(source).unwrap_err();
        assert_eq!(error.offset, offset, "{source:?}: {error}");
    }
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    let source = format!("def f(x):\n  return {}x{}\n", "(".repeat(100_000), ")".repeat(100_000));
    let error = parse(&source).unwrap_err();
    assert_eq!(error.expected, "at most 200 open brackets");
    let chain = format!("def f(x):\n  return x{}\n", ".a".repeat(100_000));
    assert_eq!(parse(&chain).unwrap().functions[0].exprs.len(), 100_001);
    let minus = format!("def f(x):\n  return {}x\n", "-".repeat(100_000));
    assert_eq!(parse(&minus).unwrap().functions.len(), 1);
}

#[test]
fn every_prefix_of_a_text_is_read_or_refused() {
    for source in [MODULE, OLD] {
        for end in 0..source.len() {
            let prefix = &source[..end];
            if let Err(error) = parse(prefix) {
                assert!(error.offset <= prefix.len(), "{error} at {}", error.offset);
            }
        }
    }
}

fn check_spans(source: &str) {
    let Ok(file) = parse(source) else { return };
    let functions = file.functions.iter().chain(file.classes.iter().flat_map(|class| &class.methods));
    for function in functions {
        assert!(source.get(function.span.clone()).is_some());
        for (index, expr) in function.exprs.iter().enumerate() {
            assert!(source.get(expr.span.clone()).is_some(), "expression {index} leaves the text");
        }
        let mut splice = Splice::new();
        function.exprs.iter().for_each(|expr| splice.wrap(&expr.span, "(", ")"));
        assert!(splice.apply(source).is_some());
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(source in "\\PC{0,200}") {
        check_spans(&source);
    }

    #[test]
    fn no_damaged_text_makes_it_panic(
        at in 0..MODULE.len(),
        len in 0_usize..20,
        with in "[ -~\\n]{0,8}",
    ) {
        let end = (at + len).min(MODULE.len());
        let damaged = format!("{}{with}{}", &MODULE[..at], &MODULE[end..]);
        check_spans(&damaged);
    }
}
