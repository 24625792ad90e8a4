//! CRC-32C as LevelDB stores it.
//!
//! Source: `leveldb/util/crc32c.h`: a checksum over bytes that hold checksums would be weak, so each is masked before it is stored.

const ADDED: u32 = 0xa282_ead8;

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
    fn the_mask_is_undone() {
        for crc in [0, 1, 0x1234_5678, u32::MAX] {
            assert_eq!(unmask(mask(crc)), crc);
        }
    }
}
