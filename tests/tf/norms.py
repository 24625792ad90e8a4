#!/usr/bin/env python3
"""Small graphs with batch normalizations in every form that frameworks write, behind every layer that takes them: `norms.py FOLDER`
writes NAME.pb and NAME.npz for each, and prints what should become of them.

    {NAME: {"fetch": [...], "outputs": [...], "runs": bool, "folds": {last node: layer, or a code}, "gone": [nodes that are gone]}}
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

v1 = tf.compat.v1
v1.disable_v2_behavior()
CASES = {}
RNG = np.random.default_rng(7)


def case(fold=None, fetch=None, outputs=(), runs=True, gone=(), strip=False):
    """A graph that the function builds from the placeholder `x`; it returns the value of `y`. `fold`: what becomes of each normalization."""

    def register(build):
        with tf.Graph().as_default() as graph:
            shape = build.__annotations__["x"]
            x = v1.placeholder(tf.float32, [None, *shape[1:]], "x")
            tf.identity(build(x), "y")
            definition = graph.as_graph_def()
        if strip:
            for node in definition.node:
                if node.op.startswith("FusedBatchNorm"):
                    # As `strip_default_attrs` leaves them: what is as the op's definition has it is not written.
                    del node.attr["epsilon"]
                    del node.attr["data_format"]
        (FOLDER / f"{build.__name__}.pb").write_bytes(definition.SerializeToString(deterministic=True))
        np.savez(FOLDER / f"{build.__name__}.npz", x=RNG.normal(0, 1, shape).astype(np.float32))
        CASES[build.__name__] = {
            "fetch": fetch or ["y:0"], "outputs": list(outputs), "runs": runs, "folds": fold or {}, "gone": list(gone)
        }

    return register


FOLDER = pathlib.Path(sys.argv[1])
IMAGE = (2, 8, 8, 3)


def const(value, name):
    return tf.constant(np.float32(value), name=name)


def kernel(*shape, name="w"):
    return const(RNG.normal(0, 0.3, shape), name)


def parameters(channels, gamma=True, beta=True):
    """γ, β, μ, σ²: some factors are negative, one is 0."""
    factors = RNG.uniform(-1.5, 1.5, channels)
    factors[0] = 0
    return (
        const(factors, "bn/gamma") if gamma else None,
        const(RNG.normal(0, 0.5, channels), "bn/beta") if beta else None,
        const(RNG.normal(0, 0.5, channels), "bn/mean"),
        const(RNG.uniform(0.05, 4, channels), "bn/variance"),
    )


def keras3(x, channels, shape=None, epsilon=1e-3, gamma=True, beta=True, add=tf.raw_ops.AddV2, name="bn"):
    """The chain that freezing a Keras 3 model leaves; with `shape`, each parameter is reshaped first."""
    g, b, m, v = parameters(channels, gamma, beta)
    if shape:
        g, b, m, v = (p if p is None else tf.reshape(tf.identity(p), shape) for p in (g, b, m, v))
    s = tf.math.rsqrt(tf.raw_ops.AddV2(x=v, y=const(epsilon, "bn/epsilon")))
    if g is not None:
        s = tf.multiply(s, g, name=f"{name}/mul")
    product = tf.multiply(x, s, name=f"{name}/mul_1")
    offset = m * s
    offset = tf.negative(offset, name=f"{name}/neg") if b is None else tf.subtract(b, offset, name=f"{name}/sub")
    return add(x=product, y=offset, name=f"{name}/add_1")


def fused(x, channels, version="V3", training=False, name="bn", **more):
    op = getattr(tf.raw_ops, f"FusedBatchNorm{version}")
    g, b, m, v = parameters(channels)
    return op(x=x, scale=g, offset=b, mean=m, variance=v, is_training=training, name=name, **more)


def conv(x, *shape, padding="SAME", name="conv", **more):
    return tf.nn.conv2d(x, kernel(*shape, name=f"{name}/w"), 1, padding, name=name, **more)


LAST = {"bn/add_1": "conv"}


@case(LAST, gone=["bn/mul_1", "bn/gamma", "bn/variance", "bn/mul"])
def plain_chain(x: IMAGE):
    return tf.nn.relu(keras3(conv(x, 3, 3, 3, 5), 5))


@case(LAST)
def reshaped_chain(x: IMAGE):
    return keras3(conv(x, 3, 3, 3, 5), 5, shape=[1, 1, 1, 5], epsilon=1.001e-5)


@case(LAST)
def without_scale(x: IMAGE):
    return keras3(conv(x, 3, 3, 3, 5), 5, gamma=False)


@case(LAST)
def without_center(x: IMAGE):
    return keras3(conv(x, 3, 3, 3, 5), 5, beta=False)


@case(LAST)
def neither_scale_nor_center(x: IMAGE):
    return keras3(conv(x, 3, 3, 3, 5), 5, gamma=False, beta=False)


@case(LAST)
def of_tensorflow_1(x: IMAGE):
    return keras3(conv(x, 3, 3, 3, 5), 5, add=tf.raw_ops.Add)


@case(LAST)
def constants_computed_already(x: IMAGE):
    product = tf.multiply(conv(x, 3, 3, 3, 5), kernel(5, name="s"), name="bn/mul_1")
    return tf.add(product, kernel(5, name="t"), name="bn/add_1")


@case({"bn": "conv"}, gone=["bn/gamma", "bn/mean"])
def fused_3(x: IMAGE):
    return fused(conv(x, 3, 3, 3, 5), 5, epsilon=1e-3).y


@case({"bn": "conv"}, strip=True)
def fused_3_stripped(x: IMAGE):
    return fused(conv(x, 3, 3, 3, 5), 5).y


@case({"bn": "conv"}, strip=True)
def fused_2(x: IMAGE):
    return fused(conv(x, 3, 3, 3, 5), 5, "V2").y


@case({"bn": "conv"}, strip=True)
def fused_1(x: IMAGE):
    return fused(conv(x, 3, 3, 3, 5), 5, "").y


@case({"bn": "norm-trains"})
def in_training(x: IMAGE):
    empty = const([], "empty")
    g, b, _, _ = parameters(5)
    y = conv(x, 3, 3, 3, 5)
    return tf.raw_ops.FusedBatchNormV3(x=y, scale=g, offset=b, mean=empty, variance=empty, name="bn").y


@case({"bn": "conv"}, runs=False)
def channels_first(x: (2, 3, 8, 8)):
    y = conv(x, 3, 3, 3, 5, data_format="NCHW")
    return fused(y, 5, data_format="NCHW").y


@case(LAST, runs=False)
def channels_first_chain(x: (2, 3, 8, 8)):
    return keras3(conv(x, 3, 3, 3, 5, data_format="NCHW"), 5, shape=[1, 5, 1, 1])


@case({"bn/add_1": "norm-axis"}, runs=False)
def other_axis(x: (2, 3, 5, 5)):
    return keras3(conv(x, 3, 3, 3, 5, data_format="NCHW"), 5)


@case(LAST)
def grouped(x: (2, 8, 8, 6)):
    return keras3(conv(x, 3, 3, 2, 9), 9)


@case({"bn/add_1": "depthwise"})
def depthwise(x: IMAGE):
    return keras3(tf.nn.depthwise_conv2d(x, kernel(3, 3, 3, 2), [1, 1, 1, 1], "SAME", name="depthwise"), 6)


@case({"bn/add_1": "up"})
def transposed(x: IMAGE):
    shape = tf.constant([2, 16, 16, 5])
    return keras3(tf.raw_ops.Conv2DBackpropInput(
        input_sizes=shape, filter=kernel(3, 3, 5, 3), out_backprop=x, strides=[1, 2, 2, 1], padding="SAME", name="up"), 5)


@case({"bn/add_1": "conv3d"})
def three_dimensions(x: (2, 4, 6, 6, 3)):
    y = tf.nn.conv3d(x, kernel(3, 3, 3, 3, 5), [1] * 5, "SAME", name="conv3d")
    return keras3(y, 5)


@case({"bn/add_1": "fc"})
def product(x: (4, 6)):
    return keras3(tf.matmul(x, kernel(6, 5), name="fc"), 5)


@case({"bn/add_1": "fc"})
def product_turned(x: (4, 6)):
    return keras3(tf.matmul(x, kernel(5, 6), transpose_b=True, name="fc"), 5)


@case({"bn/add_1": "fc"})
def product_reshaped(x: (4, 6)):
    return keras3(tf.reshape(tf.matmul(x, kernel(6, 5), name="fc"), [2, 2, 5]), 5)


@case(LAST, gone=["bias"])
def behind_a_bias(x: IMAGE):
    return keras3(tf.nn.bias_add(conv(x, 3, 3, 3, 5), kernel(5, name="b"), name="bias"), 5, shape=[1, 1, 1, 5])


@case(LAST)
def dilated(x: IMAGE):
    y = tf.space_to_batch_nd(x, [2, 2], [[2, 2], [2, 2]])
    y = conv(y, 3, 3, 3, 5, padding="VALID")
    y = tf.batch_to_space(y, [2, 2], [[0, 0], [0, 0]], name="back")
    return keras3(tf.nn.bias_add(y, kernel(5, name="b"), name="bias"), 5)


@case(LAST)
def one_dimension(x: (2, 9, 3)):
    y = conv(tf.expand_dims(x, 1), 1, 3, 3, 5)
    return keras3(tf.squeeze(y, [1]), 5)


@case({"first/add_1": "conv", "bn/add_1": "conv"})
def two_in_a_row(x: IMAGE):
    return keras3(keras3(conv(x, 3, 3, 3, 5), 5, name="first"), 5)


@case({"bn/add_1": "norm-shared"}, fetch=["y:0", "z:0"])
def another_reader(x: IMAGE):
    y = conv(x, 3, 3, 3, 5)
    tf.nn.relu(y, name="z")
    return keras3(y, 5)


@case({"bn/add_1": "norm-wanted"}, fetch=["y:0", "conv:0"], outputs=["conv"])
def wanted(x: IMAGE):
    return keras3(conv(x, 3, 3, 3, 5), 5)


@case(LAST, fetch=["y:0", "bn/add_1:0"], outputs=["bn/add_1"])
def wanted_at_the_end(x: IMAGE):
    return tf.nn.relu(keras3(conv(x, 3, 3, 3, 5), 5))


@case({"bn": "norm-shared"}, fetch=["y:0", "z:0"])
def statistics_are_read(x: IMAGE):
    found = fused(conv(x, 3, 3, 3, 5), 5)
    tf.identity(found.batch_mean, "z")
    return found.y


@case({"bn/add_1": "norm-before-layer"})
def before_a_layer(x: IMAGE):
    return conv(keras3(x, 3), 3, 3, 3, 5)


@case({"bn/add_1": "norm-no-layer"})
def behind_an_activation(x: IMAGE):
    return tf.nn.relu(keras3(tf.nn.relu(conv(x, 3, 3, 3, 5)), 5))


@case({"bn": "norm-computed"})
def fed(x: IMAGE):
    g, b, m, v = parameters(5)
    g = v1.placeholder_with_default(g, [5], "fed")
    y = conv(x, 3, 3, 3, 5)
    return tf.raw_ops.FusedBatchNormV3(x=y, scale=g, offset=b, mean=m, variance=v, is_training=False, name="bn").y


@case({"bn/add_1": "norm-not-finite"}, runs=False)
def negative_variance(x: IMAGE):
    s = tf.math.rsqrt(const([1, -1, 1, 1, 1], "v"))
    return tf.add(tf.multiply(conv(x, 3, 3, 3, 5), s), kernel(5, name="t"), name="bn/add_1")


@case({"bn/add_1": "conv", "other/add_1": "also"}, fetch=["y:0"])
def one_weight_for_two(x: IMAGE):
    w = kernel(3, 3, 3, 5)
    first = keras3(tf.nn.conv2d(x, w, 1, "SAME", name="conv"), 5)
    return first + keras3(tf.nn.conv2d(x, w, 1, "SAME", name="also"), 5, name="other")


@case(LAST, fetch=["y:0", "z:0"])
def one_weight_for_another_too(x: IMAGE):
    w = kernel(3, 3, 3, 5)
    tf.nn.conv2d(x, w, 2, "SAME", name="z")
    return keras3(tf.nn.conv2d(x, w, 1, "SAME", name="conv"), 5)


@case()
def no_normalization(x: IMAGE):
    """A layer normalization's scale and shift, and a learnt scale."""
    y = conv(x, 3, 3, 3, 5)
    mean, variance = tf.nn.moments(y, [-1], keepdims=True)
    y = (y - mean) * tf.math.rsqrt(variance + 1e-3)
    return tf.multiply(y, kernel(5, name="g"), name="ln/mul") + kernel(5, name="b")


print(json.dumps(CASES))
