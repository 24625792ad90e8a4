#!/usr/bin/env python3
"""Make small frozen graphs with functions, loops and branches, old and new.

    make_control_flow.py FOLDER

Weights are -1, 0 or 1 and inputs are integers, so every value is an integer that float32 holds exactly, whatever the order of the sums.
Prints the names of the graphs as a JSON list.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
RNG = np.random.default_rng(5)
SHAPE = [1, 4, 4, 2]


def weight(name, shape=(3, 3, 2, 2)):
    """A constant in the graph or function that is being built."""
    values = RNG.integers(-1, 2, shape).astype(np.float32)
    # Every channel has the same largest magnitude.
    values.reshape(-1, shape[-1])[0] = 1
    return tf.constant(values, name=name)


def conv(x, w):
    return tf.nn.conv2d(x, w, 1, "SAME")


def block(x, w, name):
    """Two convolutions, one over a weight of its own."""
    inner = tf.nn.relu6(conv(x, w))
    return tf.nn.relu6(conv(inner, weight(f"{name}/kernel")))


def dense(x, name):
    flat = tf.reshape(x, [1, 32])
    return tf.matmul(flat, weight(name, (32, 3)))


def function(x):
    """A body with a weight inside, one as argument, and a returned activation."""

    @tf.function
    def body(x, kernel):
        active = tf.nn.relu6(conv(x, kernel))
        return active, conv(active, weight("kernel"))

    active, y = body(x, weight("argument"))
    return [active, y]


def function_in_function(x):
    @tf.function
    def inner(x):
        return tf.nn.relu6(conv(x, weight("inner_kernel")))

    @tf.function
    def outer(x):
        y = inner(x)
        return dense(inner(y), "dense"), y

    return list(outer(x))


def loop(x):
    """One weight from outside, one inside; the old form makes Enter, Merge, Switch, NextIteration and Exit of it."""
    w = weight("w")
    _, y = v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, block(y, w, "body")), (0, x))
    return [y]


def loop_in_loop(x):
    def inner(_, y):
        _, y = v1.while_loop(lambda j, _: j < 2, lambda j, y: (j + 1, tf.nn.relu6(conv(y, weight("inner")))), (0, y))
        return tf.nn.relu6(conv(y, weight("outer")))

    _, y = v1.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, inner(i, y)), (0, x))
    return [tf.nn.relu6(y)]


def branch(x):
    """A weight in each branch, and one that comes from outside."""
    w = weight("w")
    p = v1.placeholder(tf.bool, [], "p")
    y = v1.cond(p, lambda: block(x, w, "yes"), lambda: tf.nn.relu6(conv(x, weight("no"))))
    return [y]


def branch_in_loop(x):
    def body(i, y):
        return i + 1, v1.cond(i < 1, lambda: block(y, weight("w"), "yes"), lambda: tf.nn.relu6(conv(y, weight("no"))))

    _, y = v1.while_loop(lambda i, _: i < 2, body, (0, x))
    return [y]


def switch_case(x):
    p = v1.placeholder(tf.bool, [], "p")
    branches = [lambda: block(x, weight("a"), "first"), lambda: tf.nn.relu6(conv(x, weight("b")))]
    return [tf.switch_case(tf.cast(p, tf.int32), branches)]


def function_with_loop(x):
    @tf.function
    def body(x):
        w = weight("w")
        _, y = tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, block(y, w, "body")), (0, x))
        return y

    return [body(x)]


OLD = [loop, loop_in_loop, branch, branch_in_loop]
NEW = [function, function_in_function, loop, loop_in_loop, branch, branch_in_loop, switch_case, function_with_loop]


def make(build):
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, SHAPE, "x")
        for index, y in enumerate(build(x)):
            tf.identity(y, name=f"y{index}")
    return graph.as_graph_def()


def main():
    folder = pathlib.Path(sys.argv[1])
    names = []
    for form, builders in (("old", OLD), ("new", NEW)):
        (v1.disable_control_flow_v2 if form == "old" else v1.enable_control_flow_v2)()
        for build in builders:
            name = f"{build.__name__}_{form}"
            (folder / f"{name}.pb").write_bytes(make(build).SerializeToString(deterministic=True))
            names.append(name)
    json.dump(names, sys.stdout)


if __name__ == "__main__":
    main()
