"""FakeQuantWithMinMax* of TensorFlow on the cases of the comparison."""

import numpy as np
import tensorflow as tf
from inputs import CHANNELS, F32, MAX, channel_factors, gradients, integers, kernel_inputs, spread_over

COUNT = 252  # a multiple of CHANNELS
RANGES = [
    (-1.0, 1.0),
    (-0.1, 0.3),
    (-10.5, 2.25),
    (-3e-3, 7e-3),
    # one-sided, and without 0 in it
    (0.0, 6.0),
    (-5.0, 0.0),
    (0.5, 1.0),
    (-1.0, -0.25),
    # tiny: steps of every size down to those that are flushed to zero; subnormal ends
    (-1e-30, 1e-30),
    (0.0, 2e-34),
    (-1e-37, 1e-37),
    (-1e-40, 1e-40),
    # huge: up to the width that overflows
    (-1e38, 1e38),
    (0.0, 3.4e38),
    (-3e38, 3e38),
    # nothing, and a single point
    (0.0, 0.0),
    (1.0, 1.0),
]


def versions():
    return f"tensorflow {tf.__version__} numpy {np.__version__}"


def cases():
    """Parameters of every case: kernel, bits, narrow, low, high, seed."""
    seed = 0
    for bits in range(2, 17):
        for narrow in (0, 1):
            steps = 2**bits - 1 - narrow
            h = integers(1000 + 2 * bits + narrow, 6)
            ranges = list(RANGES)
            # Any exponent from 2^-30 to 2^20 at either end.
            for a, b in ((0, 1), (2, 3)):
                ends = [int((h[i] & np.uint64(0x7FFFFF)) | ((97 + h[i + 2] % np.uint64(51)) << np.uint64(23))) for i in (a, b)]
                low, high = np.array(ends, np.uint32).view(F32)
                ranges.append((-low, high))
            # A zero point that lies halfway between two codes.
            half = (int(h[4] % np.uint64(steps)) + 0.5) / 16
            ranges.append((-half, steps / 16 - half))
            for low, high in ranges:
                for kernel in ("vars", "args", "channel"):
                    seed += 1
                    yield {"kernel": kernel, "bits": bits, "narrow": narrow, "low": F32(low), "high": F32(high), "seed": seed}


def inputs(case):
    """x, g, and low and high of each channel (of the tensor: one)."""
    factors = channel_factors() if case["kernel"] == "channel" else np.ones(1, F32)
    with np.errstate(all="ignore"):
        low = np.clip(case["low"] * factors, -MAX, MAX)
        high = np.clip(case["high"] * factors, -MAX, MAX)
        levels = 2 ** case["bits"] - 1 - case["narrow"]
        step = (high - low) / F32(levels)
    of = lambda values: spread_over(values, COUNT)
    limit = np.full(COUNT, np.inf, F32)
    x = kernel_inputs(case["seed"], COUNT, of(low), of(high), of(step), levels, limit)
    return x, gradients(case["seed"], COUNT), low, high


def outputs(case):
    """x; and y, dx and the gradients of both ends, or None where TensorFlow has no grid.

    That is where it refuses the range, or where all of a channel is NaN or, because the step was flushed to 0, NaN and 0.
    """
    x, g, low, high = inputs(case)
    levels = 2 ** case["bits"] - 1 - case["narrow"]
    more = {"num_bits": case["bits"], "narrow_range": bool(case["narrow"])}
    q = tf.quantization
    if case["kernel"] == "args":
        more |= {"min": float(low[0]), "max": float(high[0])}
        try:
            y = q.fake_quant_with_min_max_args(x, **more).numpy()
            dx = q.fake_quant_with_min_max_args_gradient(g, x, **more).numpy()
        except tf.errors.InvalidArgumentError:
            return x, None
        sums = []
    elif case["kernel"] == "vars":
        y = q.fake_quant_with_min_max_vars(x, low[0], high[0], **more).numpy()
        dx, *sums = (t.numpy() for t in q.fake_quant_with_min_max_vars_gradient(g, x, low[0], high[0], **more))
    else:
        rows, gradient_rows = x.reshape(-1, CHANNELS), g.reshape(-1, CHANNELS)
        y = q.fake_quant_with_min_max_vars_per_channel(rows, low, high, **more).numpy()
        answer = q.fake_quant_with_min_max_vars_per_channel_gradient(gradient_rows, rows, low, high, **more)
        dx, *sums = (t.numpy() for t in answer)
    columns = y.reshape(-1, len(low))
    tiny = np.finfo(F32).tiny
    with np.errstate(all="ignore"):
        flushed = ((high - low) / F32(levels) < tiny) & (np.maximum(-low, high) >= tiny)
    # NaN everywhere; or, with a step of 0, nothing but zeros and NaN.
    nothing = np.isnan(columns).all(axis=0) | (flushed & (np.isnan(columns) | (columns == 0)).all(axis=0))
    if nothing.any():
        return x, None
    return x, [y.reshape(-1), dx.reshape(-1), *(np.atleast_1d(s) for s in sums)]
