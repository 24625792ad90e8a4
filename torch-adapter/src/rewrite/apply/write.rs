//! Writing the result, and the report that comes with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use model_file::atomic::AtomicFile;
use quant_math::data::LittleEndian;
use quant_math::metrics::Metrics;
use quant_math::plan::{Decision, Plan, Reason};
use quant_math::report::{Report, SiteReport};
use quant_math::weights::{WeightMap, measure};

use crate::error::Error;
use crate::find::model::Model;
use crate::rewrite::edit::output::Output;
use crate::rewrite::edit::stream::{Form, Stream};
use crate::rewrite::fate::Fate;
use crate::rewrite::weights::bytes;
use crate::torchscript::archive::{Body, Edits, Patch, write};
use crate::torchscript::contents::Stored;

/// What writing has shown.
struct Written {
    bytes: u64,
    /// The errors of the weights that were made on the way, by their map: one map belongs to one weight.
    errors: BTreeMap<*const WeightMap, Metrics>,
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
        let written = self.write_bytes(out, &|_| {});
        self.model.in_file(written.and_then(|written| self.report(&written)))
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

    /// As [`Compressed::write_to`], telling `progress` how many bytes are written so far.
    ///
    /// # Errors
    ///
    /// As for [`Compressed::write_to`].
    pub fn write_to_with(&self, path: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<Report, Error> {
        let mut file = AtomicFile::create(path)?;
        let written = self.write_bytes(&mut file, progress);
        let report = self.model.in_file(written.and_then(|written| self.report(&written)))?;
        super::read_back::read_back(file.path(), &self.model, &self.plan)?;
        self.model.in_file(Ok(()))?;
        file.persist()?;
        Ok(report)
    }

    fn write_bytes(&self, out: &mut (dyn Write + Send), progress: &(dyn Fn(u64) + Sync)) -> Result<Written, Error> {
        let archive = self.model.archive();
        let baked = self.output.baked.values().map(|pending| Stream::new(pending, Form::Values));
        let baked: Vec<Stream<'_>> = baked.collect();
        let made = self.output.made.iter().map(|(record, (pending, form))| (record, Stream::new(pending, *form)));
        let made: Vec<(&String, Stream<'_>)> = made.collect();
        let mut edits = Edits::new();
        for (record, content) in &self.output.replaced {
            let body = Body::Bytes(Cow::Borrowed(content));
            if archive.has(record) { edits.replace(record, body) } else { edits.add(record, body) }
        }
        for record in &self.output.removed {
            edits.remove(record);
        }
        for stream in &baked {
            let Stored { record, span, .. } = &stream.pending.stored;
            let fill = Box::new(|source: &[u8], at: u64, out: &mut [u8]| stream.fill(source, at, out));
            edits.patch(record, Patch { span: span.clone(), fill });
        }
        for (record, stream) in &made {
            let Stored { record: from, span, dense, .. } = &stream.pending.stored;
            let fill = Box::new(|source: &[u8], at: u64, out: &mut [u8]| stream.fill(source, at, out));
            let body = Body::Made { len: stream.len(dense.len()), source: Some((from.clone(), span.clone())), fill };
            if archive.has(record) { edits.replace(*record, body) } else { edits.add(*record, body) }
        }
        for (record, (from, span)) in &self.output.moved {
            let len = span.end.saturating_sub(span.start);
            let body = Body::Made { len, source: Some((from.clone(), span.clone())), fill: Box::new(copy) };
            if archive.has(record) { edits.replace(record, body) } else { edits.add(record, body) }
        }
        let bytes = write(archive, &edits, &mut &mut *out, progress)?;
        drop(edits);
        let streams = baked.iter().chain(made.iter().map(|(_, stream)| stream));
        let errors = streams.map(|stream| (Arc::as_ptr(&stream.pending.map), stream.metrics()));
        // Of several streams of one map the first one counts.
        let errors = errors.collect::<Vec<_>>().into_iter().rev().collect();
        Ok(Written { bytes, errors })
    }

    fn report(&self, written: &Written) -> Result<Report, Error> {
        let mut sites = Vec::with_capacity(self.plan.sites.len());
        for (site, fate) in self.plan.sites.iter().zip(&self.fates) {
            let mut site = site.clone();
            if let Some(reason) = &fate.unchanged {
                site.decision = Decision::Skip(reason.clone());
            }
            sites.push(SiteReport {
                site,
                scale: fate.scale,
                metrics: self.metrics(fate, written)?,
                channel_spread: fate.spread,
                bytes_before: fate.bytes_before,
                bytes_after: fate.bytes_after,
            });
        }
        let mut warnings = self.plan.warnings.clone();
        warnings.extend(self.warnings.iter().cloned());
        Ok(Report {
            quantizer: self.plan.quantizer,
            emit: self.plan.emit,
            sites,
            bytes_before: self.model.archive().len() as u64,
            bytes_after: written.bytes,
            nodes_left_out: 0,
            warnings,
        })
    }

    fn metrics(&self, fate: &Fate, written: &Written) -> Result<Option<Metrics>, Error> {
        let Some((stored, map)) = &fate.weight else { return Ok(None) };
        if let Some(metrics) = written.errors.get(&Arc::as_ptr(map)) {
            return Ok(Some(*metrics));
        }
        let bytes = bytes(self.model.archive(), stored)?;
        Ok(Some(measure(map, &LittleEndian::new(stored.dtype, &bytes))))
    }
}

/// What stands at byte `at` of `source`.
#[expect(clippy::unnecessary_wraps, reason = "what fills a record may fail")]
fn copy(source: &[u8], at: u64, out: &mut [u8]) -> Result<(), Error> {
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    if let Some(part) = source.get(start..start.saturating_add(out.len())) {
        out.copy_from_slice(part);
    }
    Ok(())
}
