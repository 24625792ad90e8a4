#!/usr/bin/env python3
"""Write target/models/big.pt, a scripted net of linear layers with 1.07 GB of float32 weights.

    python make_big_torch.py [--out target/models] [--layers 16]

The weights are seeded normal values: one block of 4096 x 4096, rolled by one row per layer.
"""

import argparse
import pathlib

import torch
from torch import nn

WIDTH = 4096


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--out", type=pathlib.Path, default=root / "target" / "models")
    parser.add_argument("--layers", type=int, default=16)
    args = parser.parse_args()

    torch.manual_seed(11)
    block = torch.randn(WIDTH, WIDTH) * WIDTH**-0.5
    layers = []
    for number in range(args.layers):
        linear = nn.utils.skip_init(nn.Linear, WIDTH, WIDTH)
        linear.weight.data.copy_(block.roll(number, 0))
        linear.bias.data.zero_()
        layers += [linear, nn.ReLU()]
    args.out.mkdir(parents=True, exist_ok=True)
    torch.jit.script(nn.Sequential(*layers).eval()).save(str(args.out / "big.pt"))


if __name__ == "__main__":
    main()
