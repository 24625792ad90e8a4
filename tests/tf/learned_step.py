#!/usr/bin/env python3
"""LSQ in TensorFlow: `check FOLDER` trains what was made of the graphs of training.py, `frozen FOLDER` compares what was frozen. Prints JSON."""

import json
import pathlib
import sys

import training
from training import BATCH, IS_TRAINING, WEIGHTS, data, forward, handles, initial, loss_of, restore, v1
from tf_oracle import load, session_config

import numpy as np
import tensorflow as tf

# Where each tensor's step is, and whether its grid is signed: x may be negative, what comes from a Relu6 is not.
SITES = {
    **{name: (f"{name}_op/weight_quant/step_size", True) for name in WEIGHTS},
    "x": ("conv_op/input_quant/step_size", True),
    "relu1": ("relu1/output_quant/step_size", False),
    "relu2": ("relu2/output_quant/step_size", False),
    "dense_op": ("dense_op/input_quant/step_size", False),
}
CHANNELS = {"conv": 4, "dw": 8, "up": 3, "dense": 5}


def turned(name, w):
    """Channels last, where they are not."""
    if name == "up":
        return tf.transpose(w, [0, 1, 3, 2]), lambda q: tf.transpose(q, [0, 1, 3, 2])
    if name == "dw":
        return tf.reshape(w, [3, 3, 8]), lambda q: tf.reshape(q, WEIGHTS["dw"])
    return w, lambda q: q


def channels_last(name):
    w = initial(name)
    return w.transpose(0, 1, 3, 2) if name == "up" else w


def codes(bits, signed):
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def initial_step(x, bits, signed, channels):
    """Section 2.1, in float64."""
    x = np.abs(np.float64(x))
    return 2 * (x.reshape(-1, channels).mean(0) if channels else x.mean()) / np.sqrt(codes(bits, signed)[1])


def quantizer(bits, signed, shares, sizes):
    """Values of TensorFlow's fake-quant op; gradients of equations 3 and 5, with the scale of section 2.2. `shares` elements have a step.

    With `sizes`, what a step's gradient adds is added without its signs.
    """
    low, high = codes(bits, signed)

    @tf.custom_gradient
    def quantize(x, s):
        def gradients(g):
            ratio = x / s
            rounded = tf.round(tf.clip_by_value(ratio, low, high))
            inside = (ratio >= low) & (ratio <= high)
            each = g * tf.where(inside, rounded - ratio, rounded)
            each = tf.abs(each) if sizes else each
            axes = list(range(len(x.shape) - 1)) if s.shape.rank else None
            return tf.where(inside, g, tf.zeros_like(g)), tf.reduce_sum(each, axes) / np.sqrt(np.float32(shares * high))

        op = tf.quantization.fake_quant_with_min_max_vars_per_channel if s.shape.rank else tf.quantization.fake_quant_with_min_max_vars
        return op(x, s * low, s * high, bits), gradients

    return quantize


