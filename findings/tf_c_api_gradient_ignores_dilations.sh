#!/usr/bin/env bash
# TensorFlow 2.21.0, C API: TF_AddGradients differentiates a dilated Conv2D as if it were not dilated.
#
# Guess: the C API's gradients equal those of tf.gradients, or it answers "no gradient defined".
# Seen: the backward ops that it adds have dilations [1, 1, 1, 1] whatever the forward op has. With padding SAME all shapes fit,
# the status is OK, and both gradients are wrong by as much as they are large. With dilation 1 they equal tf.gradients' to the bit.
#
# Output:
#   dilation 1: backward ops have dilations [[1, 1, 1, 1], [1, 1, 1, 1]], largest difference / largest gradient [0.0, 0.0]
#   dilation 2: backward ops have dilations [[1, 1, 1, 1], [1, 1, 1, 1]], largest difference / largest gradient [1.197…, 0.994…]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tensorflow-cpu==2.21.0
export CUDA_VISIBLE_DEVICES= TF_CPP_MIN_LOG_LEVEL=3
venv/bin/python - <<'PYTHON' 2>errors.log || { cat errors.log; exit 1; }
import ctypes
import os

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
lib = ctypes.CDLL(os.path.join(os.path.dirname(tf.__file__), "libtensorflow_cc.so.2"))
pointer = ctypes.c_void_p


class Output(ctypes.Structure):
    _fields_ = [("operation", pointer), ("index", ctypes.c_int)]


class Buffer(ctypes.Structure):
    _fields_ = [("data", pointer), ("length", ctypes.c_size_t), ("deallocator", pointer)]


def call(name, *arguments, returns=pointer):
    function = getattr(lib, name)
    function.restype = returns
    return function(*arguments)


def new(name):
    return pointer(call(name))


def with_gradients(graph):
    """The graph with what TF_AddGradients adds, and the names of the gradients of `x` and `w`."""
    status, native = new("TF_NewStatus"), new("TF_NewGraph")

    def check():
        code = call("TF_GetCode", status, returns=ctypes.c_int)
        assert code == 0, call("TF_Message", status, returns=ctypes.c_char_p)

    data = graph.as_graph_def().SerializeToString()
    source = pointer(call("TF_NewBufferFromString", data, ctypes.c_size_t(len(data))))
    call("TF_GraphImportGraphDef", native, source, new("TF_NewImportGraphDefOptions"), status)
    check()
    loss, x, w = (Output(call("TF_GraphOperationByName", native, name), 0) for name in (b"loss", b"x", b"w"))
    found = (Output * 2)()
    call("TF_AddGradients", native, ctypes.byref(loss), 1, (Output * 2)(x, w), 2, None, status, found)
    check()
    names = [call("TF_OperationName", pointer(o.operation), returns=ctypes.c_char_p).decode() + f":{o.index}" for o in found]
    target = new("TF_NewBuffer")
    call("TF_GraphToGraphDef", native, target, status)
    check()
    content = ctypes.cast(target, ctypes.POINTER(Buffer)).contents
    return tf1.GraphDef.FromString(ctypes.string_at(content.data, content.length)), names


def forward(dilation):
    x = tf1.placeholder(tf.float32, [2, 12, 12, 3], "x")
    w = tf1.placeholder(tf.float32, [3, 3, 3, 4], "w")
    y = tf.nn.conv2d(x, w, 1, "SAME", dilations=dilation)
    return tf.reduce_sum(y * y, name="loss"), x, w


rng = np.random.default_rng(0)
feed = {
    "x:0": rng.standard_normal((2, 12, 12, 3)).astype(np.float32),
    "w:0": rng.standard_normal((3, 3, 3, 4)).astype(np.float32),
}
for dilation in (1, 2):
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        loss, x, w = forward(dilation)
        expected = session.run(tf1.gradients(loss, [x, w]), feed)
    with tf.Graph().as_default() as graph:
        forward(dilation)
    graph_def, names = with_gradients(graph)
    backward = [list(n.attr["dilations"].list.i) for n in graph_def.node if n.op.startswith("Conv2DBackprop")]
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.import_graph_def(graph_def, name="")
        got = session.run(names, feed)
    worst = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(got, expected)]
    print(f"dilation {dilation}: backward ops have dilations {backward}, largest difference / largest gradient {worst}")
    assert backward == [[1, 1, 1, 1]] * 2
    assert all(ratio == 0 for ratio in worst) if dilation == 1 else all(ratio > 0.5 for ratio in worst)
PYTHON
