#!/usr/bin/env python3
"""Weights that are read in pieces, by several ops, or in functions: `make FOLDER` writes float graphs, `run FOLDER` runs training graphs
and saves their variables, `check FOLDER` compares. The last two read a list of cases from stdin; answers are JSON.

What is expected is written with TensorFlow's own ops: each weight is quantized as a whole, for the ops that are chosen, and cut afterwards.
Every kernel runs by itself: no rewrite of the graph before execution."""

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
INIT, IS_TRAINING = "quantization/init", "quantization/is_training:0"
BITS = {"naive": 8, "qat": 8, "dorefa": 4}
# Shape, and the axis of the channels.
WEIGHTS = {
    "split": ((6, 12), 1),
    "sizes": ((6, 7), 1),
    "heads": ((3, 6, 5), 2),
    "rows": ((12, 4), 1),
    "sliced": ((6, 9), 1),
    "strided": ((6, 10), 1),
    "filters": ((3, 8), 1),
    "picked": ((6, 5), 1),
    "nested": ((2, 6, 8), 2),
    "both": ((6, 6), 1),
    "penalized": ((6, 8), 1),
    "table": ((9, 6), 0),
    "inner": ((6, 8), 1),
    "looked": ((6, 7), 1),
}


def initial(name):
    """Pieces differ in size, so that a range of their own is another one."""
    rng = np.random.default_rng(sum(name.encode()))
    shape, _ = WEIGHTS[name]
    values = rng.normal(0, 0.4, shape)
    for axis, dim in enumerate(shape):
        ramp = np.linspace(0.2, 1.5, dim).reshape([-1 if at == axis else 1 for at in range(len(shape))])
        values = values * ramp
    return values.astype(np.float32)


def inputs():
    rng = np.random.default_rng(3)
    return rng.normal(0, 1, (4, 6)).astype(np.float32), rng.integers(0, 9, (4,)).astype(np.int32)


