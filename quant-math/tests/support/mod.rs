//! Numbers that tests share.
#![allow(dead_code, reason = "no test uses all of it")]

use proptest::prelude::*;

/// Finite numbers of every size that a range can have without overflow, zeros and subnormal numbers included.
pub(crate) fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -10.0_f32..10.0,
        1 => Just(0.0_f32),
        1 => Just(-0.0_f32),
        2 => any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.abs() < 1e37),
    ]
}

/// Numbers with a bell's shape and long tails, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize, offset: f32) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        #[expect(clippy::cast_precision_loss, reason = "24 bits")]
        let unit = (state >> 40) as f32 / 16_777_216.0;
        unit
    };
    (0..len).map(|_| offset + (next() + next() + next() - 1.5) / (next() + 0.02)).collect()
}
