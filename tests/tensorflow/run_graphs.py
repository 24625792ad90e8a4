#!/usr/bin/env python3
"""Load graphs in TensorFlow and run them, each kernel by itself: no constant folding, no other rewrite before execution.

Reads jobs from stdin as JSON, a list of {"float": path, "models": {name: path}, "run": bool}, and prints a list of
{name: {"error": text or null, "outputs": {tensor: [[dtype, shape, hex bytes] of each run]}}}, the float graph under the name "float".

Every graph of a job is fed with the same integers in -8..8, twice: with the booleans true, then false, and other numbers. What is
fetched is what leaves the float graph: the outputs of nodes that nothing reads.
"""

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

# What leaves no value behind, and the counters of inner loops.
EFFECTS = {"NoOp", "Assert", "Const", "Placeholder", "PlaceholderWithDefault", "Exit"}
RUNS = 2
# What initializes the variables of a training graph.
INIT = "quantization/init"


def sinks(graph):
    read = {text.lstrip("^").split(":")[0] for node in graph.node for text in node.input}
    return [f"{node.name}:0" for node in graph.node if node.name not in read and node.op not in EFFECTS]


def feeds(graph, run):
    rng = np.random.default_rng(run)
    values = {}
    for node in graph.node:
        if node.op != "Placeholder":
            continue
        dtype = tf.as_dtype(node.attr["dtype"].type)
        shape = [dim.size for dim in node.attr["shape"].shape.dim]
        if dtype == tf.bool:
            value = np.full(shape, run == 0)
        else:
            value = rng.integers(-8, 9, shape).astype(dtype.as_numpy_dtype)
        values[f"{node.name}:0"] = value
    return values


def run(path, fetch, values, execute):
    with tf.Graph().as_default() as scope:
        tf.import_graph_def(load(path), name="")
        outputs = {name: [] for name in fetch}
        if execute and fetch:
            with tf.compat.v1.Session(graph=scope, config=session_config(grappler=False)) as session:
                if any(node.name == INIT for node in scope.get_operations()):
                    session.run(INIT)
                for feed in values:
                    for name, value in zip(fetch, session.run(fetch, feed)):
                        outputs[name].append([value.dtype.name, list(value.shape), value.tobytes().hex()])
        return outputs


def main():
    answers = []
    for job in json.load(sys.stdin):
        graph = load(job["float"])
        fetch = sinks(graph)
        values = [feeds(graph, number) for number in range(RUNS)]
        answer = {}
        for name, path in {"float": job["float"], **job["models"]}.items():
            try:
                answer[name] = {"error": None, "outputs": run(path, fetch, values, job["run"])}
            except Exception as error:  # The caller says which graph it was.
                answer[name] = {"error": str(error), "outputs": {}}
        answers.append(answer)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
