//! Checks over all entries, and the CRC of long data on all cores.

use quant_math::Budget;
use rayon::prelude::*;

use super::entry::{Entry, Method};
use crate::error::{ArchiveFault, Error};
use crate::limits::Limits;

/// Data shorter than this is hashed on one core.
const PART: usize = 4 << 20;
/// Records of source positions, which are only ever copied.
const DEBUG: &str = ".debug_pkl";
/// Records that inflate to less are never bombs.
const SMALL: u64 = 1 << 20;

/// No two records share bytes, and none reaches into the directory at `directory`.
pub(super) fn no_overlap(entries: &[Entry], directory: usize) -> Result<(), Error> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.header);
    let next = sorted.iter().skip(1).map(|entry| (entry.header, format!("`{}`", entry.name)));
    let next = next.chain([(directory, "the directory".to_owned())]);
    for (entry, (start, next)) in sorted.iter().zip(next) {
        if entry.end > start {
            let (name, end) = (entry.name.clone(), entry.end as u64);
            return Err(ArchiveFault::Overlap { name, end, next, start: start as u64 }.at(entry.header));
        }
    }
    Ok(())
}

/// No deflated record declares more than the limits allow, and all together no more than the budget.
pub(super) fn no_bomb(entries: &[Entry], limits: &Limits, budget: &Budget) -> Result<(), Error> {
    for entry in entries.iter().filter(|entry| entry.method == Method::Deflated) {
        let (packed, size) = (entry.data.len() as u64, entry.size);
        let bomb = |limit| ArchiveFault::Bomb { packed, size, limit }.in_record(&entry.name);
        let by_ratio = packed.saturating_mul(limits.inflate_ratio).max(SMALL);
        if size > by_ratio {
            return Err(bomb(by_ratio));
        }
        if !entry.name.ends_with(DEBUG) {
            budget.take(size, "the deflated records").map_err(|over| bomb(over.limit))?;
        }
    }
    Ok(())
}

pub(super) fn crc(data: &[u8], expected: u32) -> Result<(), ArchiveFault> {
    same(hash(data), expected)
}

pub(super) fn same(found: u32, expected: u32) -> Result<(), ArchiveFault> {
    if found == expected { Ok(()) } else { Err(ArchiveFault::Crc { found, expected }) }
}

fn hash(data: &[u8]) -> u32 {
    if data.len() < PART {
        return crc32fast::hash(data);
    }
    let part = |part: &[u8]| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(part);
        hasher
    };
    let join = |mut left: crc32fast::Hasher, right: crc32fast::Hasher| {
        left.combine(&right);
        left
    };
    data.par_chunks(PART).map(part).reduce(crc32fast::Hasher::new, join).finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallel_hash_is_the_hash() {
        let data: Vec<u8> = (0..3 * PART + 17).map(|i| u8::try_from(i * 31 % 256).unwrap()).collect();
        assert_eq!(hash(&data), crc32fast::hash(&data));
    }
}
