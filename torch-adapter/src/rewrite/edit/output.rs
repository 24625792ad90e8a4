//! The changes to an archive: texts, pickles, weights.

use std::collections::{BTreeMap, BTreeSet};

use quant_math::plan::{Plan, Reason};
use quant_math::weights::Form;

use super::stream::Pending;
use crate::codes;
use crate::error::{At, Error};
use crate::find::injected;
use crate::find::mark::{self, Mark};
use crate::find::model::Model;
use crate::rewrite::edit::editor::Editor;
use crate::rewrite::edit::library;
use crate::rewrite::edit::texts::{Rewritten, rewrite};
use crate::rewrite::edit::value::{NewValue, Records};
use crate::rewrite::weights::Observed;
use crate::torchscript::contents::{BYTECODE, StoreKey, Stored};
use crate::torchscript::folder::Folder;
use crate::torchscript::heap::{Item, ObjectId, unmangle};
use crate::torchscript::pickle::{Fresh, Slot, Splice};

/// Everything that differs from the input archive.
#[derive(Debug)]
pub(crate) struct Output {
    /// Records with new content; some are new.
    pub(crate) replaced: BTreeMap<String, Vec<u8>>,
    /// Records that go.
    pub(crate) removed: BTreeSet<String>,
    /// Storages whose values are quantized in place.
    pub(crate) baked: BTreeMap<StoreKey, Pending>,
    /// New records of codes, or of values for a copy.
    pub(crate) made: BTreeMap<String, Pending>,
    /// New records that hold a tensor of the input.
    pub(crate) moved: BTreeMap<String, Stored>,
    /// New values for slots of a pickle.
    pub(crate) slots: Vec<(Folder, Slot, NewValue)>,
    /// New constants, in order.
    pub(crate) constants: Vec<NewValue>,
    /// Attributes that go.
    pub(crate) removed_attributes: Vec<(ObjectId, String)>,
    pub(crate) data_records: Records,
    pub(crate) constant_records: Records,
    /// The next free memo position of each pickle.
    data_memo: u32,
    constant_memo: u32,
}

impl Output {
    pub(crate) fn new(model: &Model) -> Self {
        let keys = |folder: Folder| {
            let prefix = format!("{}/", folder.name());
            let names = model.archive().records();
            Records::after(names.filter_map(|name| name.strip_prefix(prefix.as_str())))
        };
        Self {
            replaced: BTreeMap::new(),
            removed: BTreeSet::new(),
            baked: BTreeMap::new(),
            made: BTreeMap::new(),
            moved: BTreeMap::new(),
            slots: Vec::new(),
            constants: Vec::new(),
            removed_attributes: Vec::new(),
            data_records: keys(Folder::Data),
            constant_records: keys(Folder::Constants),
            data_memo: Splice::new(model.contents().data()).new_memo(),
            constant_memo: model.contents().constants().map_or(0, |pickle| Splice::new(pickle).new_memo()),
        }
    }

    /// Quantize a weight where it is stored; once, however many sites share it.
    pub(crate) fn bake(&mut self, observed: &Observed) {
        let values = || Pending::new(observed, Form::Values(observed.stored.dtype));
        self.baked.entry(observed.key).or_insert_with(values);
    }

    /// A memo position that nothing uses.
    pub(crate) fn new_memo(&mut self, folder: Folder) -> u32 {
        let next = match folder {
            Folder::Data => &mut self.data_memo,
            Folder::Constants => &mut self.constant_memo,
        };
        let memo = *next;
        *next = next.saturating_add(1);
        memo
    }

    pub(crate) fn records(&mut self, folder: Folder) -> &mut Records {
        match folder {
            Folder::Data => &mut self.data_records,
            Folder::Constants => &mut self.constant_records,
        }
    }

    /// Say in the archive what was done.
    pub(crate) fn mark(&mut self, before: Option<&Mark>, plan: &Plan) -> Result<(), Error> {
        let text = Mark::after(before, plan).text().map_err(|error| Error::Plan { message: error.to_string() })?;
        self.replaced.insert(mark::RECORD.to_owned(), text.into_bytes());
        Ok(())
    }

    /// Leave out the mobile interpreter's copy of the code where the code changes; says so.
    ///
    /// Weights that are patched in place are the same bytes for both.
    pub(crate) fn drop_bytecode(&mut self, model: &Model) -> Option<Reason> {
        let changed = !self.made.is_empty() || self.replaced.keys().any(|record| record != mark::RECORD);
        if !changed || !model.contents().is_mobile() {
            return None;
        }
        let ours = |name: &&str| {
            matches!(*name, BYTECODE | "mobile_debug_handles.pkl" | "mobile_debug.pkl") || name.starts_with("bytecode/")
        };
        self.removed.extend(model.archive().records().filter(ours).map(str::to_owned));
        Some(Reason::new(
            codes::BYTECODE_DROPPED,
            "the mobile interpreter's bytecode is float and was left out: load the result with `torch.jit.load`, and make it mobile \
             again with `_save_for_lite_interpreter`",
        ))
    }

    /// Turn what the editor collected into records.
    pub(crate) fn finish(&mut self, editor: Editor<'_>) -> Result<(), Error> {
        let model = editor.model;
        let rewritten = rewrite(model.program(), model.heap(), editor.edits)?;
        if !editor.used.is_empty() {
            self.library(model, &editor.used)?;
        }
        self.data(model, &rewritten, editor.attributes)?;
        self.constants(model)?;
        for (record, text) in rewritten.records {
            // Its positions are those of the old text.
            let debug = format!("{record}.debug_pkl");
            if model.archive().has(&debug) {
                self.removed.insert(debug);
            }
            self.replaced.insert(record, text.into_bytes());
        }
        Ok(())
    }

