//! Constants as variables: the graph of a SavedModel whose weights are in its checkpoint, and what saves and restores them.
//!
//! ```text
//! Const w                        VarHandleOp w/variable ──▶ ReadVariableOp w
//! save/filename ─▶ save/Const ─▶ RestoreV2 ─▶ AssignVariableOp … ─▶ save/restore_all        (what a loader runs)
//!                           └──▶ SaveV2 ─▶ save/control_dependency                          (what a Saver runs)
//! ```
//!
//! These are the nodes that `tf.compat.v1.train.Saver` adds (TensorFlow 2.21), in its names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use quant_math::Emit;
use quant_math::metrics::Metrics;

use super::gaps::{Gapped, Part, Piece};
use super::nodes::{Node, Nodes, Tensor};
use crate::error::Error;
use crate::find::mark;
use crate::graphdef::bundle::BundleWriter;
use crate::graphdef::index::ScopeKind;
use crate::graphdef::pb::{CollectionDef, DataType, SaverDef, collection_def};
use crate::graphdef::saved_model::Home;
use crate::graphdef::wire::{put_bytes, put_tag, put_varint};
use crate::rewrite::apply::Compressed;
use crate::rewrite::emit::NewNode;
use crate::rewrite::splice::{self, Segment, node_field};

/// Where the weights of a SavedModel are that is written as one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightPlace {
    /// Constants of the graph where they fit: below 2 GiB. Else, and in a training graph, variables in a checkpoint.
    #[default]
    Fitting,
    /// Variables in a checkpoint: what was a variable, and what is long.
    Checkpoint,
}

/// A graph whose weights are variables.
pub(super) struct Variables {
    /// The GraphDef.
    pub(super) graph: Vec<u8>,
    /// What saves and restores the variables, where there are some.
    pub(super) saver: Option<SaverDef>,
    /// Which variables there are, and which are trained.
    pub(super) collections: Vec<(&'static str, CollectionDef)>,
    stored: Vec<Stored>,
    /// The errors of weights that are constants.
    errors: BTreeMap<usize, Metrics>,
}

impl Variables {
    /// The graph of `compressed` with variables in place of its long constants, and of the short ones that were variables in the model where
    /// `weights` wants them there, or the graph is to be trained.
    pub(super) fn of(compressed: &Compressed, weights: WeightPlace) -> Result<Self, Error> {
        let is_training = compressed.plan().emit == Emit::Training;
        let again = is_training || weights == WeightPlace::Checkpoint;
        let message = Gapped::of(compressed.segments(), compressed.graph(), again)?;
        let homes = compressed.graph().homes().into_iter().flatten();
        let were = homes.filter_map(|(name, home)| match home {
            Home::Checkpoint { is_trained, .. } if again => Some((name.as_str(), *is_trained)),
            _ => None,
        });
        let mut maker = Maker {
            compressed,
            message: &message,
            were_variables: were.collect(),
            nodes: Nodes::read(&message)?,
            graph: Vec::new(),
            stored: Vec::new(),
        };
        maker.all()?;
        // A model without variables has nothing to restore.
        let saver = if maker.stored.is_empty() { None } else { Some(maker.saver()?) };
        let collections = collections(&maker.stored, is_training);
        let Maker { graph, stored, .. } = maker;
        Ok(Self { graph, saver, collections, stored, errors: message.errors })
    }

