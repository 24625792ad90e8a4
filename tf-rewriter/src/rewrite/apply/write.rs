//! Writing the result, and the report that comes with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use model_file::atomic::AtomicFile;
use quant_math::Plan;
use quant_math::fate::Fate;
use quant_math::metrics::Metrics;
use quant_math::plan::Reason;
use quant_math::report::Report;

use super::{Baked, read_back};
use crate::error::Error;
use crate::graphdef::graph::Graph;
use crate::rewrite::splice::{self, Segment};

/// A quantized graph that is ready to be written. Untouched parts are still bytes of the input.
#[derive(Debug)]
pub struct Compressed {
    graph: Graph,
    plan: Plan,
    segments: Vec<Segment>,
    fates: Vec<Fate>,
    baked: Vec<Baked>,
    warnings: Vec<Reason>,
}

impl Compressed {
    pub(super) fn new(graph: Graph, plan: Plan, segments: Vec<Segment>, fates: Vec<Fate>, baked: Vec<Baked>) -> Self {
        Self { graph, plan, segments, fates, baked, warnings: Vec::new() }
    }

    /// The same, with what came up on the way.
    pub(super) fn warning(self, warnings: Vec<Reason>) -> Self {
        Self { warnings, ..self }
    }

    /// What came up while the plan was carried out.
    pub fn warnings(&self) -> &[Reason] {
        &self.warnings
    }

    /// The graph that it was made of.
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The output, as it is written.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The constants that hold quantized values, for `baked`.
    pub(crate) fn baked(&self) -> &[Baked] {
        &self.baked
    }

    /// The plan that was carried out.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of the binary result.
    pub fn len(&self) -> u64 {
        splice::total(&self.segments) as u64
    }

    /// Whether the result is the empty graph.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Write the binary GraphDef.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, out: &mut (dyn Write + Send)) -> Result<Report, Error> {
        crate::graphdef::io::check_length(self.len())?;
        self.graph.settled(self.write_with(out, &|_| {}))
    }

    /// Write a file, binary or (with a name that ends in `.pbtxt`) text. It appears under its name complete and checked, or not at
    /// all; an existing file stays as it was until then, and may be the input itself.
    ///
    /// # Errors
    /// What the file system says, with the path; a result that does not read back.
    pub fn write_to(&self, path: impl AsRef<Path>) -> Result<Report, Error> {
        self.write_to_with(path.as_ref(), &|_| {})
    }

    /// As [`Compressed::write_to`], calling `progress` with the number of bytes that were just written.
    ///
    /// # Errors
    /// As for [`Compressed::write_to`].
    pub fn write_to_with(&self, path: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<Report, Error> {
        self.write_file(path, progress).map_err(|error| error.in_file(path))
    }

    fn write_file(&self, path: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<Report, Error> {
        crate::graphdef::io::check_length(self.len())?;
        let mut file = AtomicFile::create(path)?;
        let report = self.graph.settled(self.write_checked(&mut file, path, progress))?;
        file.persist()?;
        Ok(report)
    }

    /// Write, and read back what was written.
    fn write_checked(
        &self,
        file: &mut AtomicFile,
        path: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Report, Error> {
        let text = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pbtxt"));
        if text {
            let mut binary = Vec::new();
            let mut report = self.write_with(&mut binary, progress)?;
            let mut text = Counted { out: std::io::BufWriter::new(&mut *file), bytes: 0 };
            crate::graphdef::text::write(&binary, &mut text)?;
            text.flush().map_err(Error::writing)?;
            report.bytes_after = text.bytes;
            drop(text);
            read_back::read_back_text(file.path(), report.bytes_after, &self.graph)?;
            Ok(report)
        } else {
            let report = self.write_with(file, progress)?;
            read_back::read_back(file.path(), self.len(), &self.graph)?;
            Ok(report)
        }
    }

    pub(crate) fn write_with(
        &self,
        out: &mut (dyn Write + Send),
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Report, Error> {
        let written = splice::write(&self.segments, &self.graph, out, progress)?;
        Ok(self.report(&written))
    }

    /// The report, with the errors of what was written, by their slots.
    pub(crate) fn report(&self, written: &BTreeMap<usize, Metrics>) -> Report {
        let report = Report::of(&self.plan, &self.fates, written);
        Report {
            warnings: report.warnings.iter().chain(&self.warnings).cloned().collect(),
            bytes_before: self.graph.file_len(),
            bytes_after: self.len(),
            nodes_left_out: self.graph.nodes_left_out(),
            ..report
        }
    }
}

/// Counts what is written.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
