#!/usr/bin/env python3
"""Training graphs in TensorFlow: `make FOLDER` writes float graphs, `check FOLDER` trains what was made of them, `frozen FOLDER` compares
what was frozen. Prints JSON. Every kernel runs by itself: no rewrite of the graph before execution, so that bits can be compared."""

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
BATCHES, BATCH, CLASSES = 5, 8, 5
STEP, INIT, IS_TRAINING = "quantization/step", "quantization/init", "quantization/is_training:0"
DECAY = 0.9
BIAS = np.linspace(-0.3, 0.3, 4, dtype=np.float32)
WEIGHTS = {
    "conv": (3, 3, 2, 4),
    "dw": (3, 3, 4, 2),
    "up": (2, 2, 3, 8),
    "dense": (12 * 12 * 3, CLASSES),
}


def data():
    rng = np.random.default_rng(7)
    images = rng.normal(0, 1.5, (BATCHES, BATCH, 6, 6, 2)).astype(np.float32)
    labels = rng.integers(0, CLASSES, (BATCHES, BATCH)).astype(np.int32)
    return images, labels


def initial(name):
    rng = np.random.default_rng(sum(name.encode()))
    values = rng.normal(0, 0.4, WEIGHTS[name]).astype(np.float32)
    if name == "conv":
        # Channels that are switched off, or all but that, beside a bias.
        values *= np.float32([0, 1e-6, 1, 1])
    return values


def forward(x, weight, weight_quant=lambda name, w: w, input_quant=lambda name, t: t, output_quant=lambda name, t: t):
    """The net. The functions say what stands between a weight, an input or an output and its op."""
    w = lambda name: weight_quant(name, weight(name))
    bias = tf.constant(BIAS, name="bias")
    t = tf.nn.conv2d(x, w("conv"), 1, "SAME", name="conv_op")
    t = output_quant("relu1", tf.nn.relu6(tf.nn.bias_add(t, bias, name="biased"), name="relu1"))
    t = tf.nn.depthwise_conv2d(t, w("dw"), [1, 1, 1, 1], "SAME", name="dw_op")
    t = output_quant("relu2", tf.nn.relu6(t, name="relu2"))
    shape = tf.constant([BATCH, 12, 12, 3], name="up_shape")
    t = tf.nn.conv2d_transpose(t, w("up"), shape, 2, "SAME", name="up_op")
    t = tf.reshape(tf.nn.relu6(t, name="relu3"), [BATCH, 12 * 12 * 3], name="flat")
    return tf.matmul(input_quant("dense_op", t), w("dense"), name="dense_op")


def make(folder):
    """A frozen graph, and one with variables of each kind and its Saver's nodes and checkpoint."""
    for kind in ["frozen", "resource", "ref"]:
        with tf.Graph().as_default() as graph:
            x = v1.placeholder(tf.float32, [BATCH, 6, 6, 2], "x")
            if kind == "frozen":
                weight = lambda name: tf.constant(initial(name), name=name)
            else:
                weight = lambda name: v1.get_variable(
                    name, initializer=tf.constant(initial(name)), use_resource=kind == "resource"
                )
            forward(x, weight)
            if kind != "frozen":
                saver = v1.train.Saver()
                init = v1.global_variables_initializer()
                with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
                    session.run(init)
                    saver.save(session, str(folder / f"{kind}.ckpt"), write_meta_graph=False)
            (folder / f"{kind}.pb").write_bytes(graph.as_graph_def().SerializeToString())


def handles(graph):
    found = {op.name: op for op in graph.get_operations() if op.type == "VarHandleOp"}
    return {name: next(c for c in op.outputs[0].consumers() if c.type == "ReadVariableOp").outputs[0] for name, op in found.items()}


def weights_of(graph, kind):
    """The float tensors that gradients are asked for."""
    def tensor(name):
        if kind == "frozen":
            return graph.get_tensor_by_name(f"{name}:0")
        op = graph.get_operation_by_name(name)
        if op.type == "VarHandleOp":
            # The read that the forward pass uses is the one that the quantizer observes.
            reads = [c.outputs[0] for c in op.outputs[0].consumers() if c.type == "ReadVariableOp"]
            return next(r for r in reads if any(c.name.endswith("/observed") or c.type == "Reshape" or c.type == "Transpose" for c in r.consumers()))
        return next(c.outputs[0] for c in op.outputs[0].consumers() if c.type == "Identity")
    return {name: tensor(name) for name in WEIGHTS}


def loss_of(logits, labels):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def restore(session, graph, folder, kind):
    session.run(INIT)
    if kind != "frozen":
        # The float graph's own restore op, with the float graph's checkpoint.
        session.run("save/restore_all", {"save/Const:0": str(folder / f"{kind}.ckpt")})


