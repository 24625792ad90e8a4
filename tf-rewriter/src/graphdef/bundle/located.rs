//! Which files hold a tensor, by the index alone.

use std::path::{Path, PathBuf};

use super::assemble::entry_of;
use super::region::Region;
use super::{Bundle, damaged, slice};
use crate::error::Error;
use crate::graphdef::pb::DataType;

/// Where a tensor of a checkpoint, or a part of one, is stored. Its values were not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Element type.
    pub dtype: DataType,
    /// Outermost dimension first.
    pub shape: Vec<u64>,
    /// How many bytes its elements take; of strings, with their lengths.
    pub bytes: u64,
    /// The data files that hold them, each once.
    pub files: Vec<PathBuf>,
}

impl Bundle {
    /// Where a tensor, or the part of it that RestoreV2's `shape_and_slice` names, is stored; `None` if the checkpoint does not have the tensor.
    ///
    /// # Errors
    /// [`Error::Wire`] where the index is damaged, and [`Error::NoSuchPart`]. Both with their file.
    pub fn locate(&self, name: &str, shape_and_slice: &str) -> Result<Option<Located>, Error> {
        self.of_index(self.located(name, shape_and_slice))
    }

    fn located(&self, name: &str, shape_and_slice: &str) -> Result<Option<Located>, Error> {
        let Some(entry) = self.entry_named(name.as_bytes(), name)? else { return Ok(None) };
        let dtype = entry.dtype;
        let in_index = |error: Error| error.in_file(&self.index_path);
        let mut shards = Vec::new();
        let (shape, bytes) = if dtype == DataType::DT_STRING {
            shards.push(entry.shard);
            (entry.shape, entry.size)
        } else {
            let (_, size) = entry.elements(name).map_err(in_index)?;
            let wanted = slice::region(shape_and_slice, &entry.shape, name).map_err(in_index)?;
            for extents in &entry.slices {
                let part = Region::new(&entry.shape, extents).ok_or_else(|| {
                    let expected = format!("a part of the shape {:?}", entry.shape);
                    in_index(damaged(
                        format!("tensor `{name}`"),
                        format!("the part {extents:?}"),
                        expected,
                        entry.offset_in_index,
                    ))
                })?;
                if part.common(&wanted).elements() > 0 {
                    shards.push(entry_of(self, &entry, &part, extents, name)?.shard);
                }
            }
            if entry.slices.is_empty() {
                shards.push(entry.shard);
            }
            (wanted.shape(), (wanted.elements() * size) as u64)
        };
        shards.sort_unstable();
        shards.dedup();
        let shards = shards.into_iter().filter_map(|shard| self.shards.get(usize::try_from(shard).ok()?));
        Ok(Some(Located { dtype, shape, bytes, files: shards.map(|shard| shard.path().to_owned()).collect() }))
    }

    /// The data files, with the bytes of each.
    pub fn data_files(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.shards.iter().map(|shard| (shard.path(), shard.bytes()))
    }
}
