//! Writing the result, and the report that comes with it.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use quant_cli::atomic::AtomicFile;
use quant_math::data::LittleEndian;
use quant_math::metrics::Metrics;
use quant_math::plan::{Decision, Plan, Reason, Site};
use quant_math::report::{Report, SiteReport};
use quant_math::weights::{WeightMap, measure};

use super::output::{Output, Pending};
use super::weights::{Observed, bytes, fill_codes, fill_values};
use crate::archive::{Body, Edits, Patch, write};
use crate::error::Error;
use crate::model::{Model, Stored};

/// What is reported about a site besides its error.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    pub(super) scale: Option<(f32, f32)>,
    /// The weight and its map, for the error.
    weight: Option<(Stored, Arc<WeightMap>)>,
    pub(super) bytes_before: u64,
    pub(super) bytes_after: u64,
    /// Found out only with the values: why nothing was done after all.
    unchanged: Option<Reason>,
}

impl Fate {
    /// What is known of a site before anything is done.
    pub(super) fn before(site: &Site) -> Self {
        let elements = site.shape.as_ref().map_or(0, |shape| shape.iter().fold(1, |n: u64, s| n.saturating_mul(*s)));
        let bytes = elements.saturating_mul(site.dtype.map_or(0, |dtype| dtype.size() as u64));
        Self { bytes_before: bytes, bytes_after: bytes, ..Self::default() }
    }

    pub(super) fn observed(&mut self, observed: &Observed) {
        self.scale = observed.map.scale_span();
        if *observed.map == WeightMap::Unchanged {
            self.unchanged = Some(Reason::new("all-zero", "all weights are 0 and stay so"));
        } else {
            self.weight = Some((observed.stored.clone(), Arc::clone(&observed.map)));
        }
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
    pub(super) fn new(model: Model, plan: Plan, output: Output, fates: Vec<Fate>, warnings: Vec<Reason>) -> Self {
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
        let written = self.model.in_file(self.write_bytes(out, &|_| {}))?;
        self.report(written)
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
        let written = self.model.in_file(self.write_bytes(&mut file, progress))?;
        super::verify::verify(file.path(), &self.model, &self.plan)?;
        file.persist()?;
        self.report(written)
    }

    fn write_bytes(&self, out: &mut (dyn Write + Send), progress: &(dyn Fn(u64) + Sync)) -> Result<u64, Error> {
        let archive = self.model.archive();
        let mut edits = Edits::new();
        for (record, content) in &self.output.replaced {
            let body = Body::Bytes(Cow::Borrowed(content));
            if archive.has(record) { edits.replace(record, body) } else { edits.add(record, body) }
        }
        for record in &self.output.removed {
            edits.remove(record);
        }
        for pending in self.output.baked.values() {
            let bytes = bytes(archive, &pending.stored)?;
            let dtype = pending.dtype();
            let fill = move |at: u64, out: &mut [u8]| {
                fill_values(&pending.map, dtype, &bytes, at, out);
                Ok(())
            };
            edits.patch(&pending.stored.record, Patch { span: pending.stored.span.clone(), fill: Box::new(fill) });
        }
        for (record, pending) in &self.output.codes {
            let len = pending.stored.dense.len();
            let fill = self.codes(pending)?;
            let body = Body::Made { len, fill: Box::new(fill) };
            if archive.has(record) { edits.replace(record, body) } else { edits.add(record, body) }
        }
        write(archive, &edits, &mut &mut *out, progress)
    }

    fn codes<'a>(
        &'a self,
        pending: &'a Pending,
    ) -> Result<impl Fn(u64, &mut [u8]) -> Result<(), Error> + Sync + 'a, Error> {
        let bytes = bytes(self.model.archive(), &pending.stored)?;
        Ok(move |at: u64, out: &mut [u8]| {
            fill_codes(&pending.map, pending.dtype(), &bytes, at, out)
                .map_err(|source| Error::Math { tensor: pending.stored.record.clone(), source })
        })
    }

    fn report(&self, bytes_after: u64) -> Result<Report, Error> {
        let mut sites = Vec::with_capacity(self.plan.sites.len());
        for (site, fate) in self.plan.sites.iter().zip(&self.fates) {
            let mut site = site.clone();
            if let Some(reason) = &fate.unchanged {
                site.decision = Decision::Skip(reason.clone());
            }
            sites.push(SiteReport {
                site,
                scale: fate.scale,
                metrics: self.metrics(fate)?,
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
            bytes_after,
            warnings,
        })
    }

    fn metrics(&self, fate: &Fate) -> Result<Option<Metrics>, Error> {
        let Some((stored, map)) = &fate.weight else { return Ok(None) };
        let bytes = bytes(self.model.archive(), stored)?;
        Ok(Some(measure(map, &LittleEndian::new(stored.dtype, &bytes))))
    }
}
