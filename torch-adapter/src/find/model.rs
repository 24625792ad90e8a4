//! A TorchScript model, read and followed.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use quant_math::plan::{Emit, QuantType, Reason, Settings};
use quant_math::{DType, ranges};

use super::injected;
use crate::codes;
use crate::error::{At, Error};
use crate::find::mark::{self, Mark};
use crate::limits::Limits;
use crate::rewrite::edit::value::CPU;
use crate::torchscript::agree;
use crate::torchscript::archive::Archive;
use crate::torchscript::expand;
use crate::torchscript::heap_reader::HeapReader;
use crate::torchscript::pickle::{Pickle, Slot};

use crate::find::sites::{self, Program, Sites};
use crate::find::uses::Uses;
use crate::torchscript::heap::{Heap, Item, ObjectId, TensorId};
use crate::torchscript::tensors::{Dense, Storage, Tensor, Tensors};

/// The record that makes an archive one for the mobile interpreter.
pub(crate) const BYTECODE: &str = "bytecode.pkl";

/// Which pickle a tensor stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Folder {
    /// `data.pkl` and `data/`.
    Data,
    /// `constants.pkl` and `constants/`.
    Constants,
}

impl Folder {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Constants => "constants",
        }
    }
}

/// A tensor: where it is defined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TensorPlace {
    pub(crate) folder: Folder,
    /// Position in the pickle's tensors.
    pub(crate) position: usize,
    /// The first slot that holds it.
    pub(crate) slot: Slot,
}

/// The bytes of a tensor that fills a stretch of its storage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    /// The record.
    pub(crate) record: String,
    /// The element type.
    pub(crate) dtype: DType,
    /// Bytes of the record.
    pub(crate) span: std::ops::Range<u64>,
    pub(crate) dense: Dense,
}

/// Tensors with the same key are the same bytes.
pub(crate) type StoreKey = (Folder, usize, u64, u64);

/// A TorchScript archive, read: its objects, its code and where it could be quantized.
///
/// ```no_run
/// let model = torch_adapter::Model::open("model.pt")?;
/// for op in &model.sites().ops {
///     println!("{} {}", op.op_type, op.name);
/// }
/// # Ok::<(), torch_adapter::Error>(())
/// ```
#[derive(Debug)]
pub struct Model {
    path: Option<PathBuf>,
    archive: Archive,
    data: Pickle,
    constants: Option<Pickle>,
    data_tensors: Tensors,
    constant_tensors: Tensors,
    heap: Heap,
    /// By [`ObjectId`].
    slots: Vec<Slot>,
    /// By [`TensorId`].
    places: Vec<TensorPlace>,
    program: Program,
    sites: Sites,
    mark: Option<Mark>,
    warnings: Vec<Reason>,
    /// Made when first asked for.
    uses: OnceLock<Uses>,
}