class Average:
    """SPEC's moving average in NumPy, float32 as it is written: the first batch sets, then r += (1 - decay) * (batch - r)."""

    def __init__(self):
        self.range = None
        self.rate = np.float32(1.0 - DECAY)

    def see(self, values):
        batch = np.float32([min(values.min(), 0.0), max(values.max(), 0.0)])
        self.range = batch if self.range is None else self.range + self.rate * (batch - self.range)
        return self.range


class Extremes:
    """The observer `minmax`: what was seen, from the first batch on."""

    def __init__(self):
        self.range = np.zeros(2, np.float32)

    def see(self, values):
        self.range = np.float32([min(values.min(), self.range[0]), max(values.max(), self.range[1])])
        return self.range


def reference_gradients(image, label, ranges, bits):
    """Loss and gradients of the same net with Python's own fake-quant ops."""
    with tf.Graph().as_default():
        weights = {name: tf.constant(initial(name)) for name in WEIGHTS}

        def weight_quant(name, w):
            per = {"conv": [0, 1, 2], "up": [0, 1, 3]}
            if name == "dense":
                m = tf.stop_gradient(tf.reduce_max(tf.abs(w)))
                return tf.quantization.fake_quant_with_min_max_vars(w, -m, m, bits, narrow_range=True)
            turned = tf.transpose(w, [0, 1, 3, 2]) if name == "up" else tf.reshape(w, [3, 3, 8]) if name == "dw" else w
            m = tf.stop_gradient(tf.reduce_max(tf.abs(turned), [0, 1, 2] if name != "dw" else [0, 1]))
            if name == "conv":
                least = np.float32((2 ** (bits - 1) - 1) / 65536)
                m = tf.maximum(m, tf.minimum(np.abs(BIAS) * least, tf.reduce_max(m) / 256))
            q = tf.quantization.fake_quant_with_min_max_vars_per_channel(turned, -m, m, bits, narrow_range=True)
            return tf.transpose(q, [0, 1, 3, 2]) if name == "up" else tf.reshape(q, WEIGHTS["dw"]) if name == "dw" else q

        def output_quant(name, t):
            low, high = ranges[name]
            return tf.quantization.fake_quant_with_min_max_vars(t, float(low), float(high), 8)

        logits = forward(tf.constant(image), weights.__getitem__, weight_quant, output_quant, output_quant)
        loss = loss_of(logits, tf.constant(label))
        gradients = v1.gradients(loss, list(weights.values()))
        with v1.Session(config=session_config(grappler=False)) as session:
            loss, gradients = session.run([loss, gradients])
            return loss, dict(zip(weights, gradients))


OBSERVED = {"relu1": "relu1:0", "relu2": "relu2:0", "dense_op": "flat:0"}


def state_of(name, end):
    return f"{name}/input_quant/{end}" if name == "dense_op" else f"{name}/output_quant/{end}"


def check_gradients(folder, kind, style, bits, answer):
    """Gradients, ranges and steps of the first batches against NumPy and Python's ops."""
    images, labels = data()
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(load(folder / f"{kind}_{style}_{bits}.pb"), name="")
        label = v1.placeholder(tf.int32, [BATCH])
        loss = loss_of(graph.get_tensor_by_name("dense_op:0"), label)
        weights = weights_of(graph, kind)
        gradients = v1.gradients(loss, list(weights.values()))
        reads = handles(graph)
        fetch = {"loss": loss, "gradients": dict(zip(weights, gradients)), "seen": {n: graph.get_tensor_by_name(t) for n, t in OBSERVED.items()}}
        with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            restore(session, graph, folder, kind)
            # Nothing is known of the ranges yet: evaluation is float there, and finite.
            untrained = session.run("dense_op:0", {"x:0": images[0], IS_TRAINING: False})
            answer["finite"] &= bool(np.isfinite(untrained).all())
            averages = {name: Extremes() if name == "relu2" else Average() for name in OBSERVED}
            for number in range(BATCHES):
                found = session.run(fetch, {"x:0": images[number], label: labels[number]})
                ranges = {name: average.see(found["seen"][name]) for name, average in averages.items()}
                state = session.run(reads)
                for name, (low, high) in ranges.items():
                    answer["ranges"] += 2
                    answer["wrong_ranges"] += int(state[state_of(name, "lower")] != low) + int(state[state_of(name, "upper")] != high)
                answer["wrong_steps"] += int(state[STEP] != number + 1)
                loss_value, expected = reference_gradients(images[number], labels[number], ranges, bits)
                answer["wrong_losses"] += int(loss_value != found["loss"])
                for name, gradient in expected.items():
                    answer["gradients"] += gradient.size
                    answer["nonzero"] += int(np.count_nonzero(gradient))
                    answer["wrong_gradients"] += int((gradient != found["gradients"][name]).sum())
            before = session.run(reads)
            first = session.run("dense_op:0", {"x:0": images[0], IS_TRAINING: False})
            again = session.run("dense_op:0", {"x:0": images[0], IS_TRAINING: False})
            after = session.run(reads)
            answer["moved"] += sum(int(not np.array_equal(before[name], after[name])) for name in before)
            answer["unsteady"] += int(not np.array_equal(first, again))
            # The checkpoint that `freeze` reads, and what it must reproduce.
            names = list(reads)
            values = [tf.constant(before[name]) for name in names]
            if kind == "ref":
                names += list(WEIGHTS)
                values += [tf.constant(value) for value in session.run([weights[name] for name in WEIGHTS])]
            stem = f"{kind}_{style}_{bits}"
            session.run(tf.raw_ops.SaveV2(prefix=str(folder / f"{stem}.ckpt"), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values))
            np.save(folder / f"{stem}.npy", first)


