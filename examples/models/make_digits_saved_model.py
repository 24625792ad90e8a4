#!/usr/bin/env python3
"""The example model as a SavedModel: the folder digits, from digits.pb.

    python make_digits_saved_model.py [--graph digits.pb] [--out digits]

What stands in digits.pb as constants are variables here, and the net is two functions, as Python writes them: `body`, from an image to 32
features, and `head`. Both signatures call `body`: `serving_default` (`image` to `logits`) and `features` (`image` to `features`), so that the
graph of a model with both has its layers twice.
"""

import argparse
import os
import pathlib
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf

from make_digits import LAYERS, body

IMAGE = tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")


class Digits(tf.Module):
    def __init__(self, constants):
        super().__init__()
        self.weights = {name: tf.Variable(value, name=name) for name, value in constants.items()}

    @tf.function
    def body(self, image):
        return body(image, lambda name: self.weights[f"{name}_kernel"], lambda name: self.weights[f"{name}_bias"])

    @tf.function(input_signature=[IMAGE])
    def logits(self, image):
        x = tf.raw_ops.MatMul(a=self.body(image), b=self.weights["dense2_kernel"], name="dense2")
        return {"logits": tf.raw_ops.BiasAdd(value=x, bias=self.weights["dense2_bias"], name="logits")}

    @tf.function(input_signature=[IMAGE])
    def features(self, image):
        return {"features": self.body(image)}


def constants(path):
    """{name: array}: the weights and biases of the graph, each by the name of its layer."""
    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    found = {node.name: tf.make_ndarray(node.attr["value"].tensor) for node in graph.node if node.op == "Const"}
    names = [name for name, *_ in LAYERS] + ["dense1", "dense2"]
    read = {}
    for node in graph.node:
        layer = node.name.split("/")[0] if node.name != "logits" else "dense2"
        if node.op in ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BiasAdd") and layer in names:
            part = "bias" if node.op == "BiasAdd" else "kernel"
            source = node.input[1]
            nodes = {other.name: other for other in graph.node}
            while nodes[source].op == "Identity":
                source = nodes[source].input[0]
            read[f"{layer}_{part}"] = found[source].astype(np.float32)
    return read


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--graph", type=pathlib.Path, default=here / "digits.pb")
    parser.add_argument("--out", type=pathlib.Path, default=here / "digits")
    args = parser.parse_args()

    module = Digits(constants(args.graph))
    shutil.rmtree(args.out, ignore_errors=True)
    options = tf.saved_model.SaveOptions(experimental_debug_stripper=True)
    signatures = {"serving_default": module.logits, "features": module.features}
    tf.saved_model.save(module, str(args.out), signatures=signatures, options=options)


if __name__ == "__main__":
    main()