def forward(x, ids, weight, quant, look_up=None):
    """The outputs. `quant(name, w, axis)` is the weight as the chosen ops read it, `look_up` what looks rows up in a variable itself."""
    q = lambda name: quant(name, weight(name))
    out = {}

    def add(name, *terms):
        out[name] = tf.identity(tf.concat([tf.reshape(t, [4, -1]) for t in terms], 1), name=f"out_{name}")

    a, b, c = tf.split(q("split"), 3, axis=1)
    add("split", *[tf.matmul(x, piece, name=f"split_{n}") for n, piece in zip("abc", [a, b, c])])
    a, b = tf.split(q("sizes"), [2, 5], axis=1)
    add("sizes", tf.matmul(x, a, name="sizes_a"), tf.matmul(x, b, name="sizes_b"))
    add("heads", *[tf.matmul(x, head, name=f"heads_{n}") for n, head in enumerate(tf.unstack(q("heads"), axis=0))])
    rows = q("rows")
    add("rows", tf.matmul(x, rows[:6], name="rows_a"), tf.matmul(x, rows[6:], name="rows_b"))
    add("sliced", tf.matmul(x, tf.slice(q("sliced"), [0, 2], [6, -1]), name="sliced_op"))
    add("strided", tf.matmul(x, q("strided")[:, ::-2], name="strided_op"))
    # No piece: the whole with axes of 1.
    image = tf.reshape(x, [4, 6, 1])[:, :, tf.newaxis, :]
    kernel = q("filters")[:, tf.newaxis, tf.newaxis, :]
    add("filters", tf.nn.conv2d(image, kernel, 1, "SAME", name="filters_op"))
    add("picked", tf.matmul(x, tf.gather(q("picked"), [4, 0, 2], axis=1), name="picked_op"))
    add("nested", *[tf.matmul(x, part, name=f"nested_{n}") for n, part in enumerate(tf.split(q("nested")[1], 2, axis=1))])
    both = q("both")
    add("both", tf.matmul(x, both, name="both_whole"), tf.matmul(x, tf.transpose(both[:, :4]), transpose_b=True, name="both_piece"))
    # One piece of a split is chosen, the other is excluded, and a penalty reads the whole.
    whole, quantized = weight("penalized"), q("penalized")
    chosen, excluded = tf.split(quantized, 2, axis=1)
    if quantized is not whole:
        _, excluded = tf.split(whole, 2, axis=1)
    add("penalized", tf.matmul(x, chosen, name="penalized_chosen"), tf.matmul(x, excluded, name="excluded_op"))
    out["penalty"] = tf.identity(tf.reduce_sum(tf.square(whole)), name="out_penalty")
    # An embedding that is not chosen and a classifier that is share a table.
    embedded = look_up.sparse_read(ids) if look_up is not None else tf.gather(weight("table"), ids)
    at = tf.stack([ids, ids // 2], axis=1)
    out["cells"] = tf.identity(
        look_up.gather_nd(at) if look_up is not None else tf.gather_nd(weight("table"), at), name="out_cells"
    )
    add("table", tf.matmul(embedded + x, q("table"), transpose_b=True, name="table_op"))
    out["embedded"] = tf.identity(embedded, name="out_embedded")
    # What picks the columns is chosen too: rows are its channels.
    whole = weight("looked")
    picked = tf.gather(quant("looked", whole, 0), [5, 0, 3], axis=1, name="looked_op")
    behind = tf.gather(quantized, [5, 0, 3], axis=1) if (quantized := q("looked")) is not whole else picked
    out["looked"] = tf.identity(picked, name="out_looked")
    add("behind", tf.matmul(x, behind, name="behind_op"))
    # The split stands in a function.
    out["inner"] = tf.identity(inner(x, q("inner")), name="out_inner")
    return out


@tf.function
def inner(x, w):
    a, b = tf.split(w, 2, axis=1)
    return tf.matmul(x, a, name="inner_a") + tf.matmul(tf.tanh(x), b, name="inner_b")


def no_quant(_, w, along=None):
    return w


def make(folder):
    for kind in ["frozen", "resource"]:
        with tf.Graph().as_default() as graph:
            x = v1.placeholder(tf.float32, [4, 6], "x")
            ids = v1.placeholder(tf.int32, [4], "ids")
            if kind == "frozen":
                read = {name: tf.constant(initial(name), name=name) for name in WEIGHTS}
                forward(x, ids, read.__getitem__, no_quant)
            else:
                variables = {name: v1.get_variable(name, initializer=initial(name), use_resource=True) for name in WEIGHTS}
                read = {name: variable.read_value() for name, variable in variables.items()}
                forward(x, ids, read.__getitem__, no_quant, variables["table"])
            (folder / f"{kind}.pb").write_bytes(graph.as_graph_def().SerializeToString())


def range_quant(bits, per_channel):
    """The symmetric narrow grid from the largest absolute value (Jacob et al. 2018, section 3.1), by TensorFlow's own ops."""

    def quant(name, w, along=None):
        shape, axis = WEIGHTS[name]
        axis = axis if along is None else along
        if not per_channel:
            m = tf.reduce_max(tf.abs(w))
            return tf.quantization.fake_quant_with_min_max_vars(w, -m, m, bits, narrow_range=True)
        order = [at for at in range(len(shape)) if at != axis] + [axis]
        last = tf.transpose(w, order)
        m = tf.reduce_max(tf.abs(last), list(range(len(shape) - 1)))
        last = tf.quantization.fake_quant_with_min_max_vars_per_channel(last, -m, m, bits, narrow_range=True)
        return tf.transpose(last, np.argsort(order))

    return quant


def dorefa_quant(bits):
    """Zhou et al. 2016, equation 9."""

    def quant(_, w, along=None):
        t = tf.tanh(w)
        n = np.float32(2**bits - 1)
        return 2 * (tf.round((t / (2 * tf.reduce_max(tf.abs(t))) + 0.5) * n) / n) - 1

    return quant


def expected(way, values):
    quantizer, per_channel = way["quantizer"], way["per_channel"]
    quant = dorefa_quant(BITS["dorefa"]) if quantizer == "dorefa" else range_quant(BITS[quantizer], per_channel)
    x, ids = inputs()
    with tf.Graph().as_default() as graph:
        out = forward(tf.constant(x), tf.constant(ids), lambda name: tf.constant(values[name]), quant)
        with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            return session.run(out)


def run_graph(path, prepare=None):
    x, ids = inputs()
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(load(path), name="")
        names = [op.name for op in graph.get_operations() if op.name.startswith("out_") and "/" not in op.name]
        feed = {"x:0": x, "ids:0": ids}
        with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            if prepare:
                prepare(graph, session)
                feed[IS_TRAINING] = False
            return session.run({name.removeprefix("out_"): f"{name}:0" for name in names}, feed)


def train(cases):
    """Run training graphs on variables that have moved, and save those."""
    for case in cases:
        path = pathlib.Path(case["path"])

        def prepare(graph, session):
            session.run(INIT)
            handles = {op.name: op for op in graph.get_operations() if op.type == "VarHandleOp"}
            names, values = [], []
            for name, op in handles.items():
                dtype = tf.as_dtype(op.get_attr("dtype"))
                if name in WEIGHTS:
                    value = tf.constant(moved(name))
                    session.run(tf.raw_ops.AssignVariableOp(resource=op.outputs[0], value=value))
                else:
                    value = tf.raw_ops.ReadVariableOp(resource=op.outputs[0], dtype=dtype)
                names.append(name)
                values.append(value)
            save = tf.raw_ops.SaveV2(
                prefix=str(path.with_suffix(".ckpt")), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values
            )
            session.run(save)

        np.savez(path.with_suffix(".npz"), **run_graph(path, prepare))


def moved(name):
    return (initial(name) * np.float32(1.25) + np.float32(0.03)).astype(np.float32)


def check(cases):
    """The largest distance of an output from what is expected, in parts of its largest value; for graphs that were frozen, from the training
    graph too."""
    for case in cases:
        path = pathlib.Path(case["path"])
        values = {name: moved(name) if case["moved"] else initial(name) for name in WEIGHTS}
        wanted = expected(case, values)
        if case["emit"] == "training":
            found = dict(np.load(path.with_suffix(".npz")))
        else:
            found = run_graph(path)
        assert set(found) == set(wanted), (case, set(found) ^ set(wanted))
        case["off"] = {name: float(np.abs(found[name] - wanted[name]).max() / np.abs(wanted[name]).max()) for name in wanted}
        if "trained" in case:
            before = np.load(pathlib.Path(case["trained"]).with_suffix(".npz"))
            case["from_training"] = {name: float(np.abs(found[name] - before[name]).max()) for name in wanted}
        case["bits"] = {name: found[name].tobytes().hex() for name in wanted}
    return cases


if __name__ == "__main__":
    verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if verb == "make":
        make(folder)
    else:
        cases = json.load(sys.stdin)
        json.dump({"run": train, "check": check}[verb](cases), sys.stdout)