def check_start(folder, answer):
    """`quant_start_step` 7000: float before, quantized after, ranges observed from the first step."""
    images, _ = data()
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(load(folder / "start.pb"), name="")
        reads = handles(graph)
        handle = graph.get_operation_by_name(STEP).outputs[0]
        set_step = tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(6997, tf.int64))
        pairs = {"relu1": ("relu1:0", "relu1/output_quant:0"), "conv": ("conv:0", "conv_op/weight_quant:0")}
        with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            session.run(INIT)
            session.run(set_step)
            for number in range(BATCHES):
                found, state = session.run([pairs, "dense_op:0"], {"x:0": images[number]})[0], session.run(reads)
                answer["start"].append(
                    {
                        "step": int(state[STEP]),
                        "observed": bool(state["relu1/output_quant/upper"] > 0),
                        **{name: bool(np.array_equal(a, b)) for name, (a, b) in found.items()},
                    }
                )


def check_dorefa(folder, bits, answer):
    """Forward against the formula in TensorFlow's own ops, gradients against the smooth formula's."""
    images, labels = data()
    n = 2.0**bits - 1

    @tf.custom_gradient
    def rounded(x):
        return tf.round(x * n) / n, lambda g: g

    @tf.custom_gradient
    def signed(w):
        mean = tf.reduce_mean(tf.reshape(tf.abs(w), [-1]))
        return tf.where(w >= 0, tf.ones_like(w), -tf.ones_like(w)) * mean, lambda g: g

    def weight_quant(_, w):
        if bits == 1:
            return signed(w)
        t = tf.tanh(w)
        return 2 * rounded(t / (2 * tf.reduce_max(tf.abs(t))) + 0.5) - 1

    def output_quant(_, t):
        return rounded(tf.minimum(tf.maximum(t, 0.0), 1.0))

    with tf.Graph().as_default():
        weights = {name: tf.constant(initial(name)) for name in WEIGHTS}
        logits = forward(tf.constant(images[0]), weights.__getitem__, weight_quant, output_quant, output_quant)
        wanted = v1.gradients(loss_of(logits, tf.constant(labels[0])), list(weights.values()))
        with v1.Session(config=session_config(grappler=False)) as session:
            expected = session.run([logits, *wanted])
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(load(folder / f"dorefa_{bits}.pb"), name="")
        logits = graph.get_tensor_by_name("dense_op:0")
        weights = weights_of(graph, "frozen")
        gradients = v1.gradients(loss_of(logits, tf.constant(labels[0])), list(weights.values()))
        with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            session.run(INIT)
            found = session.run([logits, *gradients], {"x:0": images[0]})
            step = session.run(handles(graph))[STEP]
    off = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected)]
    answer["dorefa"].append({"bits": bits, "logits": off[0], "gradients": max(off[1:]), "step": int(step), "finite": all(bool(np.isfinite(f).all()) for f in found)})


def check(folder):
    counts = ["ranges", "wrong_ranges", "wrong_steps", "wrong_losses", "gradients", "nonzero", "wrong_gradients", "moved", "unsteady"]
    answer = {**dict.fromkeys(counts, 0), "finite": True, "start": [], "dorefa": []}
    for path in sorted(folder.glob("*_*_*.pb")):
        kind, style, bits = path.stem.split("_")
        check_gradients(folder, kind, style, int(bits), answer)
    check_start(folder, answer)
    for path in sorted(folder.glob("dorefa_*.pb")):
        check_dorefa(folder, int(path.stem.split("_")[1]), answer)
    return answer


def frozen(folder):
    """What was frozen, beside what the training graph gave in evaluation."""
    images, _ = data()
    answer = {}
    for path in sorted(folder.glob("*.frozen.pb")):
        stem = path.name.removesuffix(".frozen.pb")
        graph_def = load(path)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
            with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
                found = session.run("dense_op:0", {"x:0": images[0]})
        answer[stem] = {
            "wrong": int((found != np.load(folder / f"{stem}.npy")).sum()),
            "ops": sorted({node.op for node in graph_def.node}),
            "nodes": sorted(node.name for node in graph_def.node),
        }
    return answer


if __name__ == "__main__":
    verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    json.dump({"make": make, "check": check, "frozen": frozen}[verb](folder), sys.stdout)
