//! A model's file that another program shortens or changes while it is mapped: an error with its code, and nothing is written.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../tests/common/changed.rs"]
mod changed;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use quant_math::config::ConfigList;
use quant_math::plan::PlanOptions;
use quant_math::{Emit, Quantizer};
use tf_rewriter::tensor::encode_tensor;
use tf_rewriter::wire::put_bytes;
use tf_rewriter::{Bundle, Error, Graph};

use changed::{Case, Told, changes};

/// Elements of the weight: it lies on many pages, and no pipe holds it.
const ELEMENTS: usize = 1 << 18;

/// Where a change is written, in the middle of the weight.
const MIDDLE: u64 = 1 << 19;

fn case() -> Case {
    let content = 1.5_f32.to_le_bytes().repeat(ELEMENTS);
    let tensor = encode_tensor(tf_rewriter::pb::DataType::DT_FLOAT, &[1, ELEMENTS as u64], &content);
    let field = |number: u32, body: &[u8]| {
        let mut field = Vec::new();
        put_bytes(&mut field, number, body);
        field
    };
    let attr = field(5, &[field(1, b"value"), field(2, &field(8, &tensor))].concat());
    let weight = field(1, &[field(1, b"w"), field(2, b"Const"), attr].concat());
    let rest = "node { name: 'x' op: 'Placeholder' }
        node { name: 'y' op: 'MatMul' input: 'x' input: 'w' attr { key: 'T' value { type: DT_FLOAT } } }";
    let bytes = [tf_rewriter::text::parse(rest.as_bytes()).unwrap(), weight].concat();
    Case::new("model.pb", &bytes, "E0105")
}

#[track_caller]
fn told<T>(result: Result<T, Error>) -> Told {
    let Err(error) = result else { panic!("no error") };
    Told { code: error.code(), location: error.location(), help: error.help().map(Into::into) }
}

fn config() -> ConfigList {
    ConfigList::default_for(Quantizer::Naive)
}

fn options(emit: Emit) -> PlanOptions<'static> {
    PlanOptions { emit: Some(emit), ..PlanOptions::default() }
}

#[test]
fn a_model_that_changes_before_a_look_at_it() {
    for change in changes(MIDDLE) {
        let case = case();
        let graph = Graph::open(&case.model).unwrap();
        let plan = graph.plan(&config(), options(Emit::Baked)).unwrap();
        change(&case.file());
        case.check(&told(graph.plan(&config(), options(Emit::Baked))));
        case.check(&told(graph.inspect()));
        case.check(&told(graph.diff(&Graph::from_bytes(fs::read(digits()).unwrap()).unwrap())));
        case.check(&told(Graph::from_bytes(fs::read(digits()).unwrap()).unwrap().diff(&graph)));
        case.check(&told(graph.apply(&plan)));
    }
}

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/digits.pb")
}

#[test]
fn a_model_that_changes_while_it_is_written() {
    for change in changes(MIDDLE) {
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
            for name in ["out.pb", "out.pbtxt"] {
                let case = case();
                let graph = Graph::open(&case.model).unwrap();
                let plan = graph.plan(&config(), options(emit)).unwrap();
                let compressed = graph.apply(&plan).unwrap();
                let file = case.file();
                let out = case.model.with_file_name(name);
                case.check(&told(compressed.write_to_with(&out, &|_| change(&file))));
            }
        }
    }
}

#[test]
fn a_checkpoint_that_changes_while_it_is_read() {
    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/checkpoint/saver");
    for end in [".index", ".data-00000-of-00001"] {
        let folder = tempfile::tempdir().unwrap();
        for end in [".index", ".data-00000-of-00001"] {
            let bytes = fs::read(format!("{GOLDEN}{end}")).unwrap();
            model_file::atomic::write(&folder.path().join(format!("m{end}")), &bytes).unwrap();
        }
        let bundle = Bundle::open(&folder.path().join("m")).unwrap();
        let changed = folder.path().join(format!("m{end}"));
        let names: Vec<String> = bundle.names().map(ToOwned::to_owned).collect();
        let whole = names.iter().filter(|name| bundle.tensor(name).is_ok()).count();
        OpenOptions::new().write(true).open(&changed).unwrap().set_len(0).unwrap();
        let mut told = 0;
        for name in &names {
            match bundle.tensor(name) {
                Err(error) if error.code() == "E0105" => {
                    assert_eq!(error.location(), Some(changed.display().to_string()), "{name}");
                    told += 1;
                }
                // Elements without a fixed size, which are not read; no elements, or all of them zero.
                Err(error) => assert_eq!(error.code(), "E0701", "{name}: {error}"),
                Ok(tensor) => assert!(tensor.unwrap().bytes.iter().all(|byte| *byte == 0), "{name}"),
            }
        }
        assert!(told > whole / 2, "{end}: {told} of {whole}");
    }
}

#[test]
fn a_model_that_is_replaced_is_held_on_to() {
    let case = case();
    let graph = Graph::open(&case.model).unwrap();
    let plan = graph.plan(&config(), options(Emit::Baked)).unwrap();
    model_file::atomic::write(&case.model, b"another one").unwrap();
    graph.apply(&plan).unwrap().write_to(&case.out).unwrap();
    assert!(fs::read(&case.out).unwrap().len() > 4 * ELEMENTS);
}

#[test]
fn the_program_says_so_and_ends_with_1() {
    case().check_program(env!("CARGO_BIN_EXE_tf-rewriter"));
}
