//! What holds for the files of any model. The fuzz target feeds it what it invents, the crate's own tests feed it models that are made from choices.

use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;

use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use tf_rewriter::bundle::BundleWriter;
use tf_rewriter::pb::DataType;
use tf_rewriter::wire::{put_bytes, varint};
use tf_rewriter::{Error, Graph, ModelOptions, PlanOptions, inspect_model, text};

use super::bundle_properties::split;
use super::choices::Choices;

/// The files of a model.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// With an odd first byte a SavedModel, else a MetaGraph; with its second bit in text form; with its third, all signatures are asked for.
    pub(crate) kind: u8,
    /// The SavedModel or MetaGraph.
    pub(crate) model: Vec<u8>,
    /// As [`split`] takes it: the checkpoint's index and its data file.
    pub(crate) checkpoint: Vec<u8>,
}

impl Files {
    /// A byte for the kind, the length of the model (four bytes, little-endian), the model, the checkpoint.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let (kind, rest) = bytes.split_first().map_or((0, bytes), |(kind, rest)| (*kind, rest));
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Self { kind, model: rest.to_vec(), checkpoint: Vec::new() };
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX).min(rest.len());
        let (model, checkpoint) = rest.split_at(length);
        Self { kind, model: model.to_vec(), checkpoint: checkpoint.to_vec() }
    }

    /// Write them below `folder`; what is opened.
    fn write(&self, folder: &Path) -> std::path::PathBuf {
        let place = folder.join("m");
        drop(std::fs::remove_dir_all(&place));
        std::fs::create_dir_all(place.join("variables")).expect("a folder");
        let is_saved_model = self.kind & 1 != 0;
        let (model, prefix) = match (is_saved_model, self.kind & 2 != 0) {
            (true, false) => (place.join("saved_model.pb"), place.join("variables/variables")),
            (true, true) => (place.join("saved_model.pbtxt"), place.join("variables/variables")),
            (false, _) => (place.join("c.meta"), place.join("c")),
        };
        let (index, data) = split(&self.checkpoint);
        let file = |end: &str| std::path::PathBuf::from(format!("{}{end}", prefix.display()));
        for (path, bytes) in
            [(&model, &self.model[..]), (&file(".index"), &index), (&file(".data-00000-of-00001"), data)]
        {
            #[expect(clippy::disallowed_methods, reason = "files of no worth, by the thousand")]
            std::fs::write(path, bytes).expect("a folder that can be written");
        }
        if is_saved_model { place } else { model }
    }
}

static CONFIGS: LazyLock<[ConfigList; 2]> = LazyLock::new(|| {
    let all = "[{op_types: 'default', quant_types: ['weight', 'input', 'output'], quant_bits: 8}]";
    [
        ConfigList::default_for(Quantizer::Naive),
        ConfigList::parse(all, Some(Quantizer::DoReFa)).expect("a sound config"),
    ]
});

/// Any files are a model or an error. What can be planned can be carried out or is an error, and what comes of it is a graph; so is the model, frozen.
/// Whether it was frozen.
pub(crate) fn model_freezes(files: &Files, folder: &Path) -> bool {
    let path = files.write(folder);
    let mut options = ModelOptions::default();
    options.whole = files.kind & 4 != 0;
    if files.kind & 1 == 0 {
        options.outputs = vec!["y".to_owned()];
    }
    if let Err(error) = inspect_model(&path, &options) {
        told(&error);
    }
    let open = || Graph::open_model(&path, &options);
    let graph = match open() {
        Ok(graph) => graph,
        Err(error) => {
            told(&error);
            return false;
        }
    };
    let frozen = graph.whole_bytes().map(std::borrow::Cow::into_owned).and_then(Graph::from_bytes);
    for config in CONFIGS.iter() {
        for emit in [Emit::Baked, Emit::Packed, Emit::Inference, Emit::Training] {
            let made = open().and_then(|graph| {
                let plan = graph.plan(config, PlanOptions { emit: Some(emit), ..PlanOptions::default() })?;
                let mut out = Vec::new();
                graph.apply(&plan)?.write(&mut out)?;
                Ok(out)
            });
            match made {
                Ok(bytes) => drop(Graph::from_bytes(bytes).expect("what was written can be opened")),
                Err(error) => told(&error),
            }
        }
    }
    match frozen {
        Ok(frozen) => {
            assert_eq!(frozen.node_count(), graph.node_count());
            // The same nodes, and values that lie elsewhere.
            if let Ok(difference) = graph.diff(&frozen) {
                let other = [&difference.only_in_first, &difference.only_in_second];
                assert!(difference.tensors.is_empty() && other.iter().all(|nodes| nodes.is_empty()), "{difference:?}");
            }
            true
        }
        Err(error) => {
            told(&error);
            false
        }
    }
}

