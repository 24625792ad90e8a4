//! An archive with a record of more than 4 GiB and records that begin beyond it: read, quantized, written and read again.
//!
//! The large record is zeros, and files are written with holes, so that the disk holds next to nothing of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use common::model;
use quant_math::config::ConfigList;
use quant_math::{Emit, Quantizer};
use torch_adapter::archive::{Archive, Body, Edits, write};
use torch_adapter::{Limits, Model, PlanOptions};

const HUGE: &str = "data/huge";
const LEN: u64 = (4 << 30) + 100;

/// A file that leaves out pieces of zeros.
struct Sparse {
    file: File,
    len: u64,
}

impl Sparse {
    fn create(path: &Path) -> Self {
        Self { file: File::create_new(path).unwrap(), len: 0 }
    }

    /// Its length, holes at the end included.
    fn finish(self) -> u64 {
        self.file.set_len(self.len).unwrap();
        self.len
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..64 << 10).unwrap_or(bytes);
        if piece.iter().any(|byte| *byte != 0) {
            self.file.seek(SeekFrom::Start(self.len))?;
            self.file.write_all(piece)?;
        }
        self.len += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn packed(model: Model, out: &mut (dyn Write + Send)) {
    let config = ConfigList::default_for(Quantizer::Naive);
    let plan = model.plan(&config, PlanOptions { emit: Some(Emit::Packed), ..PlanOptions::default() }).unwrap();
    assert!(!plan.is_empty());
    model.apply(&plan).unwrap().write(out).unwrap();
}

#[test]
fn an_archive_over_4_gib_is_quantized_like_a_small_one() {
    let folder = tempfile::tempdir().unwrap();
    let (large, result) = (folder.path().join("large.pt"), folder.path().join("result.pt"));
    let small = model("mlp.script.pt");
    let archive = Archive::from_bytes(small.clone(), &Limits::default()).unwrap();
    let mut edits = Edits::new();
    let zeros = |_: &[u8], _: u64, out: &mut [u8]| {
        out.fill(0);
        Ok(())
    };
    edits.add(HUGE, Body::Made { len: LEN, source: None, fill: Box::new(zeros) });
    let mut out = Sparse::create(&large);
    write(&archive, &edits, &mut out, &|_| {}).unwrap();
    assert!(out.finish() > LEN);

    let mut out = Sparse::create(&result);
    packed(Model::open(&large).unwrap(), &mut out);
    assert!(out.finish() > LEN);
    let mut expected = Vec::new();
    packed(Model::from_bytes(small).unwrap(), &mut expected);

    let expected = Archive::from_bytes(expected, &Limits::default()).unwrap();
    let found = Model::open(&result).unwrap();
    let found = found.archive();
    assert_eq!(found.entry(HUGE).unwrap().size(), LEN);
    let names: Vec<&str> = found.records().filter(|name| *name != HUGE).collect();
    assert_eq!(names, expected.records().collect::<Vec<_>>());
    let mut beyond = 0;
    for name in names {
        assert!(found.read(name).unwrap() == expected.read(name).unwrap(), "{name}");
        let offset = found.entry(name).unwrap().data_offset();
        assert_eq!(offset % 64, 0, "{name}");
        beyond += usize::from(offset as u64 > 4 << 30);
    }
    assert!(beyond > 5, "the codes, the pickle and the text lie behind the large record");
}