def reference(image, label, steps, bits, sizes=False):
    """Loss, logits and gradients of weights and steps."""
    with tf.Graph().as_default():
        weights = {name: tf.constant(initial(name)) for name in WEIGHTS}
        # A channel of zeros has no step, and needs none.
        steps = {name: tf.constant(np.where(step > 0, step, np.float32(1))) for name, step in steps.items()}

        def weight_quant(name, w):
            s = steps[name]
            if not s.shape.rank:
                return quantizer(bits, True, np.prod(WEIGHTS[name]), sizes)(w, s)
            x, back = turned(name, w)
            return back(quantizer(bits, True, np.prod(WEIGHTS[name]) // CHANNELS[name], sizes)(x, s))

        def activation(name, t):
            return quantizer(bits, SITES[name][1], np.prod(t.shape[1:]), sizes)(t, steps[name])

        x = activation("x", tf.constant(image))
        logits = forward(x, weights.__getitem__, weight_quant, activation, activation)
        loss = loss_of(logits, tf.constant(label))
        wanted = v1.gradients(loss, [*weights.values(), *steps.values()])
        with v1.Session(config=session_config(grappler=False)) as session:
            loss, logits, gradients = session.run([loss, logits, wanted])
    names = [*weights, *(f"step of {name}" for name in steps)]
    return loss, logits, dict(zip(names, gradients))


def off(found, expected, size):
    """The largest difference, in parts of the largest of `size`."""
    return float(np.abs(np.float64(found) - np.float64(expected)).max() / max(np.abs(size).max(), 1e-30))


def check_one(folder, stem):
    kind, bits, _ = stem.split("_")
    bits = int(bits)
    images, labels = data()
    answer = {"initial": 0.0, "gradients": {}, "wrong": 0, "moved": 0}
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(load(folder / f"{stem}.pb"), name="")
        label = v1.placeholder(tf.int32, [BATCH])
        logits = graph.get_tensor_by_name("dense_op:0")
        loss = loss_of(logits, label)
        reads = handles(graph)
        weights = training.weights_of(graph, kind)
        steps = {name: reads[variable] for name, (variable, _) in SITES.items()}
        gradients = v1.gradients(loss, [*weights.values(), *steps.values()])
        names = [*weights, *(f"step of {name}" for name in steps)]
        seen = {"x": "x:0", "relu1": "relu1:0", "relu2": "relu2:0", "dense_op": "flat:0"}
        seen = {name: graph.get_tensor_by_name(tensor) for name, tensor in seen.items()}
        plain = np.load(folder / "float.npy")
        with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            restore(session, graph, folder, kind)
            # No step is known: evaluation is float, and sets none.
            answer["wrong"] += int((session.run(logits, {"x:0": images[0], IS_TRAINING: False}) != plain).sum())
            answer["moved"] += sum(int(np.any(value)) for value in session.run(steps).values())
            # The first pass sets them, and quantizes with them.
            found = session.run([seen, logits], {"x:0": images[0]})[0]
            found |= {name: channels_last(name) for name in WEIGHTS}
            now = session.run(steps)
            for name, step in now.items():
                expected = initial_step(found[name], bits, SITES[name][1], step.size if step.ndim else 0)
                answer["initial"] = max(answer["initial"], off(step, expected, expected))
            # Then they are the optimizer's.
            for number in range(1, 4):
                loss_value, found_logits, found = session.run([loss, logits, gradients], {"x:0": images[number], label: labels[number]})
                wanted_loss, wanted_logits, wanted = reference(images[number], labels[number], now, bits)
                _, _, sizes = reference(images[number], labels[number], now, bits, True)
                answer["wrong"] += int(loss_value != wanted_loss) + int((found_logits != wanted_logits).sum())
                for name, gradient in zip(names, found):
                    answer["gradients"][name] = max(answer["gradients"].get(name, 0.0), off(gradient, wanted[name], sizes[name]))
                after = session.run(steps)
                answer["moved"] += sum(int(not np.array_equal(now[name], after[name])) for name in now)
                for name, gradient in zip(names[len(WEIGHTS) :], found[len(WEIGHTS) :]):
                    variable = reads[SITES[name.removeprefix("step of ")][0]].op.inputs[0]
                    size = np.abs(after[name.removeprefix("step of ")]).max()
                    change = np.float32(0.01 * size) * gradient / max(np.abs(gradient).max(), np.float32(1e-20))
                    session.run(tf.raw_ops.AssignSubVariableOp(resource=variable, value=tf.constant(change, tf.float32)))
                now = session.run(steps)
            # A step that was driven below 0 is set anew.
            variable = reads[SITES["relu1"][0]].op.inputs[0]
            session.run(tf.raw_ops.AssignVariableOp(resource=variable, value=tf.constant(-0.5)))
            relu1 = session.run([seen, logits], {"x:0": images[0]})[0]["relu1"]
            expected = initial_step(relu1, bits, False, 0)
            answer["initial"] = max(answer["initial"], off(session.run(steps["relu1"]), expected, expected))
            state = session.run(reads)
            evaluated = session.run(logits, {"x:0": images[0], IS_TRAINING: False})
            variables, values = list(reads), [tf.constant(value) for value in state.values()]
            if kind == "ref":
                variables += list(WEIGHTS)
                values += [tf.constant(value) for value in session.run([weights[name] for name in WEIGHTS])]
            slices = [""] * len(variables)
            session.run(tf.raw_ops.SaveV2(prefix=str(folder / f"{stem}.ckpt"), tensor_names=variables, shape_and_slices=slices, tensors=values))
            np.save(folder / f"{stem}.npy", evaluated)
    return answer


def check(folder):
    images, _ = data()
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(load(folder / "frozen.pb"), name="")
        with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
            np.save(folder / "float.npy", session.run("dense_op:0", {"x:0": images[0]}))
    return {path.stem: check_one(folder, path.stem) for path in sorted(folder.glob("*_*_*.pb"))}


def frozen(folder):
    images, _ = data()
    answer = {}
    for path in sorted(folder.glob("*.frozen.pb")):
        outputs = []
        for form in [".frozen", ".baked", ".packed"]:
            with tf.Graph().as_default() as graph:
                tf.import_graph_def(load(path.with_name(path.name.replace(".frozen", form))), name="")
                with v1.Session(graph=graph, config=session_config(grappler=False)) as session:
                    outputs.append(session.run("dense_op:0", {"x:0": images[0]}))
        stem = path.name.removesuffix(".frozen.pb")
        expected = np.load(folder / f"{stem}.npy")
        answer[stem] = {"wrong": int((outputs[0] != expected).sum()), "packed": int((outputs[1] != outputs[2]).sum())}
    return answer


if __name__ == "__main__":
    verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    print(json.dumps({"make": training.make, "check": check, "frozen": frozen}[verb](folder)))
