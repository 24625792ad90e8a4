//! Writing the result, and the report that comes with it.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

use model_file::atomic::AtomicFile;
use quant_math::fate::Fate;
use quant_math::plan::{Plan, Reason};
use quant_math::report::Report;
use quant_math::weights::Errors;

use crate::error::Error;
use crate::find::model::Model;
use crate::rewrite::edit::output::Output;
use crate::rewrite::edit::stream::Pending;
use crate::torchscript::archive::{Body, Edits, Fill, Patch, write};
use crate::torchscript::contents::{StoreKey, Stored};

/// A weight that is made on the way, and its error.
struct Making<'p> {
    pending: &'p Pending,
    errors: Errors,
}

impl<'p> Making<'p> {
    fn new(pending: &'p Pending) -> Self {
        Self { pending, errors: Errors::default() }
    }

    fn fill(&self) -> Box<dyn Fill + '_> {
        Box::new(|source: &[u8], at: u64, out: &mut [u8]| self.pending.fill(source, at, out, &self.errors))
    }
}

/// A quantized model that is ready to be written. Untouched records are still bytes of the input.
#[derive(Debug)]
pub struct Compressed {
    model: Model,
    plan: Plan,
    output: Output,
    fates: Vec<Fate>,
    warnings: Vec<Reason>,
}

impl Compressed {
    pub(crate) fn new(model: Model, plan: Plan, output: Output, fates: Vec<Fate>, warnings: Vec<Reason>) -> Self {
        Self { model, plan, output, fates, warnings }
    }

    /// The plan that was carried out.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of the input; the result has about as many or fewer.
    pub fn input_len(&self) -> u64 {
        self.model.archive().len() as u64
    }

    /// What came up while the plan was carried out.
    pub fn warnings(&self) -> &[Reason] {
        &self.warnings
    }

    /// Write the archive.
    ///
    /// # Errors
    ///
    /// What the writer says; damaged records, which are found while they are copied.
    pub fn write(&self, out: &mut (dyn Write + Send)) -> Result<Report, Error> {
        self.model.in_file(self.write_all(out, &|_| {}))
    }

    /// Write a file. It appears under its name complete and checked, or not at all; an existing file stays as it was until then,
    /// and may be the input itself.
    ///
    /// # Errors
    ///
    /// What the file system says, with the path; a result that does not read back.
    pub fn write_to(&self, path: impl AsRef<Path>) -> Result<Report, Error> {
        self.write_to_with(path.as_ref(), &|_| {})
    }

    /// As [`Compressed::write_to`], calling `progress` with the number of bytes that were just written.
    ///
    /// # Errors
    ///
    /// As for [`Compressed::write_to`].
    pub fn write_to_with(&self, path: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<Report, Error> {
        let mut file = AtomicFile::create(path)?;
        let report = self.model.in_file(self.write_all(&mut file, progress))?;
        super::read_back::read_back(file.path(), &self.model, &self.plan)?;
        self.model.in_file(Ok(()))?;
        file.persist()?;
        Ok(report)
    }

    fn write_all(&self, out: &mut (dyn Write + Send), progress: &(dyn Fn(u64) + Sync)) -> Result<Report, Error> {
        let archive = self.model.archive();
        let baked: Vec<Making<'_>> = self.output.baked.values().map(Making::new).collect();
        let made = self.output.made.iter().map(|(record, pending)| (record, Making::new(pending)));
        let made: Vec<(&String, Making<'_>)> = made.collect();
        let changed = self.model.contents().changed();
        let stays = |(key, stored): &(StoreKey, Stored)| {
            !self.output.baked.contains_key(key) && !self.output.removed.contains(&stored.record)
        };
        let changed: Vec<(StoreKey, Stored)> = changed.filter(stays).collect();
        let mut edits = Edits::new();
        for (record, content) in &self.output.replaced {
            let body = Body::Bytes(Cow::Borrowed(content));
            if archive.has(record) { edits.replace(record, body) } else { edits.add(record, body) }
        }
        for record in &self.output.removed {
            edits.remove(record);
        }
        for making in &baked {
            let Stored { record, span, .. } = &making.pending.stored;
            edits.patch(record, Patch { span: span.clone(), fill: making.fill() });
        }
        for (_, stored) in &changed {
            edits.patch(&stored.record, Patch { span: stored.span.clone(), fill: filled(stored) });
        }
        for (record, making) in &made {
            let Pending { stored: Stored { record: from, span, .. }, stream, .. } = making.pending;
            let source = Some((from.clone(), span.clone()));
            let body = Body::Made { len: stream.len() as u64, source, fill: making.fill() };
            if archive.has(record) { edits.replace(*record, body) } else { edits.add(*record, body) }
        }
        for (record, stored) in &self.output.moved {
            let len = stored.span.end.saturating_sub(stored.span.start);
            let source = Some((stored.record.clone(), stored.span.clone()));
            let body = Body::Made { len, source, fill: filled(stored) };
            if archive.has(record) { edits.replace(record, body) } else { edits.add(record, body) }
        }
        let bytes = write(archive, &edits, &mut &mut *out, progress)?;
        drop(edits);
        let all = baked.iter().chain(made.iter().map(|(_, making)| making));
        let written = all.map(|making| (making.pending.number, making.errors.metrics())).collect();
        let mut report = Report::of(&self.plan, &self.fates, &written);
        report.warnings.extend(self.warnings.iter().cloned());
        Ok(Report { bytes_before: archive.len() as u64, bytes_after: bytes, ..report })
    }
}

/// The values that a tensor is to have.
fn filled(stored: &Stored) -> Box<dyn Fill + '_> {
    Box::new(|source: &[u8], at: u64, out: &mut [u8]| stored.fill(source, at, out))
}
