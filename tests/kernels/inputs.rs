//! The inputs of the comparison: the same numbers as `tests/golden/inputs.py` makes, operation for operation.

/// Channels of the per-channel kernels; the last axis.
pub(crate) const CHANNELS: usize = 7;

/// SplitMix64 (Steele, Lea, Flood 2014) of a counter.
pub(crate) fn integers(seed: u64, n: usize) -> Vec<u64> {
    let mut counter = seed;
    let mut next = || {
        counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..n).map(|_| next()).collect()
}

/// The bit pattern, every NaN as one.
pub(crate) fn bits(x: f32) -> u32 {
    if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }
}

/// `x`, or one of its two neighbours on either side; zeros, the smallest and the largest numbers stay.
pub(crate) fn near(x: f32, h: u64) -> f32 {
    let size = x.to_bits() & 0x7fff_ffff;
    if (4..0x7f7f_fff0).contains(&size) { f32::from_bits(x.to_bits() + (h % 5) as u32 - 2) } else { x }
}

/// 24 bits as a number from 0 to 1.
pub(crate) fn unit(h: u64) -> f32 {
    (h >> 40) as f32 * 0.5_f32.powi(24)
}

fn finite(x: f32) -> f32 {
    x.clamp(-f32::MAX, f32::MAX)
}

/// One element's grid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) step: f32,
    /// What passes it is moved to it.
    pub(crate) limit: f32,
}

/// Inputs for grids of `levels` steps: random, ties, grid points, ends and their neighbours, any bit pattern.
pub(crate) fn kernel_inputs(seed: u64, n: usize, levels: u64, grid: impl Fn(usize) -> Grid) -> Vec<f32> {
    let input = |(i, h): (usize, u64)| {
        let Grid { low, high, step, limit } = grid(i);
        let start = finite(low * 1.25);
        let width = finite(finite(high - low) * 1.5);
        let k = ((h >> 8) % (2 * levels + 5)) as i64 - (levels as i64 + 2);
        let k = k as f32;
        let tie = (k + 0.5) * step;
        let ends = [low, high, (low / step).round_ties_even() * step, (high / step).round_ties_even() * step];
        let special = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0];
        let x = match i % 8 {
            0..=2 => start + unit(h) * width,
            3 => tie,
            4 => near(tie, h),
            5 => near(ends[(h >> 16) as usize % 4], h),
            6 => k * step,
            _ => special.get((h >> 24) as usize % 64).copied().unwrap_or(f32::from_bits((h >> 32) as u32)),
        };
        f32::from_bits(bits(x.clamp(-limit, limit)))
    };
    integers(seed, n).into_iter().enumerate().map(input).collect()
}

/// Gradients whose sums are exact in float32, in whatever order they are added.
pub(crate) fn gradients(seed: u64, n: usize) -> Vec<f32> {
    integers(seed ^ 0x5_deec_e66d, n).into_iter().map(|h| ((h % 129) as i64 - 64) as f32 * 0.125).collect()
}

/// A factor for each channel's range: 0.25 to 1.75.
pub(crate) fn channel_factors() -> Vec<f32> {
    (1..=CHANNELS).map(|channel| channel as f32 * 0.25).collect()
}
