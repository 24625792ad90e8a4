"""Inputs of the kernel comparison, from integers alone, so that Rust makes the same ones (tests/kernels/inputs.rs).

Every float operation here is a single float32 operation of IEEE 754: numpy arrays of float32, one step per line.
"""

import numpy as np

F32 = np.float32
MAX = np.finfo(F32).max
CHANNELS = 7


def integers(seed, n):
    """SplitMix64 (Steele, Lea, Flood 2014) of a counter: n unsigned 64-bit integers."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def bits(x):
    """The bit patterns of floats, every NaN as one."""
    x = np.ascontiguousarray(x, F32)
    return np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(np.uint32))


def floats(pattern):
    return pattern.astype(np.uint32).view(F32)


def near(x, h):
    """x, or one of its two neighbours on either side; zeros, the smallest and the largest numbers stay."""
    pattern = x.view(np.uint32)
    size = pattern & np.uint32(0x7FFFFFFF)
    moved = pattern.astype(np.int64) + (h % np.uint64(5)).astype(np.int64) - 2
    movable = (size >= 4) & (size < 0x7F7FFFF0)
    return floats(np.where(movable, moved, pattern.astype(np.int64)))


def kernel_inputs(seed, n, low, high, step, levels, limit):
    """n inputs for a grid from low to high: random, ties, grid points, ends and their neighbours, any bit pattern.

    low, high, step and limit are arrays of n float32; levels is the number of steps between low and high. What passes limit
    is moved to it.
    """
    h = integers(seed, n)
    with np.errstate(all="ignore"):
        unit = (h >> np.uint64(40)).astype(F32) * F32(2.0**-24)
        start = np.clip(low * F32(1.25), -MAX, MAX)
        width = np.clip((np.clip(high - low, -MAX, MAX)) * F32(1.5), -MAX, MAX)
        spread = start + unit * width
        k = ((h >> np.uint64(8)) % np.uint64(2 * levels + 5)).astype(np.int64) - (levels + 2)
        k = k.astype(F32)
        tie = (k + F32(0.5)) * step
        point = k * step
        ends = [low, high, np.rint(low / step) * step, np.rint(high / step) * step]
        end = np.choose(((h >> np.uint64(16)) % np.uint64(4)).astype(np.int64), ends)
        special = floats(np.array([0x7F800000, 0xFF800000, 0x7FC00000, 0, 0x80000000], np.uint32))
        pattern = floats(h >> np.uint64(32))
        which = ((h >> np.uint64(24)) % np.uint64(64)).astype(np.int64)
        any_bits = np.where(which < 5, special[np.minimum(which, 4)], pattern)
        kinds = [spread, spread, spread, tie, near(tie, h), near(end, h), point, any_bits]
        x = np.choose(np.arange(n) % 8, kinds).astype(F32)
        x = np.clip(x, -limit, limit)
        return np.where(np.isnan(x), floats(np.array([0x7FC00000], np.uint32)), x)


def gradients(seed, n):
    """n gradients whose sums are exact in float32, in whatever order they are added."""
    h = integers(seed ^ 0x5DEECE66D, n)
    return ((h % np.uint64(129)).astype(np.int64) - 64).astype(F32) * F32(0.125)


def channel_factors():
    """A factor for each channel's range: 0.25 to 1.75."""
    return (np.arange(CHANNELS, dtype=F32) + F32(1)) * F32(0.25)


def spread_over(values, n):
    """Per-channel values for n elements whose last axis is the channel."""
    return np.resize(np.asarray(values, F32), n)
