#!/usr/bin/env python3
"""Write target/models/big_saved_model, a SavedModel of 6 GB, with TensorFlow: it needs about as much memory.

A chain of MatMul over variables of 64 MiB each, of seeded normal values: one block of 4 MiB, repeated.

    python make_big_saved_model.py [--out target/models] [--layers 96]
"""

import argparse
import os
import pathlib
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

WIDTH = 4096
ROWS = 256


class Chain(tf.Module):
    def __init__(self, layers):
        super().__init__()
        block = np.random.default_rng(1).normal(0.0, WIDTH**-0.5, (ROWS, WIDTH)).astype(np.float32)
        weight = np.tile(block, (WIDTH // ROWS, 1))
        self.weights = [tf.Variable(weight, name=f"layer{layer}") for layer in range(layers)]

    @tf.function(input_signature=[tf.TensorSpec([None, WIDTH], tf.float32, name="x")])
    def __call__(self, x):
        for weight in self.weights:
            x = tf.matmul(x, weight)
        return x


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "target" / "models")
    parser.add_argument("--layers", type=int, default=96)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    folder, partial = args.out / "big_saved_model", args.out / f"big_saved_model.{os.getpid()}"
    model = Chain(args.layers)
    tf.saved_model.save(model, str(partial), signatures=model.__call__)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(partial, folder)
    print(f"{folder}: {sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())} bytes")


if __name__ == "__main__":
    main()