    /// Leave out the storages of objects that go, and the classes that no object has any more.
    pub(crate) fn drop_objects(&mut self, model: &Model, gone: &BTreeSet<ObjectId>) {
        let heap = model.heap();
        let is_gone = |id: &usize| gone.contains(&ObjectId(*id));
        let tensors = |wanted: bool| {
            let objects = heap.objects.iter().enumerate().filter(move |(id, _)| is_gone(id) == wanted);
            objects.flat_map(|(_, object)| &object.attributes).flat_map(|(_, item)| item.each())
        };
        let place = |item: &Item| match item {
            Item::Tensor(tensor) => model.contents().place(*tensor).map(|place| place.position),
            _ => None,
        };
        let kept: BTreeSet<usize> = tensors(false).filter_map(place).collect();
        let left: BTreeSet<usize> = tensors(true).filter_map(place).filter(|tensor| !kept.contains(tensor)).collect();
        for storage in model.contents().tensors(Folder::Data).storages() {
            if !storage.tensors.is_empty() && storage.tensors.iter().all(|tensor| left.contains(tensor)) {
                self.removed.insert(storage.record.clone());
            }
        }
        let classes = heap.objects.iter().enumerate().filter(|(id, _)| !is_gone(id));
        let used: BTreeSet<&str> = classes.map(|(_, object)| object.class.as_str()).collect();
        for file in model.program().files() {
            let ours = |name: &str| injected::is_class(&unmangle(&format!("{}.{name}", file.module)));
            let classes = &file.source.classes;
            let unused = |name: &str| !used.contains(format!("{}.{name}", file.module).as_str());
            if !classes.is_empty() && classes.iter().all(|class| ours(&class.name) && unused(&class.name)) {
                self.removed.insert(file.record.clone());
                let debug = format!("{}.debug_pkl", file.record);
                if model.archive().has(&debug) {
                    self.removed.insert(debug);
                }
            }
        }
    }

    /// The library's record, with what an earlier run put there.
    fn library(&mut self, model: &Model, used: &library::Used) -> Result<(), Error> {
        let mut used = used.clone();
        let found = model.program().files().iter().find(|file| file.record == library::RECORD);
        let found = found.filter(|_| !self.removed.remove(library::RECORD));
        let Some(found) = found else {
            self.replaced.insert(library::RECORD.to_owned(), used.source().into_bytes());
            return Ok(());
        };
        used.without(&found.source);
        if !used.is_empty() {
            let text = format!("{}{}", found.text, used.source());
            crate::torchscript::code::parse(&text).map_err(|error| Error::Code {
                message: format!("found {}, expected {}", error.found, error.expected),
                at: At::within(library::RECORD, error.offset),
            })?;
            self.replaced.insert(library::RECORD.to_owned(), text.into_bytes());
        }
        Ok(())
    }

    fn data(
        &mut self,
        model: &Model,
        rewritten: &Rewritten,
        attributes: BTreeMap<ObjectId, Vec<(String, NewValue)>>,
    ) -> Result<(), Error> {
        let pickle = model.contents().data();
        let mut splice = Splice::new(pickle);
        let object = |id| {
            let found = model.contents().slot(id).and_then(|slot| pickle.object(slot));
            found.ok_or_else(|| Error::Plan { message: "an object is gone".to_owned() })
        };
        for (id, class) in &rewritten.classes {
            splice.set_class(object(*id)?, class)?;
        }
        // What several objects share is written with the one that comes first.
        let mut objects: Vec<_> =
            attributes.into_iter().map(|(id, values)| Ok((object(id)?, values))).collect::<Result<_, Error>>()?;
        objects.sort_by_key(|(object, _)| object.end_of_attributes());
        for (object, values) in objects {
            for (name, value) in values {
                let mut fresh = Fresh::new();
                value.write(&mut fresh, &mut self.data_records);
                splice.add_attribute(object, &name, fresh)?;
            }
        }
        for (id, name) in &self.removed_attributes {
            splice.remove_attribute(object(*id)?, name)?;
        }
        self.replace_slots(Folder::Data, &mut splice)?;
        if !splice.is_empty() {
            self.replaced.insert(pickle.record().to_owned(), splice.finish()?);
        }
        self.add_records(Folder::Data);
        Ok(())
    }

    fn constants(&mut self, model: &Model) -> Result<(), Error> {
        let Some(pickle) = model.contents().constants() else { return Ok(()) };
        let mut splice = Splice::new(pickle);
        self.replace_slots(Folder::Constants, &mut splice)?;
        if !self.constants.is_empty() {
            let mut fresh = Fresh::new();
            for value in std::mem::take(&mut self.constants) {
                value.write(&mut fresh, &mut self.constant_records);
            }
            splice.extend_root(fresh)?;
        }
        if !splice.is_empty() {
            self.replaced.insert(pickle.record().to_owned(), splice.finish()?);
        }
        self.add_records(Folder::Constants);
        Ok(())
    }

    fn replace_slots(&mut self, folder: Folder, splice: &mut Splice<'_>) -> Result<(), Error> {
        for (of, slot, value) in std::mem::take(&mut self.slots) {
            if of == folder {
                let mut fresh = Fresh::new();
                value.write(&mut fresh, self.records(folder));
                splice.replace(slot, fresh)?;
            } else {
                self.slots.push((of, slot, value));
            }
        }
        Ok(())
    }

    fn add_records(&mut self, folder: Folder) {
        let added = std::mem::take(&mut self.records(folder).added);
        for (key, bytes) in added {
            self.replaced.insert(format!("{}/{key}", folder.name()), bytes);
        }
    }
}