    /// Write the values, as the checkpoint `variables/variables` in `folder`. The errors of weights, by their slots.
    pub(super) fn write(
        self,
        compressed: &Compressed,
        folder: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<BTreeMap<usize, Metrics>, Error> {
        if self.stored.is_empty() {
            return Ok(self.errors);
        }
        let place = folder.join("variables");
        fs::create_dir_all(&place).map_err(|source| Error::Io { action: "make a folder", source }.in_file(&place))?;
        let mut bundle = BundleWriter::create(&place.join("variables"), 1)?;
        let mut errors = self.errors;
        for stored in &self.stored {
            bundle.tensor(&stored.variable, stored.tensor.dtype, &stored.tensor.shape, |out| match &stored.value {
                Value::Bytes(bytes) => out.write_all(bytes).map_err(Error::writing),
                Value::Segment(number) => {
                    let segment = compressed.segments().get(*number).map(std::slice::from_ref).unwrap_or_default();
                    errors.extend(splice::write(segment, compressed.graph(), out, progress)?);
                    Ok(())
                }
            })?;
        }
        bundle.finish()?;
        Ok(errors)
    }
}

/// A variable of the graph, and its value.
struct Stored {
    /// Its node, which is its key in the checkpoint too.
    variable: String,
    /// What reads it.
    read: String,
    /// What gives it its first value, where the graph has a node for that.
    initializer: Option<String>,
    tensor: Tensor,
    value: Value,
    /// Whether training changes it.
    is_trained: bool,
}

enum Value {
    /// The segment with this number.
    Segment(usize),
    Bytes(Vec<u8>),
}

/// Makes the graph.
struct Maker<'g> {
    compressed: &'g Compressed,
    message: &'g Gapped,
    /// Constants that become variables however short they are, and whether training changes them.
    were_variables: BTreeMap<&'g str, bool>,
    nodes: Nodes,
    graph: Vec<u8>,
    stored: Vec<Stored>,
}

impl Maker<'_> {
    fn all(&mut self) -> Result<(), Error> {
        let mut number = 0;
        for field in self.message.fields(&self.message.all())? {
            if field.number != 1 {
                self.keep(&field.whole)?;
                continue;
            }
            let node = self.nodes.list.get(number).cloned().ok_or_else(|| lost("a node"))?;
            number += 1;
            match self.value(&node) {
                Some(value) => self.variable(&node, value),
                None => self.keep(&field.whole)?,
            }
            if node.op == "VarHandleOp" {
                self.has_its_own(&node)?;
            }
        }
        Ok(())
    }

    /// Take a field over as it is, with what was left out of it.
    fn keep(&mut self, field: &Part) -> Result<(), Error> {
        let segments = self.compressed.segments();
        self.message.pieces(field, &mut |piece| match piece {
            Piece::Bytes(bytes) => {
                self.graph.extend_from_slice(bytes);
                Ok(())
            }
            Piece::Gap(gap) => {
                let segment = segments.get(gap.segment).map(std::slice::from_ref).unwrap_or_default();
                splice::write(segment, self.compressed.graph(), &mut self.graph, &|_| {}).map(drop)
            }
        })
    }

    /// The value of a constant that becomes a variable. One that waits for something may be in a loop, which holds no variables.
    fn value(&self, node: &Node) -> Option<Value> {
        let content = node.tensor.content.as_ref().filter(|_| node.op == "Const" && node.inputs.is_empty())?;
        if let Some(gap) = self.message.gap(content) {
            return Some(Value::Segment(gap.segment));
        }
        let was = self.were_variables.contains_key(node.name.as_str());
        was.then(|| Value::Bytes(self.message.text(content).to_vec()))
    }

    /// Put a variable, and what reads it, in a constant's place.
    fn variable(&mut self, node: &Node, value: Value) {
        let Tensor { dtype, shape, .. } = &node.tensor;
        let variable = self.nodes.unique(&format!("{}/variable", node.name));
        self.put(NewNode::variable(variable.clone(), &node.device, *dtype, shape));
        let read = NewNode::new("ReadVariableOp", node.name.clone(), vec![variable.clone()], &node.device);
        self.put(read.typed("dtype", *dtype).taking_over(node.kept.clone()));
        let (read, tensor) = (node.name.clone(), node.tensor.clone());
        let is_trained = self.were_variables.get(node.name.as_str()).is_some_and(|is_trained| *is_trained);
        self.stored.push(Stored { variable, read, initializer: None, tensor, value, is_trained });
    }

    /// A variable that quantization added begins with the constant that is assigned to it.
    fn has_its_own(&mut self, node: &Node) -> Result<(), Error> {
        let missing = || lost("the first value of a variable");
        let assign = self.nodes.assigns.get(&node.name).cloned().ok_or_else(missing)?;
        let first = assign.inputs.get(1).and_then(|name| self.nodes.find(name)).ok_or_else(missing)?;
        let tensor = first.tensor.clone();
        let value = match &tensor.content {
            Some(content) => self
                .message
                .gap(content)
                .map_or_else(|| Value::Bytes(self.message.text(content).to_vec()), |gap| Value::Segment(gap.segment)),
            None => return Err(missing()),
        };
        let read = self.nodes.unique(&format!("{}/saved", node.name));
        let reader = NewNode::new("ReadVariableOp", read.clone(), vec![node.name.clone()], &node.device);
        self.put(reader.typed("dtype", tensor.dtype).text(mark::PART, "op"));
        let (variable, initializer) = (node.name.clone(), Some(assign.name));
        self.stored.push(Stored { variable, read, initializer, tensor, value, is_trained: false });
        Ok(())
    }

    fn put(&mut self, node: NewNode) {
        for segment in node_field(ScopeKind::Main, node.body()) {
            if let Segment::Bytes(bytes) = segment {
                self.graph.extend(bytes);
            }
        }
    }

