//! A model's file that another program shortens or changes while it is mapped: an error with its code, and nothing is written.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use quant_math::config::ConfigList;
use quant_math::plan::PlanOptions;
use quant_math::{Emit, Quantizer};
use tempfile::TempDir;
use tf_rewriter::tensor::encode_tensor;
use tf_rewriter::wire::put_bytes;
use tf_rewriter::{Bundle, Error, Graph};

/// Elements of the weight: it lies on many pages, and no pipe holds it.
const ELEMENTS: usize = 1 << 18;

struct Case {
    folder: TempDir,
    model: PathBuf,
    out: PathBuf,
}

impl Case {
    /// A model, and an output from before.
    fn new() -> Self {
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
        let folder = tempfile::tempdir().unwrap();
        let [model, out] = ["model.pb", "out.pb"].map(|name| folder.path().join(name));
        let bytes = [tf_rewriter::text::parse(rest.as_bytes()).unwrap(), weight].concat();
        quant_cli::atomic::write(&model, &bytes).unwrap();
        quant_cli::atomic::write(&out, b"old").unwrap();
        Self { folder, model, out }
    }

    fn file(&self) -> File {
        OpenOptions::new().write(true).open(&self.model).unwrap()
    }

    /// `result` says that the model changed, and the output is as it was.
    #[track_caller]
    fn check<T>(&self, result: Result<T, Error>) {
        let Err(error) = result else { panic!("no error") };
        assert_eq!((error.code(), error.location()), ("E0105", Some(self.model.display().to_string())), "{error}");
        assert!(error.help().unwrap().contains("rename"));
        self.check_files();
    }

    #[track_caller]
    fn check_files(&self) {
        assert_eq!(fs::read(&self.out).unwrap(), b"old");
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 2, "something was left behind");
    }
}

/// Ways in which a file changes in place.
const CHANGES: [fn(&File); 3] = [
    |file| file.set_len(5).unwrap(),
    |file| file.set_len(1 << 30).unwrap(),
    |mut file| {
        file.seek(SeekFrom::Start(1 << 19)).unwrap();
        file.write_all(&[0; 4096]).unwrap();
        // The clock of file systems may be coarser than this test is quick.
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    },
];

fn config() -> ConfigList {
    ConfigList::default_for(Quantizer::Naive)
}

fn options(emit: Emit) -> PlanOptions<'static> {
    PlanOptions { emit: Some(emit), ..PlanOptions::default() }
}

#[test]
fn a_model_that_changes_before_a_look_at_it() {
    for change in CHANGES {
        let case = Case::new();
        let graph = Graph::open(&case.model).unwrap();
        let plan = graph.plan(&config(), options(Emit::Baked)).unwrap();
        change(&case.file());
        case.check(graph.plan(&config(), options(Emit::Baked)));
        case.check(graph.inspect());
        case.check(graph.diff(&Graph::from_bytes(fs::read(digits()).unwrap()).unwrap()));
        case.check(Graph::from_bytes(fs::read(digits()).unwrap()).unwrap().diff(&graph));
        case.check(graph.apply(&plan));
    }
}

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/digits.pb")
}

#[test]
fn a_model_that_changes_while_it_is_written() {
    for change in CHANGES {
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference] {
            for name in ["out.pb", "out.pbtxt"] {
                let case = Case::new();
                let graph = Graph::open(&case.model).unwrap();
                let plan = graph.plan(&config(), options(emit)).unwrap();
                let compressed = graph.apply(&plan).unwrap();
                let file = case.file();
                let out = case.folder.path().join(name);
                case.check(compressed.write_to_with(&out, &|_| change(&file)));
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
            quant_cli::atomic::write(&folder.path().join(format!("m{end}")), &bytes).unwrap();
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
    let case = Case::new();
    let graph = Graph::open(&case.model).unwrap();
    let plan = graph.plan(&config(), options(Emit::Baked)).unwrap();
    quant_cli::atomic::write(&case.model, b"another one").unwrap();
    graph.apply(&plan).unwrap().write_to(&case.out).unwrap();
    assert!(fs::read(&case.out).unwrap().len() > 4 * ELEMENTS);
}

#[test]
fn the_program_says_so_and_ends_with_1() {
    let case = Case::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tf-rewriter"))
        .arg("compress")
        .arg(&case.model)
        .args(["-o", "-", "-Q", "naive", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    // It has begun to write, and cannot end before somebody reads.
    out.read_exact(&mut [0]).unwrap();
    case.file().set_len(5).unwrap();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(
        told.starts_with(r#"{"level":"error","code":"E0105","message":"the file changed while it was read: "#),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    case.check_files();
}
