//! A TorchScript model, read and followed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use quant_math::fold::Folded;
use quant_math::plan::{Emit, QuantType, Reason, Settings};
use quant_math::{DType, ranges};

use super::injected;
use super::mark::{self, Mark};
use super::sites::{self, Sites};
use super::uses::Uses;
use crate::codes;
use crate::error::Error;
use crate::limits::Limits;
use crate::torchscript::archive::Archive;
use crate::torchscript::contents::{Changes, Contents};
use crate::torchscript::heap::{Heap, ObjectId, TensorId, unmangle};
use crate::torchscript::program::Program;

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
    contents: Contents,
    sites: Sites,
    mark: Option<Mark>,
    warnings: Vec<Reason>,
    /// Made when first asked for.
    uses: OnceLock<Uses>,
    folds: Vec<Folded>,
    /// By weight: what is added to each of its channels behind the layer, where a batch norm does that.
    added: BTreeMap<TensorId, Vec<f32>>,
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
        let mut contents = Contents::read(archive, path, limits)?;
        let find = |contents: &Contents| sites::find(&contents.program, &contents.heap, &injected::is_quantizer);
        let mut sites = find(&contents);
        if !sites.separated.is_empty() {
            // Which axes weights have shows only now.
            contents.heap.separate(&sites.separated);
            sites = find(&contents);
        }
        let (mark, warnings) = read_mark(&contents.archive)?;
        let mut model =
            Self { contents, sites, mark, warnings, uses: OnceLock::new(), folds: Vec::new(), added: BTreeMap::new() };
        model.look_at_code();
        Ok(model)
    }

    /// The file it was opened from.
    pub fn path(&self) -> Option<&Path> {
        self.contents.path.as_deref()
    }

    /// The archive.
    pub fn archive(&self) -> &Archive {
        &self.contents.archive
    }

    /// All of what the archive holds.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Objects and tensors.
    pub fn heap(&self) -> &Heap {
        &self.contents.heap
    }

    /// The source files.
    pub fn program(&self) -> &Program {
        &self.contents.program
    }

    /// What following the code has shown.
    pub fn sites(&self) -> &Sites {
        &self.sites
    }

    /// `crc32c:<8 hex digits>:<bytes>` of the file.
    pub fn fingerprint(&self) -> String {
        let bytes = self.contents.archive.bytes();
        ranges::fingerprint(crc32c::crc32c(bytes), bytes.len() as u64)
    }

    /// Its batch normalizations, and which of them are in the layers before them by now; nothing where nobody has looked for them
    /// ([`Model::folded`]).
    pub fn folds(&self) -> &[Folded] {
        &self.folds
    }

    /// What a batch norm adds behind the layer with this weight, channel by channel, where that is all it does.
    pub(crate) fn added_to(&self, weight: TensorId) -> Option<&[f32]> {
        self.added.get(&weight).map(Vec::as_slice)
    }

    /// The model with other values for some of its tensors, which have taken these batch normalizations.
    pub(crate) fn with_changes(
        mut self,
        changes: Changes,
        folds: Vec<Folded>,
        added: BTreeMap<TensorId, Vec<f32>>,
    ) -> Self {
        self.contents.changes = changes;
        Self { folds, added, ..self }
    }

    /// Every attribute that is the object.
    pub(crate) fn holders(&self, object: ObjectId) -> Vec<(ObjectId, &str)> {
        self.uses().holders(self.heap(), object)
    }

    /// Where its tensors are used.
    pub(crate) fn uses(&self) -> &Uses {
        self.uses.get_or_init(|| Uses::of(&self.contents.heap, &self.contents.program, &self.sites))
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
        let result = self.contents.archive.settled(result);
        match &self.contents.path {
            Some(path) => result.map_err(|error| error.in_file(path)),
            None => result,
        }
    }

    /// Whether it observes activations for calibration.
    pub(crate) fn observes(&self) -> bool {
        self.heap().objects.iter().any(|object| unmangle(&object.class) == injected::OBSERVED)
    }

    /// The element type of all weights, where they have one: activations have it too.
    pub(crate) fn float_type(&self) -> Option<DType> {
        let weights = self.sites.ops.iter().flat_map(|op| &op.weights).filter_map(|weight| weight.tensor);
        let mut types = weights.filter_map(|tensor| self.contents.heap.tensor(tensor)?.dtype);
        let first = types.next()?;
        types.all(|dtype| dtype == first).then_some(first)
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
