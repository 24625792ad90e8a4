#!/usr/bin/env python3
"""Write target/models/many_nodes.pb: 50,000 nodes, of which 10,000 are MatMul with a weight, about 256 MB.

    python make_many_nodes.py [--out target/models] [--layers 10000]
"""

import argparse
import os
import pathlib

import wire

WIDTH = 80
NODES_PER_LAYER = 5


def write(path, layers):
    weights = wire.normal(WIDTH * WIDTH, WIDTH**-0.5, seed=2)
    bias = wire.normal(WIDTH, 0.1, seed=3)
    with open(path, "wb") as file:
        # The placeholder takes the place of the last Relu6, so that the count is round.
        file.write(wire.placeholder("x", (-1, WIDTH)))
        previous = "x"
        for layer in range(layers):
            name = f"block_{layer // 100}/layer_{layer % 100}"
            file.write(wire.const(f"{name}/weights", (WIDTH, WIDTH), weights))
            file.write(wire.const(f"{name}/bias", (WIDTH,), bias))
            file.write(wire.matmul(f"{name}/matmul", previous, f"{name}/weights"))
            file.write(wire.node(f"{name}/add_bias", "BiasAdd", (f"{name}/matmul", f"{name}/bias"), wire.dtype_attr("T")))
            previous = f"{name}/add_bias"
            if layer + 1 < layers:
                file.write(wire.node(f"{name}/relu6", "Relu6", (previous,), wire.dtype_attr("T")))
                previous = f"{name}/relu6"
        file.write(wire.versions())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=wire.models_folder())
    parser.add_argument("--layers", type=int, default=10_000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "many_nodes.pb"
    partial = args.out / "many_nodes.pb.partial"
    write(partial, args.layers)
    os.replace(partial, path)
    print(f"{path}: {args.layers * NODES_PER_LAYER} nodes, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
