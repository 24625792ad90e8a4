//! Arrays on their way to a `.npz`, as `numpy.savez` writes it.
//!
//! Source of the format: numpy.lib.format, version 1.0; the archive is a zip with one stored entry an array.

use std::io::{self, Cursor, Error, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::failure::Failure;

/// Before the length of the head: the magic and version 1.0.
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// The elements begin at a multiple of this.
const ALIGNED: usize = 64;

/// Outputs of a model, kept batch by batch until all are there.
#[derive(Debug, Default)]
pub struct SavedOutputs {
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl SavedOutputs {
    /// Add what a batch gave of an output. The outermost dimension counts the samples; single numbers stand in a row, one for each batch.
    pub fn add(&mut self, name: &str, shape: &[u64], values: &[f32]) {
        let shape: Vec<usize> = shape.iter().map(|dim| usize::try_from(*dim).unwrap_or(usize::MAX)).collect();
        let Some(known) = self.outputs.iter_mut().find(|output| output.name == name) else {
            self.outputs.push(Output { name: name.to_owned(), shape, values: values.to_vec() });
            return;
        };
        let more = shape.first().copied().unwrap_or(1);
        match known.shape.first_mut() {
            Some(all) => *all = all.saturating_add(more),
            None => known.shape = vec![1 + more],
        }
        known.values.extend_from_slice(values);
    }

    /// Write them as a `.npz`, complete or not at all.
    ///
    /// # Errors
    /// Batches of an output that do not fit together; the file cannot be written.
    pub fn write(self, path: &Path) -> Result<(), Failure> {
        let made = self.archive().map_err(|error| Error::other(format!("cannot write the outputs: {error}")))?;
        Ok(model_file::atomic::write(path, &made)?)
    }

    fn archive(self) -> io::Result<Vec<u8>> {
        let mut archive = NpzWriter::new();
        for Output { name, shape, values } in self.outputs {
            archive.add(&name, &shape, &values)?;
        }
        archive.finish()
    }
}

/// An archive in the making.
struct NpzWriter(ZipWriter<Cursor<Vec<u8>>>);

impl NpzWriter {
    fn new() -> Self {
        Self(ZipWriter::new(Cursor::new(Vec::new())))
    }

    /// Add an array of float32, the last dimension innermost.
    fn add(&mut self, name: &str, shape: &[usize], data: &[f32]) -> io::Result<()> {
        if shape.iter().try_fold(1, |n: usize, dim| n.checked_mul(*dim)) != Some(data.len()) {
            return Err(Error::other(format!("`{name}` has {} values, expected the shape {shape:?}", data.len())));
        }
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        self.0.start_file(format!("{name}.npy"), stored)?;
        self.0.write_all(&head(shape)?)?;
        for values in data.chunks(1 << 14) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.0.write_all(&bytes)?;
        }
        Ok(())
    }

    /// The archive.
    fn finish(self) -> io::Result<Vec<u8>> {
        Ok(self.0.finish()?.into_inner())
    }
}

fn head(shape: &[usize]) -> io::Result<Vec<u8>> {
    let mut dims = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if shape.len() == 1 {
        // In Python, what makes a tuple of one is its comma.
        dims.push(',');
    }
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    let begin = MAGIC.len() + 2;
    let end = (begin + text.len() + 1).next_multiple_of(ALIGNED);
    text.extend(std::iter::repeat_n(' ', end - begin - text.len() - 1));
    text.push('\n');
    let length = u16::try_from(text.len()).map_err(|_| Error::other("an array has too many dimensions"))?;
    Ok([MAGIC, &length.to_le_bytes(), text.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};
    use ndarray_npy::NpzReader;

    use super::*;

    #[test]
    fn arrays_come_back_with_their_shapes() {
        let values = |n: usize| -> Vec<f32> { (0..n).zip(0_u16..).map(|(_, at)| f32::from(at) - 1.5).collect() };
        let shapes: [&[usize]; 5] = [&[], &[3], &[2, 5], &[20_000, 1], &[0, 7]];
        let mut archive = NpzWriter::new();
        for (at, shape) in shapes.iter().enumerate() {
            archive.add(&format!("scope/a{at}"), shape, &values(shape.iter().product())).unwrap();
        }
        let mut read = NpzReader::new(Cursor::new(archive.finish().unwrap())).unwrap();
        for (at, shape) in shapes.iter().enumerate() {
            let found: ArrayD<f32> = read.by_name(&format!("scope/a{at}")).unwrap();
            let expected = ArrayD::from_shape_vec(IxDyn(shape), values(shape.iter().product())).unwrap();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn batches_of_an_output_are_one_array() {
        let mut saved = SavedOutputs::default();
        for samples in [2, 1] {
            saved.add("logits", &[samples, 2], &vec![0.5; 2 * usize::try_from(samples).unwrap()]);
            saved.add("loss", &[], &[1.5]);
        }
        let mut read = NpzReader::new(Cursor::new(saved.archive().unwrap())).unwrap();
        let shapes = ["logits", "loss"]
            .map(|name| read.by_name::<ndarray::OwnedRepr<f32>, IxDyn>(name).unwrap().shape().to_vec());
        assert_eq!(shapes, [vec![3, 2], vec![2]]);
        let mut torn = SavedOutputs::default();
        torn.add("boxes", &[1, 2], &[0.0; 2]);
        torn.add("boxes", &[1, 3], &[0.0; 3]);
        assert!(torn.archive().is_err());
    }

    #[test]
    fn elements_begin_where_numpy_puts_them() {
        for rank in 0..40 {
            let head = head(&vec![1; rank]).unwrap();
            assert_eq!((head.len() % ALIGNED, head.last()), (0, Some(&b'\n')), "{rank}");
        }
    }

    #[test]
    fn values_must_fill_the_shape() {
        let error = NpzWriter::new().add("a", &[2, 2], &[1.0]).unwrap_err().to_string();
        assert!(error.contains("1 values") && error.contains("[2, 2]"), "{error}");
        assert!(NpzWriter::new().add("a", &[usize::MAX, 2], &[]).is_err());
    }
}
