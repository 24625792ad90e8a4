"""fake_quantize_per_tensor_affine, fake_quantize_per_channel_affine and the min-max observers of PyTorch; LSQ in eager PyTorch."""

import numpy as np
import torch
from inputs import CHANNELS, F32, MAX, channel_factors, gradients, integers, kernel_inputs, near, spread_over
from torch.ao.quantization import observer

COUNT = 329  # a multiple of CHANNELS
SCALES = [2.0**-7, 0.1, 1 / 3, 0.0123, 1.1920929e-07, 1e-30, 1.2e-38, 1e30]
ROWS, WIDTH = 1500, 5
BATCHES = 4


def versions():
    return f"torch {torch.__version__} numpy {np.__version__}"


def cases():
    """Parameters of every case. Kernels: bits, the grid, scale, zero point. Observers: the codes and the scheme."""
    seed = 0
    for bits in range(2, 17):
        half = 2 ** (bits - 1)
        for low, high in ((0, 2**bits - 1), (-half, half - 1), (-half + 1, half - 1)):
            for i, scale in enumerate(SCALES):
                # Zero points at both ends, in the middle, anywhere.
                anywhere = low + int(integers(bits, 8)[i] % np.uint64(high - low + 1))
                zero_point = (low, high, (low + high + 1) // 2, anywhere)[i % 4]
                for kernel in ("tensor", "channel"):
                    seed += 1
                    yield {"kernel": kernel, "low": low, "high": high, "scale": F32(scale), "zero": zero_point, "seed": seed}
    for kernel in ("minmax", "average"):
        for code in ("quint8", "qint8"):
            for scheme in ("affine", "symmetric"):
                whole = (0, 255) if code == "quint8" else (-128, 127)
                limits = [whole] + [(0, 2**b - 1) if code == "quint8" else (1 - 2 ** (b - 1), 2 ** (b - 1) - 1) for b in range(2, 9)]
                for i, (low, high) in enumerate(limits):
                    seed += 1
                    yield {"kernel": kernel, "code": code, "scheme": scheme, "limited": int(i > 0), "low": low, "high": high, "seed": seed}
    for bits in range(2, 9):
        half = 2 ** (bits - 1)
        for low, high in ((0, 2**bits - 1), (-half, half - 1)):
            for scale in 3 * SCALES:
                seed += 1
                yield {"kernel": "lsq", "low": low, "high": high, "scale": F32(scale), "zero": 0, "seed": seed}

def kernel_case(case):
    """x, g, and the scale of each channel (of the tensor: one)."""
    factors = channel_factors() if case["kernel"] == "channel" else np.ones(1, F32)
    step = spread_over(case["scale"] * factors, COUNT)
    levels = case["high"] - case["low"]
    with np.errstate(all="ignore"):
        low = np.clip(F32(case["low"] - case["zero"]) * step, -MAX, MAX)
        high = np.clip(F32(case["high"] - case["zero"]) * step, -MAX, MAX)
        # From 2^63 steps on, 1.13 overflows an integer.
        limit = np.clip(step * F32(2.0**60), 0, MAX)
    return kernel_inputs(case["seed"], COUNT, low, high, step, levels, limit), gradients(case["seed"], COUNT), case["scale"] * factors


def kernel_outputs(case):
    x, g, scale = kernel_case(case)
    tensor = torch.from_numpy(x.reshape(-1, len(scale)).copy()).requires_grad_()
    low, high, zero = case["low"], case["high"], case["zero"]
    if case["kernel"] == "tensor":
        y = torch.fake_quantize_per_tensor_affine(tensor, float(scale[0]), zero, low, high)
    else:
        zeros = torch.full((len(scale),), zero, dtype=torch.int32)
        y = torch.fake_quantize_per_channel_affine(tensor, torch.from_numpy(scale), zeros, 1, low, high)
    y.backward(torch.from_numpy(g.reshape(-1, len(scale)).copy()))
    return x, [y.detach().numpy().reshape(-1), tensor.grad.numpy().reshape(-1)]


class Lsq(torch.autograd.Function):
    """Equations 1 to 3 and 5 of Esser et al. 2020, with a step for each element, so that nothing is summed."""

    @staticmethod
    def forward(ctx, v, s, low, high):
        ctx.save_for_backward(v, s)
        ctx.ends = low, high
        return torch.round(torch.clamp(v / s, low, high)) * s

    @staticmethod
    def backward(ctx, g):
        (v, s), (low, high) = ctx.saved_tensors, ctx.ends
        ratio = v / s
        rounded = torch.round(torch.clamp(ratio, low, high))
        inside = (ratio >= low) & (ratio <= high)
        return torch.where(inside, g, torch.zeros_like(g)), g * torch.where(inside, rounded - ratio, rounded), None, None


def straight_through(v, s, low, high):
    """The same by autograd: every op but the rounding is differentiated as it is."""
    clipped = torch.clamp(v / s, low, high)
    return (clipped + (torch.round(clipped) - clipped).detach()) * s


def lsq_outputs(case):
    x, g, scale = kernel_case(case)
    # A NaN has no code.
    x = np.where(np.isnan(x), F32(0), x)
    answers = []
    for forward in (Lsq.apply, straight_through):
        v = torch.from_numpy(x.copy()).requires_grad_()
        s = torch.full_like(v, float(scale[0])).requires_grad_()
        y = forward(v, s, case["low"], case["high"])
        y.backward(torch.from_numpy(g.copy()))
        answers.append([part.detach().numpy() for part in (y, v.grad, s.grad)])
    (y, dx, ds), (y2, _, ds2) = answers
    assert np.array_equal(y, y2), case
    # Autograd multiplies and divides by s once more: six roundings of numbers of at most the highest code in size. Where s is so large or
    # so small that those leave the normal numbers, nothing is compared.
    if 1e-20 < scale[0] < 1e20:
        assert np.all(np.abs(ds - ds2) <= 6 * 2.0**-24 * np.abs(g) * max(-case["low"], case["high"])), case
    # -0 is a matter of how the codes are held.
    return x, [y + F32(0), dx + F32(0), ds + F32(0)]


def batches(case):
    """BATCHES arrays of ROWS channels; the size of a channel's numbers runs over float32, its sign pattern too."""
    for batch in range(BATCHES):
        h = integers(case["seed"] * 64 + batch, ROWS * WIDTH).reshape(ROWS, WIDTH)
        unit = (h >> np.uint64(40)).astype(F32) * F32(2.0**-24)
        row = integers(case["seed"] * 64 + 63, ROWS).reshape(ROWS, 1)
        # 2^-140 to 2^125: subnormal numbers and almost the largest.
        size = np.ldexp(F32(1), ((row % np.uint64(266)).astype(np.int64) - 140).astype(np.int32))
        shift = ((row >> np.uint64(20)) % np.uint64(3)).astype(F32) * F32(0.5)
        yield near(((unit - shift) * size).astype(F32), h)


def observer_outputs(case):
    """All data; the range of each channel, and its scale and zero point."""
    more = {"dtype": getattr(torch, case["code"])}
    if case["limited"]:
        more |= {"quant_min": case["low"], "quant_max": case["high"]}
    channels = observer.PerChannelMinMaxObserver
    tensors = observer.MinMaxObserver
    if case["kernel"] == "average":
        channels, tensors = observer.MovingAveragePerChannelMinMaxObserver, observer.MovingAverageMinMaxObserver
    per_channel = channels(ch_axis=0, qscheme=getattr(torch, f"per_channel_{case['scheme']}"), **more)
    # Some channels once more, each as a tensor of its own.
    per_tensor = [tensors(qscheme=getattr(torch, f"per_tensor_{case['scheme']}"), **more) for _ in range(0, ROWS, 25)]
    data = list(batches(case))
    for batch in data:
        per_channel(torch.from_numpy(batch))
        for i, one in enumerate(per_tensor):
            one(torch.from_numpy(batch[25 * i]))
    scale, zero_point = per_channel.calculate_qparams()
    answer = [per_channel.min_val.numpy(), per_channel.max_val.numpy(), scale.numpy(), zero_point.numpy().astype(F32)]
    for one in per_tensor:
        scale, zero_point = one.calculate_qparams()
        answer.append(np.array([float(v) for v in (one.min_val, one.max_val, scale, zero_point)], F32))
    # Which of two zeros is the smaller one is not defined: both count as +0.
    return np.concatenate(data, axis=None), [np.concatenate(answer, axis=None) + F32(0)]


def outputs(case):
    kernel = case["kernel"]
    if kernel == "lsq":
        return lsq_outputs(case)
    return kernel_outputs(case) if kernel in ("tensor", "channel") else observer_outputs(case)