fn told(error: &Error) {
    assert!(!error.to_string().is_empty() && error.code().len() == 5, "{error:?}");
}

/// Columns of the large variable: its elements stay in the data file.
const COLUMNS: u64 = 700;

/// Variables of both kinds, one of them a part of a tensor; calls, a branch and a loop that read them; and what restores them.
const GRAPH: &str = "
    node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape { dim { size: -1 } dim { size: 2 } } } } }
    node { name: 'v' op: 'VarHandleOp' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape { dim { size: 2 } dim { size: 700 } } } } }
    node { name: 'u' op: 'VariableV2' attr { key: 'dtype' value { type: DT_FLOAT } } attr { key: 'shape' value { shape { dim { size: 2 } } } } }
    node { name: 'file' op: 'Placeholder' attr { key: 'dtype' value { type: DT_STRING } } }
    node { name: 'names' op: 'Const' attr { key: 'dtype' value { type: DT_STRING } } attr { key: 'value' value { tensor { dtype: DT_STRING tensor_shape { dim { size: 2 } } string_val: 'large' string_val: 'part' } } } }
    node { name: 'slices' op: 'Const' attr { key: 'dtype' value { type: DT_STRING } } attr { key: 'value' value { tensor { dtype: DT_STRING tensor_shape { dim { size: 2 } } string_val: '' string_val: '4 1,2' } } } }
    node { name: 'values' op: 'RestoreV2' input: 'file' input: 'names' input: 'slices' attr { key: 'dtypes' value { list { type: DT_FLOAT type: DT_FLOAT } } } }
    node { name: 'assign_v' op: 'AssignVariableOp' input: 'v' input: 'values' attr { key: 'dtype' value { type: DT_FLOAT } } }
    node { name: 'assign_u' op: 'Assign' input: 'u' input: 'values:1' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'restore' op: 'NoOp' input: '^assign_v' input: '^assign_u' }
    node { name: 'read' op: 'Identity' input: 'u' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'moved' op: 'AddV2' input: 'x' input: 'read' attr { key: 'T' value { type: DT_FLOAT } } }
    node { name: 'call' op: 'StatefulPartitionedCall' input: 'moved' input: 'v' attr { key: 'f' value { func { name: 'f' } } } attr { key: 'Tin' value { list { type: DT_FLOAT type: DT_RESOURCE } } } attr { key: 'Tout' value { list { type: DT_FLOAT } } } }
    node { name: 'is_big' op: 'Placeholder' attr { key: 'dtype' value { type: DT_BOOL } } }
    node { name: 'chosen' op: 'StatelessIf' input: 'is_big' input: 'call' attr { key: 'then_branch' value { func { name: 'same' } } } attr { key: 'else_branch' value { func { name: 'less' } } } attr { key: 'Tcond' value { type: DT_BOOL } } attr { key: 'Tin' value { list { type: DT_FLOAT } } } attr { key: 'Tout' value { list { type: DT_FLOAT } } } }
    node { name: 'y' op: 'Identity' input: 'chosen' attr { key: 'T' value { type: DT_FLOAT } } }
    library {
        function { signature { name: 'f' input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'h' type: DT_RESOURCE } output_arg { name: 'out' type: DT_FLOAT } }
            node_def { name: 'inner' op: 'PartitionedCall' input: 'a' input: 'h' attr { key: 'f' value { func { name: 'g' } } } attr { key: 'Tin' value { list { type: DT_FLOAT type: DT_RESOURCE } } } attr { key: 'Tout' value { list { type: DT_FLOAT } } } }
            ret { key: 'out' value: 'inner:output:0' } }
        function { signature { name: 'g' input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'h' type: DT_RESOURCE } output_arg { name: 'out' type: DT_FLOAT } }
            node_def { name: 'value' op: 'ReadVariableOp' input: 'h' attr { key: 'dtype' value { type: DT_FLOAT } } }
            node_def { name: 'product' op: 'MatMul' input: 'a' input: 'value:value:0' attr { key: 'T' value { type: DT_FLOAT } } }
            ret { key: 'out' value: 'product:product:0' } }
        function { signature { name: 'same' input_arg { name: 'a' type: DT_FLOAT } output_arg { name: 'out' type: DT_FLOAT } }
            ret { key: 'out' value: 'a' } }
        function { signature { name: 'less' input_arg { name: 'a' type: DT_FLOAT } output_arg { name: 'out' type: DT_FLOAT } }
            node_def { name: 'part' op: 'Neg' input: 'a' attr { key: 'T' value { type: DT_FLOAT } } }
            ret { key: 'out' value: 'part:y:0' } }
    }";

