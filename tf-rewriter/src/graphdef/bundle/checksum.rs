//! CRC-32C, as LevelDB stores it, and of long values on all cores.
//!
//! Source: `leveldb/util/crc32c.h`: a checksum over bytes that hold checksums would be weak, so each is masked before it is stored.

use rayon::prelude::*;

const ADDED: u32 = 0xa282_ead8;

/// So many bytes are worth a thread, and putting two sums together.
const PART: usize = 1 << 20;

/// The CRC of `bytes`, in a part for every core.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    let part = bytes.len().div_ceil(rayon::current_num_threads()).max(PART);
    let sums = bytes.par_chunks(part).map(|part| (crc32c::crc32c(part), part.len()));
    let join = |(left, length): (u32, usize), (right, more): (u32, usize)| {
        (crc32c::crc32c_combine(left, right, more), length + more)
    };
    sums.reduce_with(join).map_or(0, |(sum, _)| sum)
}

/// The CRC that `masked` stands for.
pub(super) fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(ADDED).rotate_left(15)
}

/// How `crc` is stored.
pub(super) fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(ADDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_to_the_sum_of_the_whole() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(5 * PART + 7).collect();
        for length in [0, 1, PART, 2 * PART - 1, 2 * PART, 2 * PART + 1, bytes.len()] {
            let bytes = bytes.get(..length).unwrap();
            assert_eq!(sum(bytes), crc32c::crc32c(bytes), "{length}");
        }
    }

    #[test]
    fn the_mask_is_undone() {
        for crc in [0, 1, 0x1234_5678, u32::MAX] {
            assert_eq!(unmask(mask(crc)), crc);
        }
    }
}
