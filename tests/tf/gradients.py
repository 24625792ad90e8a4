#!/usr/bin/env python3
"""DoReFa's gradients in TensorFlow: `make FOLDER` writes a graph with its gradients, `check FOLDER GRAPH BITS` runs what was made of it and
compares it with the formula in NumPy. Prints JSON. Every kernel runs by itself: no rewrite of the graph before execution."""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tf_oracle import load, session_config

v1 = tf.compat.v1
BATCH, CLASSES = 6, 5
OPS = ["conv_op", "side_op", "dw_op", "dense_op"]


def make(folder):
    rng = np.random.default_rng(3)
    weight = lambda name, *shape: tf.constant(rng.normal(0, 0.4, shape).astype(np.float32), name=name)
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [BATCH, 6, 6, 2], name="x")
        labels = v1.placeholder(tf.int32, [BATCH], name="labels")
        # One loss for each sample, so that a sample can have none.
        counts = v1.placeholder(tf.float32, [BATCH], name="counts")
        w = {"conv_op": weight("conv", 3, 3, 2, 4), "side_op": weight("side", 1, 1, 2, 4)}
        w |= {"dw_op": weight("dw", 3, 3, 4, 2), "dense_op": weight("dense", 288, CLASSES)}
        # Two layers read one input and get one gradient.
        t = tf.nn.conv2d(x, w["conv_op"], 1, "SAME", name="conv_op") + tf.nn.conv2d(x, w["side_op"], 1, "SAME", name="side_op")
        t = tf.nn.relu6(t, name="relu1")
        t = tf.nn.relu6(tf.nn.depthwise_conv2d(t, w["dw_op"], [1, 1, 1, 1], "SAME", name="dw_op"), name="relu2")
        t = tf.matmul(tf.reshape(t, [BATCH, 288], name="flat"), w["dense_op"], name="dense_op")
        loss = tf.reduce_sum(counts * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, t))
        for name, gradient in zip(w, v1.gradients(loss, list(w.values()))):
            tf.identity(gradient, name="d_" + name)
    (folder / "gradients.pb").write_bytes(graph.as_graph_def().SerializeToString())


def formula(dr, noise, bits):
    """Equation 12 of Zhou et al. 2016, every step in float32."""
    one, half, n = np.float32(1), np.float32(0.5), np.float32(2**bits - 1)
    m = np.abs(dr).max(axis=tuple(range(1, dr.ndim)), keepdims=True)
    double = np.where(m == 0, one, m) * np.float32(2)
    unit = np.clip(dr / double + half + noise, np.float32(0), one)
    g = double * (np.rint(unit * n) / n - half)
    return np.where(m == 0, np.float32(0), g), m


def weight_gradient(node, x, shape, g):
    """What the weight's gradient is for the gradient `g` of the output."""
    if node.op == "MatMul":
        return tf.raw_ops.MatMul(a=x, b=g, transpose_a=True)
    op = getattr(tf.raw_ops, node.op)
    return op(input=x, filter_sizes=shape, out_backprop=g, strides=[1, 1, 1, 1], padding="SAME")


def check(folder, name, bits):
    graph_def = load(folder / name)
    definition = {node.name: node for node in graph_def.node}
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    readers = lambda tensor: [node for node in definition.values() if tensor in node.input]
    rng = np.random.default_rng(5)
    feed = {
        "x:0": rng.normal(0, 1.5, (BATCH, 6, 6, 2)).astype(np.float32),
        "labels:0": rng.integers(0, CLASSES, BATCH).astype(np.int32),
        "counts:0": np.float32([1, 0, 2, 1, 1e-3, 1]),
    }
    weights = {"conv_op": "conv", "side_op": "side", "dw_op": "dw", "dense_op": "dense"}
    fetches, kernels = {}, {}
    for op in OPS:
        site = op + "/gradient_quant"
        source = definition[site + "/absolute"].input[0]
        (kernels[op],) = [n for n in readers(site) if n.op.endswith("BackpropFilter") or n.op == "MatMul" and n.attr["transpose_a"].b]
        tensor = source if ":" in source else source + ":0"
        fetches[op] = [tensor, site + "/noise:0", site + ":0", f"d_{op}:0", kernels[op].input[0] + ":0", weights[op] + ":0"]
    runs = []
    for _ in range(2):
        with v1.Session(graph=graph, config=session_config(False)) as session:
            session.run("quantization/init")
            runs.append([session.run(fetches, feed), session.run(fetches, feed)])
            step = session.run("quantization/step/read:0")
    found = {"step": int(step), "sites": {}}
    first, again = runs[0][0], runs[1][0]
    for op in OPS:
        dr, noise, g, dw, x, w = first[op]
        expected, m = formula(dr, noise, bits)
        n = 2**bits - 1
        shape = np.array(w.shape, np.int32)
        with tf.Graph().as_default(), v1.Session(config=session_config(False)) as session:
            expected_dw, float_dw = session.run([weight_gradient(kernels[op], x, shape, v) for v in (g, dr)])
        found["sites"][op] = {
            "elements": int(dr.size),
            "wrong": int((g != expected).sum()),
            "zero_samples": int((m == 0).sum()),
            "zero_stays": bool(np.all(g[1] == 0)),
            "most_values": max(len(np.unique(sample)) for sample in g),
            "changed": int((g != dr).sum()),
            "beyond": int((np.abs(noise) > np.float32(0.5) / np.float32(n)).sum()),
            "different_noise": len(np.unique(noise)),
            "same_again": all(np.array_equal(a, b) for a, b in zip(first[op], again[op])),
            "next_differs": not np.array_equal(noise, runs[0][1][op][1]),
            "weight_gradient": bool(np.array_equal(dw, expected_dw)),
            "differs_from_float": not np.array_equal(dw, float_dw),
            "readers": sorted(node.op for node in readers(op + "/gradient_quant")),
            "noise": float(noise.flat[0]),
        }
    return found


if __name__ == "__main__":
    v1.disable_eager_execution()
    folder = pathlib.Path(sys.argv[2])
    result = make(folder) if sys.argv[1] == "make" else check(folder, sys.argv[3], int(sys.argv[4]))
    print(json.dumps(result))
