#!/usr/bin/env python3
"""Says how far a file of moments is from what NumPy makes of the tensors that TensorFlow's layers read.

    moments.py MODEL.pb DATA.npz FILE.safetensors     prints {op: {"rows": n, "mean": d, "second": d}}

`d` is the largest difference over the largest number. Windows are cut out by `tf.image.extract_patches`, sums are float64. The file is read by its
format alone: the length of the head as 8 bytes, a head in JSON, numbers.
"""

import json
import pathlib
import struct
import sys

import numpy as np


def read(path):
    content = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + length])
    about = json.loads(head.pop("__metadata__")["quantization-toolkit"])
    body = content[8 + length :]
    tensors = {}
    for name, tensor in head.items():
        start, end = tensor["data_offsets"]
        tensors[name] = np.frombuffer(body[start:end], "<f4").reshape(tensor["shape"])
    return about, tensors


def rows(tf, node, value, weight):
    """[rows, groups, inputs] of what a layer reads."""
    if node.op == "MatMul":
        assert not node.attr["transpose_a"].b
        return value[:, None, :]
    high, wide, channels, _ = weight.shape
    patches = tf.image.extract_patches(
        value,
        [1, high, wide, 1],
        list(node.attr["strides"].list.i),
        list(node.attr["dilations"].list.i) or [1, 1, 1, 1],
        node.attr["padding"].s.decode(),
    ).numpy()
    patches = patches.reshape(-1, high * wide, channels)
    if node.op == "DepthwiseConv2dNative":
        return patches.transpose(0, 2, 1)
    return patches.reshape(len(patches), 1, -1)


def main(model, data, path):
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
    from tf_oracle import load
    import tensorflow as tf

    graph, data = load(model), dict(np.load(data))
    about, tensors = read(path)
    nodes = {node.name: node for node in graph.node}
    ops = list(about["layers"])
    with tf.Graph().as_default() as scope:
        tf.import_graph_def(graph, name="")
        inputs = [node.name for node in graph.node if node.op == "Placeholder"]
        wanted = [[tf.identity(scope.get_operation_by_name(op).inputs[side]) for side in (0, 1)] for op in ops]
        with tf.compat.v1.Session(graph=scope) as session:
            values = session.run(wanted, {f"{name}:0": data[name] for name in inputs})
    answer = {}
    for op, (value, weight) in zip(ops, values):
        x = rows(tf, nodes[op], value, weight).astype(np.float64)
        mean, second = x.mean(0), np.einsum("rgi,rgj->gij", x, x) / len(x)
        lower = second[:, *np.tril_indices(second.shape[1])]
        off = lambda found, expected: float(np.abs(found - expected).max() / np.abs(expected).max())
        answer[op] = {
            "rows": about["layers"][op]["rows"] - len(x),
            "mean": off(tensors[f"{op}/mean"], mean),
            "second": off(tensors[f"{op}/second"], lower),
        }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