/// A message with one length-delimited field.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, bytes);
    out
}

/// The meta graph of a graph in text form; `None` where the text is none.
fn meta_graph(graph: &str) -> Option<Vec<u8>> {
    let tensor = |key: &str, name: &str| {
        [field(1, key.as_bytes()), field(2, &[&field(1, name.as_bytes())[..], &[0x10, 1]].concat())].concat()
    };
    let sides = |output: &str| [field(1, &tensor("x", "x:0")), field(2, &tensor("y", output))].concat();
    let signature = |key: &str, output: &str| field(5, &[field(1, key.as_bytes()), field(2, &sides(output))].concat());
    let saver = field(3, &[field(1, b"file:0"), field(3, b"restore")].concat());
    let parts = [
        field(1, &[field(5, b"2.21.0"), field(4, b"serve")].concat()),
        field(2, &text::parse(graph.as_bytes()).ok()?),
        saver,
        signature("other", "call:0"),
        signature("serving_default", "y:0"),
    ];
    Some(parts.concat())
}

/// The content of the index's one block, and the data file.
static CHECKPOINT: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path().join("c");
    let mut bundle = BundleWriter::create(&prefix, 1).expect("a checkpoint");
    for (name, shape) in [("large", &[2, COLUMNS][..]), ("part", &[4])] {
        let count: u64 = shape.iter().product();
        let values: Vec<u8> =
            (0..count).flat_map(|at| f32::from(u8::try_from(at % 19).unwrap_or(0)).to_le_bytes()).collect();
        let write = |out: &mut (dyn Write + Send)| {
            out.write_all(&values).map_err(|source| Error::Io { action: "write the values", source })
        };
        bundle.tensor(name, DataType::DT_FLOAT, shape, write).expect("a tensor");
    }
    bundle.finish().expect("a checkpoint");
    let read = |end: &str| std::fs::read(folder.path().join(format!("c{end}"))).expect("what was written");
    let (index, data) = (read(".index"), read(".data-00000-of-00001"));
    // The footer names the blocks after it: the entries end, with a trailer of five bytes, where the empty metaindex begins.
    let (metaindex, _) = varint(&index[index.len() - 48..]).expect("a footer");
    (index[..usize::try_from(metaindex).expect("a small file") - 5].to_vec(), data)
});

/// A sound model, or one with other names in its graph or other bytes in one of its files.
pub(crate) fn model(choices: &mut Choices<'_>) -> Files {
    let kind = choices.byte();
    let mut graph = GRAPH.to_owned();
    for _ in 0..choices.below(4) {
        other_name(choices, &mut graph);
    }
    let meta = meta_graph(&graph).or_else(|| meta_graph(GRAPH)).expect("a sound graph");
    let mut model = if kind & 1 != 0 { [vec![0x08, 1], field(2, &meta)].concat() } else { meta };
    let (mut index, mut data) = CHECKPOINT.clone();
    match choices.below(6) {
        0 => (0..=choices.below(4)).for_each(|_| choices.damage(&mut model)),
        1 => (0..=choices.below(4)).for_each(|_| choices.damage(&mut index)),
        2 => choices.damage(&mut data),
        _ => {}
    }
    let length = u32::try_from(index.len()).expect("a small file");
    let checkpoint = [vec![1], length.to_le_bytes().to_vec(), index, data].concat();
    // Binary bytes are read whatever the name of the file says.
    Files { kind, model, checkpoint }
}

/// One of the words in quotes becomes another.
fn other_name(choices: &mut Choices<'_>, graph: &mut String) {
    let words: Vec<(usize, &str)> = graph
        .match_indices('\'')
        .map(|(at, _)| at)
        .collect::<Vec<_>>()
        .chunks_exact(2)
        .map(|ends| (ends[0] + 1, &graph[ends[0] + 1..ends[1]]))
        .collect();
    let ((at, old), (_, new)) = (choices.one_of(&words), choices.one_of(&words));
    let changed = [&graph[..at], new, &graph[at + old.len()..]].concat();
    *graph = changed;
}
