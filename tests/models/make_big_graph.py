#!/usr/bin/env python3
"""Write target/models/big.pb, a valid graph of 1.9 GB, and target/models/over_2gib.pb, which passes protobuf's limit of 2 GiB.

A chain of MatMul nodes over Const weights of 16 MiB each. The weights of big.pb are seeded normal values: one block of 4 MiB, repeated.
over_2gib.pb is a sparse file: its weights are zeros that no disk holds.

    python make_big_graph.py [--out target/models] [--bytes 1900000000]
"""

import argparse
import os
import pathlib

import wire

WIDTH = 2048
WEIGHT_BYTES = WIDTH * WIDTH * 4


def write_big(path, size):
    """As many layers as stay within `size` bytes."""
    quarter = wire.normal(WIDTH * WIDTH // 4, WIDTH**-0.5, seed=1)
    with open(path, "wb") as file:
        file.write(wire.placeholder("x", (-1, WIDTH)))
        previous, layer = "x", 0
        while file.tell() + WEIGHT_BYTES + 4096 <= size:
            name = f"layer{layer}"
            file.write(wire.const_head(f"{name}/weights", (WIDTH, WIDTH)))
            for _ in range(4):
                file.write(quarter)
            file.write(wire.matmul(name, previous, f"{name}/weights"))
            previous, layer = name, layer + 1
        file.write(wire.versions())
    return layer


def write_sparse(path, size):
    """At least `size` bytes, with holes for weights."""
    with open(path, "wb") as file:
        file.write(wire.placeholder("x", (-1, WIDTH)))
        previous, layer = "x", 0
        while file.tell() < size:
            name = f"layer{layer}"
            file.write(wire.const_head(f"{name}/weights", (WIDTH, WIDTH)))
            file.seek(WEIGHT_BYTES, os.SEEK_CUR)
            file.write(wire.matmul(name, previous, f"{name}/weights"))
            previous, layer = name, layer + 1
        file.write(wire.versions())
    return layer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=wire.models_folder())
    parser.add_argument("--bytes", type=int, default=1_900_000_000, help="largest size of big.pb")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, write, size in (("big.pb", write_big, args.bytes), ("over_2gib.pb", write_sparse, 2**31 + 1)):
        partial = args.out / f"{name}.partial"
        layers = write(partial, size)
        os.replace(partial, args.out / name)
        print(f"{args.out / name}: {layers} layers, {(args.out / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
