//! Noise that depends on nothing but seed, step and position.

/// A number from −0.5 to 0.5, `−0.5 ≤ σ < 0.5`, in steps of 2^−24: the noise of element `index` in training step `step`.
///
/// SplitMix64 (Steele, Lea, Flood 2014) used as a counter: any element can be had by itself, in any order, on any thread.
#[inline(always)]
pub fn noise(seed: u64, step: u64, index: u64) -> f32 {
    of_key(key(seed, step), index)
}

/// The stream of one step.
#[inline(always)]
pub(super) fn key(seed: u64, step: u64) -> u64 {
    mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(step))
}

#[inline(always)]
pub(super) fn of_key(key: u64, index: u64) -> f32 {
    let bits = mix(key.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN)));
    #[expect(clippy::cast_precision_loss, reason = "24 bits")]
    let uniform = (bits >> 40) as f32;
    uniform * (1.0 / 16_777_216.0) - 0.5
}

/// 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
