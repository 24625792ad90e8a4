"""Run the kernels of a framework on the cases of the comparison.

    record.py tensorflow > tensorflow.txt      what tests/kernels reads: digests, and the first values of y
    record.py torch > torch.txt
    record.py tensorflow --raw                 every value, as little-endian float32, after a line for each case

A digest is the first 8 bytes of SHA-256 over the values as little-endian float32, every NaN as 7fc00000.
"""

import hashlib
import importlib
import sys

import numpy as np
from inputs import F32, bits


def text(case):
    """`name=value …`; a float as its bits in hex."""
    show = lambda v: f"{v.view(np.uint32):08x}" if isinstance(v, F32) else str(v)
    return " ".join(f"{key}={show(value)}" for key, value in case.items())


def digest(values):
    return hashlib.sha256(bits(values).astype("<u4").tobytes()).hexdigest()[:16]


def main():
    framework, *flags = sys.argv[1:]
    kernels = importlib.import_module(f"{framework}_kernels")
    raw = sys.stdout.buffer
    if flags != ["--raw"]:
        print(f"# {kernels.versions()}")
    for case in kernels.cases():
        x, answer = kernels.outputs(case)
        if flags == ["--raw"]:
            values = np.concatenate(answer) if answer else np.zeros(0, F32)
            raw.write(f"{text(case)} in={digest(x)} count={len(values)}\n".encode())
            raw.write(bits(values).astype("<u4").tobytes())
        elif answer is None:
            print(f"{text(case)} in={digest(x)} no-grid")
        else:
            first = "".join(f"{b:08x}" for b in bits(answer[0])[:3])
            y, *rest = answer
            gradient = f" gradient={digest(np.concatenate(rest))}" if rest else ""
            print(f"{text(case)} in={digest(x)} out={digest(y)}{gradient} first={first}")


main()