impl Model {
    /// Open a file that `torch.jit.save` wrote, mapped into memory.
    ///
    /// # Errors
    ///
    /// Damaged or hostile archives, pickles and code, with the place; what is no TorchScript archive at all.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &Limits::default())
    }

    /// Open a file with limits of one's own.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn open_with(path: impl AsRef<Path>, limits: &Limits) -> Result<Self, Error> {
        let path = path.as_ref();
        let archive = Archive::open(path, limits)?;
        let source = archive.source();
        source.settled(Self::read(archive, Some(path.to_owned()), limits)).map_err(|error| error.in_file(path))
    }

    /// Read an archive from memory.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        let limits = Limits::default();
        Self::read(Archive::from_bytes(bytes, &limits)?, None, &limits)
    }

    fn read(archive: Archive, path: Option<PathBuf>, limits: &Limits) -> Result<Self, Error> {
        let budget = archive.budget();
        let data = Pickle::read_within("data.pkl", archive.read("data.pkl")?.into_owned(), limits, budget)?;
        let constants = if archive.has("constants.pkl") {
            let bytes = archive.read("constants.pkl")?.into_owned();
            Some(Pickle::read_within("constants.pkl", bytes, limits, budget)?)
        } else {
            None
        };
        data.root_object()?;
        expand::check(&data, budget)?;
        if let Some(constants) = &constants {
            constants.root_items()?;
            expand::check(constants, budget)?;
        }
        let data_tensors = Tensors::read(&archive, &data, Folder::Data.name())?;
        let constant_tensors = match &constants {
            Some(constants) => Tensors::read(&archive, constants, Folder::Constants.name())?,
            None => Tensors::default(),
        };
        let program = program(&archive)?;
        let is_opaque = |class: &str| agree::is_opaque(&program, class);
        let mut reader = HeapReader::new(&is_opaque);
        reader.read(&data, constants.as_ref());
        let HeapReader { mut heap, slots, places, .. } = reader;
        heap.name_paths();
        agree::check(&heap, &program)?;
        let mut sites = sites::find(&program, &heap, &injected::is_quantizer);
        if !sites.separated.is_empty() {
            // Which axes weights have shows only now.
            heap.separate(&sites.separated);
            sites = sites::find(&program, &heap, &injected::is_quantizer);
        }
        let (mark, warnings) = read_mark(&archive)?;
        let mut model = Self {
            path,
            archive,
            data,
            constants,
            data_tensors,
            constant_tensors,
            heap,
            slots,
            places,
            program,
            sites,
            mark,
            warnings,
            uses: OnceLock::new(),
        };
        model.look_at_code();
        Ok(model)
    }

    /// The file it was opened from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Objects and tensors.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    /// The source files.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What following the code has shown.
    pub fn sites(&self) -> &Sites {
        &self.sites
    }

    /// `crc32c:<8 hex digits>:<bytes>` of the file.
    pub fn fingerprint(&self) -> String {
        let bytes = self.archive.bytes();
        ranges::fingerprint(crc32c::crc32c(bytes), bytes.len() as u64)
    }

    pub(crate) fn data(&self) -> &Pickle {
        &self.data
    }

    pub(crate) fn constants(&self) -> Option<&Pickle> {
        self.constants.as_ref()
    }

    pub(crate) fn slot(&self, object: ObjectId) -> Option<Slot> {
        self.slots.get(object.0).copied()
    }

    pub(crate) fn place(&self, tensor: TensorId) -> Option<&TensorPlace> {
        self.places.get(tensor.0)
    }

    /// Every attribute that is the object.
    pub(crate) fn holders(&self, object: ObjectId) -> Vec<(ObjectId, &str)> {
        self.uses().holders(self, object)
    }

    /// Where its tensors are used.
    pub(crate) fn uses(&self) -> &Uses {
        self.uses.get_or_init(|| Uses::of(self))
    }

    pub(crate) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// How a site was quantized by an earlier run.
    pub(crate) fn marked(&self, op: &str, kind: QuantType, tensor: &str) -> Option<&Settings> {
        self.mark.as_ref()?.find(op, kind, tensor)
    }

    /// `result`, which was made from this model, with its file; an error where the file has changed meanwhile, whatever else was found.
    pub(crate) fn in_file<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        let result = self.archive.settled(result);
        match &self.path {
            Some(path) => result.map_err(|error| error.in_file(path)),
            None => result,
        }
    }

    /// The element type of all weights, where they have one: activations have it too.
    pub(crate) fn float_type(&self) -> Option<DType> {
        let weights = self.sites.ops.iter().flat_map(|op| &op.weights).filter_map(|weight| weight.tensor);
        let mut types = weights.filter_map(|tensor| self.heap.tensor(tensor)?.dtype);
        let first = types.next()?;
        types.all(|dtype| dtype == first).then_some(first)
    }

    /// Whether an object, or else the root, was saved in training mode.
    pub(crate) fn is_training(&self, object: ObjectId) -> bool {
        let flag = |object: ObjectId| match self.heap.object(object)?.attribute("training")? {
            Item::Bool(flag) => Some(*flag),
            _ => None,
        };
        flag(object).or_else(|| flag(self.heap.root?)).unwrap_or(false)
    }

    /// Whether `torch.jit.freeze` made it, which takes the mode away.
    pub(crate) fn is_frozen(&self) -> bool {
        let root = self.heap.root.and_then(|root| self.heap.object(root));
        root.is_some_and(|root| !root.opaque && root.attribute("training").is_none())
    }

    /// Whether the mobile interpreter can run it too.
    pub(crate) fn is_mobile(&self) -> bool {
        self.archive.has(BYTECODE)
    }

    pub(crate) fn tensors(&self, folder: Folder) -> &Tensors {
        match folder {
            Folder::Data => &self.data_tensors,
            Folder::Constants => &self.constant_tensors,
        }
    }

    /// The tensor with its storage.
    pub(crate) fn tensor(&self, tensor: TensorId) -> Option<(TensorPlace, &Tensor, &Storage)> {
        let place = *self.place(tensor)?;
        let tensors = self.tensors(place.folder);
        let found = tensors.tensors().get(place.position)?;
        Some((place, found, tensors.storage(found)?))
    }

    /// Where a tensor is put when it is loaded: `cpu`, `cuda:0`, ….
    pub(crate) fn device(&self, tensor: TensorId) -> &str {
        let Some((place, _, storage)) = self.tensor(tensor) else { return CPU };
        let pickle = match place.folder {
            Folder::Data => Some(&self.data),
            Folder::Constants => self.constants.as_ref(),
        };
        let name = pickle.and_then(|pickle| str::from_utf8(pickle.bytes().get(storage.device.clone())?).ok());
        name.unwrap_or(CPU)
    }

    /// Where the tensors of an object are; of one without any, those of the first that has some.
    pub(crate) fn device_of(&self, object: ObjectId) -> &str {
        let own = self.heap.object(object);
        let tensors = own.into_iter().chain(&self.heap.objects).flat_map(|object| &object.attributes);
        let items = tensors.map(|(_, item)| item).chain(&self.heap.constants);
        let mut tensors = items.filter_map(|item| match item {
            Item::Tensor(tensor) => Some(*tensor),
            _ => None,
        });
        tensors.next().map_or(CPU, |tensor| self.device(tensor))
    }

    /// What a user should know about the model, whatever is done with it.
    pub(crate) fn warnings(&self, _emit: Emit) -> Vec<Reason> {
        self.warnings.clone()
    }

    fn look_at_code(&mut self) {
        if self.sites.cut {
            let text = "the code calls deeper than is followed; what lies beyond is left in float";
            self.warnings.push(Reason::new(codes::CODE_CUT, text));
        }
        for name in &self.sites.called {
            let outside = matches!(name.as_str(), "torch.save" | "torch.from_file" | "torch.load");
            let own = ["prim.", "aten.", "quantized.", "prepacked."];
            let custom = name.strip_prefix("ops.").is_some_and(|rest| !own.iter().any(|own| rest.starts_with(own)));
            if outside || custom || name.starts_with("__torch__.torch.classes.") {
                let text = format!("the model's code calls `{name}`, which reaches outside of the model");
                self.warnings.push(Reason::new(codes::REACHES_OUTSIDE, text));
            }
        }
    }
}

fn read_mark(archive: &Archive) -> Result<(Option<Mark>, Vec<Reason>), Error> {
    if !archive.has(mark::RECORD) {
        return Ok((None, Vec::new()));
    }
    let mark = Mark::parse(&archive.text(mark::RECORD)?);
    let text = format!("record `{}` is not one of this version and is not looked at", mark::RECORD);
    let warnings = if mark.is_none() { vec![Reason::new(codes::MARK_UNKNOWN, text)] } else { Vec::new() };
    Ok((mark, warnings))
}

fn program(archive: &Archive) -> Result<Program, Error> {
    let names = archive.records().filter(|name| Program::is_source(name));
    let texts = names.map(|name| Ok((name.to_owned(), archive.text(name)?.into_owned())));
    let texts = texts.collect::<Result<Vec<_>, Error>>()?;
    Program::within(texts, archive.budget()).map_err(|(record, error)| match error.over {
        Some(over) => Error::Budget { over, at: At::within(record, error.offset) },
        None => Error::Code {
            message: format!("found {}, expected {}", error.found, error.expected),
            at: At::within(record, error.offset),
        },
    })
}
