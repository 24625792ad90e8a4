#!/usr/bin/env python3
"""Channels of zeros, and others that are all but zero, beside biases: `make FOLDER` writes float graphs, `check FOLDER` converts what was
made of them to TFLite and compares the integers with TensorFlow's results, and the weights of all forms with each other. Prints JSON."""

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
CHANNELS, SAMPLES = 8, 12
# The upper end of the input: steps of 2^-8 and of 2^-13.7.
SPANS = {"unit": 1.0, "small": 0.02}
OUTPUTS = ["conv_out", "dw_out", "point_out", "zero_out", "dense_out"]
LAYERS = ["conv", "dw", "point", "zero"]
SIZES = np.float32([0, 1e-20, 1e-9, 1e-7, 1e-5, 1e-3, 0.1, 1])
BIAS = np.float32([1, -0.7, 0.4, 0.9, -0.5, 0.3, -0.2, 0.1])


def samples(span):
    return np.random.default_rng(1).uniform(0, span, (SAMPLES, 1, 5, 5, CHANNELS)).astype(np.float32)


def weight(name, *shape):
    values = np.random.default_rng(len(name)).normal(0, 0.3, shape).astype(np.float32)
    return tf.constant(values * (SIZES[:, None] if name == "dw" else SIZES), name=name + "_weight")


def make(folder):
    """A branch for each kind of layer, all of which read the input: what one makes is not what the next one starts from."""
    ranges = {}
    for name, span in SPANS.items():
        with tf.Graph().as_default() as graph:
            x = v1.placeholder(tf.float32, [1, 5, 5, CHANNELS], "x")
            bias = lambda layer: tf.constant(BIAS, name=layer + "_bias")
            y = tf.nn.conv2d(x, weight("conv", 3, 3, CHANNELS, CHANNELS), 1, "SAME", name="conv")
            tf.nn.relu6(tf.nn.bias_add(y, bias("conv")), name="conv_out")
            y = tf.nn.depthwise_conv2d(x, weight("dw", 3, 3, CHANNELS, 1), [1, 1, 1, 1], "SAME", name="dw")
            tf.nn.bias_add(y, bias("dw"), name="dw_out")
            y = tf.nn.conv2d(x, weight("point", 1, 1, CHANNELS, CHANNELS), 1, "SAME", name="point")
            tf.add(y, bias("point"), name="point_out")
            zeros = tf.constant(np.zeros((1, 1, CHANNELS, CHANNELS), np.float32), name="zero_weight")
            tf.nn.bias_add(tf.nn.conv2d(x, zeros, 1, "SAME", name="zero"), bias("zero"), name="zero_out")
            dense = np.random.default_rng(9).normal(0, 0.1, (25 * CHANNELS, CHANNELS)).astype(np.float32)
            y = tf.matmul(tf.reshape(x, [1, 25 * CHANNELS]), tf.constant(dense, name="dense_weight"), name="dense")
            tf.nn.bias_add(y, bias("dense"), name="dense_out")
            with v1.Session(config=session_config(grappler=False)) as session:
                found = [session.run([f"{o}:0" for o in OUTPUTS], {x: sample}) for sample in samples(span)]
            ends = {o: [float(f(v)) for f in (np.min, np.max)] for o, v in zip(OUTPUTS, zip(*found))}
            ranges[name] = {"x": [0.0, span], **ends}
            (folder / f"{name}.pb").write_bytes(graph.as_graph_def().SerializeToString())
    return ranges


def converted(graph_def, output):
    """An interpreter of the model that ends in `output`."""
    wrapped = v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    function = wrapped.prune(wrapped.graph.as_graph_element("x:0"), wrapped.graph.as_graph_element(f"{output}:0"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], wrapped)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # Without a delegate that would stand as one op for all those that it takes over.
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(model_content=converter.convert(), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    return interpreter


def compare(graph_def, span):
    """For each branch: the largest difference in steps of its output, the largest bias, and the types of what its layer reads and makes."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            expected = [session.run([f"{o}:0" for o in OUTPUTS], {"x:0": sample}) for sample in samples(span)]
    answer = {}
    for number, output in enumerate(OUTPUTS):
        interpreter = converted(graph_def, output)
        (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
        tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
        ops = [op for op in interpreter._get_ops_details() if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")]
        used = [tensors[index] for op in ops for index in (*op["inputs"], *op["outputs"])]
        # What the last op, which makes numbers of codes, reads.
        codes = tensors[interpreter._get_ops_details()[-1]["inputs"][0]]
        worst = 0.0
        for sample, wanted in zip(samples(span), expected):
            interpreter.set_tensor(entry["index"], sample)
            interpreter.invoke()
            worst = max(worst, float(np.abs(interpreter.get_tensor(end["index"]) - wanted[number]).max()))
        biases = [interpreter.get_tensor(tensor["index"]) for tensor in used if tensor["dtype"] == np.int32]
        answer[output] = {
            "layers": len(ops),
            "types": sorted({np.dtype(tensor["dtype"]).name for tensor in used}),
            "steps": worst / float(codes["quantization"][0]),
            "bias": max(int(np.abs(bias.astype(np.int64)).max()) for bias in biases),
        }
    return answer


def weights_of(path):
    """The quantized weights, as their layers read them."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(load(path), name="")
        names = {op.name for op in graph.get_operations()}
        with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            if "quantization/init" in names:
                session.run("quantization/init")
            return session.run([graph.get_operation_by_name(layer).inputs[1] for layer in LAYERS])


def check(folder):
    answer = {"tflite": {name: compare(load(folder / f"{name}.tflite.pb"), span) for name, span in SPANS.items()}, "weights": {}}
    wanted = weights_of(folder / "unit.baked.pb")
    for path in sorted(folder.glob("unit.*.pb")):
        found = weights_of(path)
        # The op's kernel computes its step of the range's ends, and a value as a difference of two: four roundings.
        off = [np.abs(a - b).max(axis=(0, 1)) > 4 * np.finfo(np.float32).eps * np.abs(b).max(axis=(0, 1)) for a, b in zip(found, wanted)]
        exact = all(np.array_equal(a, b) for a, b in zip(found, wanted))
        answer["weights"][path.name] = {"off": sum(int(o.sum()) for o in off), "exact": exact, "some": int(sum(np.count_nonzero(a) for a in found))}
    return answer


if __name__ == "__main__":
    verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    json.dump({"make": make, "check": check}[verb](folder), sys.stdout)
