#!/usr/bin/env python3
"""Compare what `freeze` made of a trained archive with that archive, in PyTorch on the test images of the digits.

    python check_frozen.py TRAINED INFERENCE BAKED PACKED < weights.json

weights.json: { "quantizer": "qat", "dorefa" or "lsq", "weights": { parameter: { "bits": b, "per_channel": bool } } }, what the plan of `baked`
says. `inference` must give the outputs of the trained archive in eval(), bit for bit. `baked` must hold the reference values of the
trained weights, and `packed` must give the outputs of `baked`, bit for bit.
"""

import json
import pathlib
import sys

import numpy as np
import torch

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples"))
import train_archive  # noqa: E402


def symmetric(weight, bits, per_channel):
    """The symmetric narrow grid in float32: scale = max|w| / quant_max, codes to the nearest even."""
    most = np.float32(2 ** (bits - 1) - 1)
    axes = tuple(range(1, weight.ndim)) if per_channel else None
    scale = np.abs(weight).max(axis=axes, keepdims=True) / most
    return np.clip(np.rint(weight / scale), -most, most) * scale


def learned(weight, step, bits):
    """LSQ on the whole signed grid, by the steps that were trained."""
    step = step.reshape(-1, *[1] * (weight.ndim - 1)) if step.ndim else step
    return np.clip(np.rint(weight / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * step


def check_weight(name, quantizer, trained, step, baked, bits, per_channel):
    if quantizer == "lsq":
        assert (step.ndim == 1) == per_channel
        expected = learned(trained, step, bits)
        assert np.array_equal(baked, expected), f"{name}: {np.abs(baked - expected).max()} from the reference"
        return
    if quantizer == "qat":
        expected = symmetric(trained, bits, per_channel)
        assert np.array_equal(baked, expected), f"{name}: {np.abs(baked - expected).max()} from the reference"
        return
    # Zhou et al. 2016, equation 9. The tanh here is another one: it may be an ulp off, and a value within that of the middle between
    # two levels goes to the other one. That is allowed for one in 100,000; the largest tensor has 12,288 weights, so one at most.
    levels = np.float32(2**bits - 1)
    squashed = np.tanh(trained)
    unit = squashed / (2 * np.abs(squashed).max()) + np.float32(0.5)
    steps = np.abs((baked - (2 * np.rint(unit * levels) / levels - 1)) * levels / 2)
    # A value of another sum of roundings is a few ulp of 1 from it, times the levels: far less than a hundredth of a step.
    assert steps.max() <= 1.01 and (steps > 0.01).sum() <= 1, f"{name}: {steps.max()} steps, {(steps > 0.01).sum()} weights"


def main():
    said = json.load(sys.stdin)
    torch.set_num_threads(1)
    trained, inference, baked, packed = (torch.jit.load(path).eval() for path in sys.argv[1:])
    images, _ = train_archive.load("digits_test.npz")
    with torch.no_grad():
        outputs = {name: model(images) for name, model in zip(["trained", "inference", "baked", "packed"], [trained, inference, baked, packed])}
    assert outputs["trained"].shape == (len(images), 10) and torch.isfinite(outputs["trained"]).all()
    for left, right in [("inference", "trained"), ("packed", "baked")]:
        difference = (outputs[left] - outputs[right]).abs().max().item()
        assert torch.equal(outputs[left], outputs[right]), f"{left} differs from {right} by up to {difference}"
    weights = {name: value.detach().numpy() for name, value in trained.named_parameters()}
    steps = {name.removesuffix("_quantizer.step"): weights.pop(name) for name in list(weights) if name.endswith(".step")}
    baked_weights = {name: value.detach().numpy() for name, value in baked.named_parameters()}
    assert weights.keys() == baked_weights.keys(), (weights.keys(), baked_weights.keys())
    assert len(said["weights"]) == 7, said
    for name, value in weights.items():
        if name in said["weights"]:
            check_weight(name, said["quantizer"], value, steps.get(name), baked_weights[name], **said["weights"][name])
        else:
            assert np.array_equal(value, baked_weights[name]), f"{name} is not quantized and differs"


if __name__ == "__main__":
    main()