    /// The nodes that save and restore all variables.
    fn saver(&mut self) -> Result<SaverDef, Error> {
        let scope = self.nodes.free_scope("save");
        let name = |part: &str| format!("{scope}/{part}");
        let file = name("Const");
        self.put(NewNode::strings(name("filename"), &[], &["model"]));
        let fed = NewNode::new("PlaceholderWithDefault", file.clone(), vec![name("filename")], "");
        self.put(fed.typed("dtype", DataType::DT_STRING).shape("shape", &[]));
        let stored = std::mem::take(&mut self.stored);
        let count = [stored.len() as u64];
        let keys: Vec<&str> = stored.iter().map(|stored| stored.variable.as_str()).collect();
        let dtypes: Vec<DataType> = stored.iter().map(|stored| stored.tensor.dtype).collect();
        let inputs = |kind: &str| {
            vec![file.clone(), name(&format!("{kind}/tensor_names")), name(&format!("{kind}/shape_and_slices"))]
        };
        for kind in ["SaveV2", "RestoreV2"] {
            self.put(NewNode::strings(name(&format!("{kind}/tensor_names")), &count, &keys));
            self.put(NewNode::strings(name(&format!("{kind}/shape_and_slices")), &count, &vec![""; stored.len()]));
        }
        let save = NewNode::new("SaveV2", name("SaveV2"), inputs("SaveV2"), "");
        self.put(save.types("dtypes", &dtypes).with_inputs(stored.iter().map(|stored| stored.read.clone())));
        let saved = vec![file.clone(), format!("^{}", name("SaveV2"))];
        let saved = NewNode::new("Identity", name("control_dependency"), saved, "");
        self.put(saved.typed("T", DataType::DT_STRING));
        self.put(NewNode::new("RestoreV2", name("RestoreV2"), inputs("RestoreV2"), "").types("dtypes", &dtypes));
        let mut assigns = Vec::new();
        for (number, stored) in stored.iter().enumerate() {
            let value = if number == 0 { name("RestoreV2") } else { format!("{}:{number}", name("RestoreV2")) };
            let assign = name(&if number == 0 { "Assign".to_owned() } else { format!("Assign_{number}") });
            let inputs = [stored.variable.as_str(), &value];
            self.put(NewNode::assign("AssignVariableOp", assign.clone(), "", stored.tensor.dtype, inputs));
            assigns.push(assign);
        }
        let controls = assigns.iter().map(|assign| format!("^{assign}")).collect();
        self.put(NewNode::new("NoOp", name("restore_all"), controls, ""));
        self.stored = stored;
        for (stored, assign) in self.stored.iter_mut().zip(assigns) {
            stored.initializer.get_or_insert(assign);
        }
        crate::graphdef::io::check_length(self.graph.len() as u64)?;
        Ok(SaverDef {
            filename_tensor_name: format!("{file}:0"),
            save_tensor_name: format!("{}:0", name("control_dependency")),
            restore_op_name: name("restore_all"),
            max_to_keep: 5,
            keep_checkpoint_every_n_hours: 10_000.0,
            version: 2,
            ..SaverDef::default()
        })
    }
}

/// The variables, as TensorFlow 1 keeps them beside a graph: VariableDef { variable_name = 1, initializer_name = 2, snapshot_name = 3,
/// is_resource = 5, trainable = 7 }.
fn collections(stored: &[Stored], is_training: bool) -> Vec<(&'static str, CollectionDef)> {
    let list = |of: &dyn Fn(&Stored) -> bool| {
        let mut list = collection_def::BytesList::default();
        for stored in stored.iter().filter(|stored| of(stored)) {
            let mut def = Vec::new();
            put_bytes(&mut def, 1, format!("{}:0", stored.variable).as_bytes());
            put_bytes(&mut def, 2, stored.initializer.as_deref().unwrap_or_default().as_bytes());
            put_bytes(&mut def, 3, format!("{}:0", stored.read).as_bytes());
            put_tag(&mut def, 5, 0);
            put_varint(&mut def, 1);
            put_tag(&mut def, 7, 0);
            put_varint(&mut def, u64::from(stored.is_trained && is_training));
            list.value.push(def);
        }
        CollectionDef { kind: Some(collection_def::Kind::BytesList(list)), ..CollectionDef::default() }
    };
    let mut found = vec![("variables", list(&|_| true))];
    if is_training {
        found.push(("trainable_variables", list(&|stored| stored.is_trained)));
    }
    found
}

/// What cannot be: it was made a moment ago.
fn lost(what: &str) -> Error {
    Error::Verify { message: format!("while constants become variables, {what} is missing") }
}
