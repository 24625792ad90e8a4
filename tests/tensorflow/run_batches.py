#!/usr/bin/env python3
"""Runs a graph in TensorFlow batch by batch and lets NumPy say what came out.

    run_batches.py fetch MODEL.pb DATA.npz BATCH OUT.npz TENSOR...     every tensor, all samples, into OUT.npz; prints
                                                                       {tensor: {"minmax": [a, b], "ema": [a, b]}}
    run_batches.py compare REFERENCE.npz VALUES.npz OUTPUT DATA.npz LABELS K    prints error, agreement and accuracy
    run_batches.py repeat DATA.npz SAMPLES OUT.npz                     an .npz with so many samples
    run_batches.py peak COMMAND...                                     runs it; prints the most memory it held, in KiB
    run_batches.py server                                              a server of TensorFlow until standard input ends; prints its port
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np

# The moving average's default decay.
DECAY = 0.99


def fetch(model, data, batch, out, *tensors):
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
    from tf_oracle import load
    import tensorflow as tf

    graph, data, batch = load(model), dict(np.load(data)), int(batch)
    inputs = [node.name for node in graph.node if node.op == "Placeholder"]
    parts = {tensor: [] for tensor in tensors}
    with tf.Graph().as_default() as scope:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=scope) as session:
            for start in range(0, len(data[inputs[0]]), batch):
                feeds = {f"{name}:0": data[name][start : start + batch] for name in inputs}
                for tensor, value in zip(tensors, session.run(list(tensors), feeds)):
                    parts[tensor].append(value)
    np.savez(out, **{tensor: np.concatenate(values) for tensor, values in parts.items()})
    answer = {}
    for tensor, values in parts.items():
        whole = np.concatenate([value.ravel() for value in values])
        average = None
        for value in values:
            ends = np.array([value.min(), value.max()])
            average = ends if average is None else average + np.float32(1.0 - DECAY) * (ends - average)
            assert average.dtype == np.float32
        answer[tensor] = {"minmax": [float(whole.min()), float(whole.max())], "ema": [float(end) for end in average]}
    return answer


def compare(reference, values, output, data, labels, k):
    x, y = (np.load(path)[output] for path in (reference, values))
    labels, k = np.load(data)[labels], int(k)
    error = x.astype(np.float64) - y.astype(np.float64)
    a, b = x.astype(np.float64), y.astype(np.float64)
    first = x.argmax(axis=1)
    # The order of NumPy's argmax: of equal scores the first.
    order = np.argsort(-y, axis=1, kind="stable")
    return {
        "sqnr_db": float(10 * np.log10((a**2).sum() / (error**2).sum())),
        "max_error": float(np.abs(error).max()),
        "cosine": float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())),
        "top_1": float(np.mean(first == y.argmax(axis=1))),
        "top_k": float(np.mean((order[:, :k] == first[:, None]).any(axis=1))),
        "model": float(np.mean(y.argmax(axis=1) == labels)),
        "reference": float(np.mean(first == labels)),
    }


def repeat(data, samples, out):
    np.savez(out, **{name: np.resize(array, (int(samples), *array.shape[1:])) for name, array in np.load(data).items()})
    return {}


def peak(*command):
    import resource

    result = subprocess.run(command, stdout=subprocess.DEVNULL)
    if result.returncode:
        sys.exit(result.returncode)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def server():
    import tensorflow as tf

    server = tf.distribute.Server({"worker": ["localhost:0"]}, job_name="worker", task_index=0)
    print(server.target.rsplit(":", 1)[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    print(json.dumps({"fetch": fetch, "compare": compare, "repeat": repeat, "peak": peak, "server": server}[command](*arguments)))
