#!/usr/bin/env python3
"""Training graphs whose variables are read and assigned in branches, loops and functions: `make FOLDER` writes them, `check FOLDER` trains
what was made of them, `frozen FOLDER` compares what was frozen. Prints JSON."""

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
# As whoever trains such graphs does; then the importer also refuses nodes that are bound to nodes which are gone.
v1.disable_v2_behavior()

KINDS = {"ref_switch": (False, False), "resource_switch": (True, False), "resource_if": (True, True)}
RNG = np.random.default_rng(5)
IMAGES = RNG.normal(0, 1, (4, 4, 4, 3)).astype(np.float32)
KERNEL, DENSE = RNG.normal(0, 0.4, (3, 3, 3, 4)).astype(np.float32), RNG.normal(0, 0.4, (64, 5)).astype(np.float32)


def variable(name, value, trainable=True):
    return v1.get_variable(name, initializer=np.float32(value), trainable=trainable)


def norm(x, training):
    """Batch normalization as FaceNet has it: the branch of training assigns the moving averages."""
    gamma, beta = variable("norm/gamma", np.linspace(0.5, 1.5, 4)), variable("norm/beta", np.zeros(4))
    mean, variance = variable("norm/mean", np.zeros(4), False), variable("norm/variance", np.ones(4), False)

    def batch():
        y, m, v = v1.nn.fused_batch_norm(x, gamma, beta, is_training=True)
        assigned = [v1.assign(mean, mean * 0.9 + m * 0.1), v1.assign_sub(variance, (variance - v) * 0.1)]
        with tf.control_dependencies(assigned):
            return tf.identity(y)

    moving = lambda: v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, is_training=False)[0]
    return v1.cond(training, batch, moving, name="norm/cond")


def net(resource):
    x = v1.placeholder(tf.float32, [4, 4, 4, 3], "x")
    training = v1.placeholder(tf.bool, [], "training")
    y = tf.nn.conv2d(x, variable("conv/kernel", KERNEL), 1, "SAME", name="conv")
    y = tf.nn.relu(norm(y, training), name="relu")
    # A branch that is dead only because of the assignment that it waits for.
    passes = variable("passes", 0, False)

    def counted():
        with tf.control_dependencies([v1.assign_add(passes, 1.0)]):
            return tf.constant(0.5)

    y = y * v1.cond(training, counted, lambda: tf.constant(2.0), name="count")
    factor = variable("factor", 0.75)
    y = tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, y * factor), [0, y], name="loop")[1]
    if resource:
        offset = variable("offset", 0.25)
        y = tf.function(lambda t: t + offset)(y)
    y = tf.matmul(tf.reshape(y, [4, 64]), variable("dense/kernel", DENSE), name="dense")
    tf.identity(y, "logits")


def imported(path):
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(load(path), name="")
    return graph


def make(folder):
    for kind, (resource, branches) in KINDS.items():
        (v1.enable_control_flow_v2 if branches else v1.disable_control_flow_v2)()
        (v1.enable_resource_variables if resource else v1.disable_resource_variables)()
        with tf.Graph().as_default() as graph:
            net(resource)
            v1.train.Saver()
            v1.global_variables_initializer()
        (folder / f"{kind}.pb").write_bytes(graph.as_graph_def().SerializeToString())


def run(graph, session, training, more=None):
    return session.run("logits:0", {"x:0": IMAGES, "training:0": training, **(more or {})})


def check(folder):
    answer = {}
    for kind in KINDS:
        graph = imported(folder / f"{kind}.training.pb")
        with graph.as_default(), v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            session.run("init")
            session.run("quantization/init")
            for _ in range(3):
                run(graph, session, True, {"quantization/is_training:0": True})
            expected = run(graph, session, False, {"quantization/is_training:0": False})
            variables = [op for op in graph.get_operations() if op.type in ("VarHandleOp", "VariableV2")]
            values = [
                tf.raw_ops.ReadVariableOp(resource=op.outputs[0], dtype=op.get_attr("dtype")) if op.type == "VarHandleOp" else tf.identity(op.outputs[0])
                for op in variables
            ]
            names = [op.name for op in variables]
            session.run(tf.raw_ops.SaveV2(prefix=str(folder / f"{kind}.ckpt"), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values))
            moved = session.run([t for op, t in zip(variables, values) if op.name in ("norm/mean", "passes")])
        np.save(folder / f"{kind}.npy", expected)
        answer[kind] = {"moved": all(bool(np.all(value != 0)) for value in moved)}
    print(json.dumps(answer))


def frozen(folder):
    answer = {}
    for kind in KINDS:
        graph = imported(folder / f"{kind}.frozen.pb")
        with graph.as_default(), v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            expected = np.load(folder / f"{kind}.npy")
            definition = graph.as_graph_def()
            nodes = [n for f in definition.library.function for n in f.node_def] + list(definition.node)
            answer[kind] = {
                "wrong": int(np.sum(run(graph, session, False) != expected)),
                "in_training": bool(np.all(np.isfinite(run(graph, session, True)))),
                "ops": sorted({n.op for n in nodes}),
                "functions": len(definition.library.function),
            }
    print(json.dumps(answer))


if __name__ == "__main__":
    {"make": make, "check": check, "frozen": frozen}[sys.argv[1]](pathlib.Path(sys.argv[2]))
