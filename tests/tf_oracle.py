#!/usr/bin/env python3
"""What the parity tests ask TensorFlow. Every subcommand prints one JSON value on stdout; arrays go to .npz files.

    tf_oracle.py versions
    tf_oracle.py run < JOBS.json
    tf_oracle.py accuracy --data DATA.npz MODEL.pb...
    tf_oracle.py tflite --data DATA.npz --route v1|v2 [--out WEIGHTS.npz] MODEL.pb

`run` takes a list of jobs, objects with
    model      path of a .pb or .pbtxt
    inputs     path of an .npz: every array is fed to the placeholder of its name; or absent
    fetch      tensors whose values are saved in the .npz `out` under these names
    digest     tensors of which only the shape and the CRC-32 of the little-endian bytes are printed
    grappler   false: no constant folding and no other rewrite before execution, so that each op's own kernel makes its value
    noise      {op: mean square}: before execution, uniform noise of that mean square is added to the constant weight of the op
    seed       of the noise
A tensor is a name (`conv1:0`), or `conv1@1`: whatever the op `conv1` reads as its input 1.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import zipfile
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

INPUT, OUTPUT = "image", "logits"


def load(path):
    """A GraphDef from a binary or text file."""
    data = pathlib.Path(path).read_bytes()
    graph = tf.compat.v1.GraphDef()
    if pathlib.Path(path).suffix == ".pbtxt":
        return text_format.Parse(data, graph)
    graph.ParseFromString(data)
    return graph


def session_config(grappler):
    config = tf.compat.v1.ConfigProto()
    if not grappler:
        options = config.graph_options
        options.optimizer_options.opt_level = tf.compat.v1.OptimizerOptions.L0
        options.optimizer_options.do_constant_folding = False
        options.rewrite_options.disable_meta_optimizer = True
    return config


def execute(graph, feeds, fetches, grappler=True):
    with tf.Graph().as_default() as scope:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=scope, config=session_config(grappler)) as session:
            return session.run(fetches, {f"{name}:0": value for name, value in feeds.items()})


def command_versions(_):
    return {"tensorflow": tf.__version__, "numpy": np.__version__}


def weight_constant(nodes, op):
    """The Const behind the weight of an op, through the Identity that freezing leaves."""
    node = nodes[op]
    node = nodes[node.input[1]]
    while node.op == "Identity":
        node = nodes[node.input[0]]
    assert node.op == "Const", (op, node.op)
    return node


def add_noise(graph, noise, seed):
    nodes = {node.name: node for node in graph.node}
    rng = np.random.default_rng(seed)
    for op, mean_square in noise.items():
        tensor = weight_constant(nodes, op).attr["value"].tensor
        # Uniform on [-a, a] has the mean square a * a / 3.
        end = np.sqrt(3.0 * mean_square)
        weight = tf.make_ndarray(tensor)
        tensor.CopyFrom(tf.make_tensor_proto((weight + rng.uniform(-end, end, weight.shape)).astype(weight.dtype)))


def resolve(nodes, text):
    """The tensor that `conv1:0` or `conv1@1` names."""
    op, at, position = text.partition("@")
    if not at:
        return text
    source = nodes[op].input[int(position)]
    return source if ":" in source else f"{source}:0"


def command_run(_):
    results = []
    for job in json.load(sys.stdin):
        graph = load(job["model"])
        if job.get("noise"):
            add_noise(graph, job["noise"], job["seed"])
        nodes = {node.name: node for node in graph.node}
        feeds = dict(np.load(job["inputs"])) if job.get("inputs") else {}
        fetch, digest = job.get("fetch", []), job.get("digest", [])
        tensors = [resolve(nodes, text) for text in fetch + digest]
        values = execute(graph, feeds, tensors, job.get("grappler", True))
        with open(job["out"], "wb") as out:
            save(out, dict(zip(fetch, values)))
        digests = {
            text: {"shape": value.shape, "dtype": value.dtype.name, "crc32": zlib.crc32(np.ascontiguousarray(value))}
            for text, value in zip(digest, values[len(fetch) :])
        }
        results.append({"nodes": len(graph.node), "digests": digests})
    return results


def save(out, arrays):
    """An .npz. Not np.savez, whose own arguments take some names."""
    with zipfile.ZipFile(out, "w") as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(value), allow_pickle=False)


def percent(logits, labels):
    return 100.0 * float(np.mean(np.argmax(logits, axis=1) == labels))


def command_accuracy(args):
    data = np.load(args.data)
    models = {}
    for path in args.models:
        logits = execute(load(path), {INPUT: data["image"]}, f"{OUTPUT}:0")
        models[str(path)] = percent(logits, data["label"])
    return {"samples": len(data["label"]), "percent": models}


def convert(graph, route):
    """The model as a TFLite flatbuffer with int8 inputs and outputs."""
    if route == "v1":
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.pb"
            path.write_bytes(graph.SerializeToString())
            converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(str(path), [INPUT], [OUTPUT])
            converter.inference_type = tf.int8
            converter.inference_input_type = tf.int8
            converter.inference_output_type = tf.int8
            # Mandatory, and overruled by the FakeQuant on the input: real = (code - mean) / std.
            converter.quantized_input_stats = {INPUT: (-128.0, 255.0)}
            return converter.convert()
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    function = wrapped.prune(wrapped.graph.as_graph_element(f"{INPUT}:0"), wrapped.graph.as_graph_element(f"{OUTPUT}:0"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], wrapped)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return converter.convert()


def command_tflite(args):
    flat = convert(load(args.model), args.route)
    # A delegate would stand as one op for all those that it takes over.
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(model_content=flat, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    ops = []
    for op in interpreter._get_ops_details():
        # -1 stands for an optional input that is not there.
        used = [index for index in (*op["inputs"], *op["outputs"]) if index in tensors]
        ops.append({"op": op["op_name"], "dtypes": sorted({np.dtype(tensors[index]["dtype"]).name for index in used})})

    data = np.load(args.data)
    (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = entry["quantization"]
    codes = np.clip(np.rint(data["image"] / scale) + zero_point, -128, 127).astype(entry["dtype"])
    interpreter.resize_tensor_input(entry["index"], codes.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], codes)
    interpreter.invoke()
    logits = interpreter.get_tensor(end["index"])

    weights = {}
    for tensor in tensors.values():
        if tensor["dtype"] == np.int8 and len(tensor["quantization_parameters"]["scales"]) and is_constant(interpreter, tensor):
            weights[tensor["name"]] = interpreter.get_tensor(tensor["index"])
            weights[f"{tensor['name']}/scale"] = tensor["quantization_parameters"]["scales"]
    if args.out:
        with open(args.out, "wb") as out:
            save(out, weights)
    return {
        "bytes": len(flat),
        "ops": ops,
        "percent": percent(logits, data["label"]),
        "samples": len(data["label"]),
        "weights": sorted(name for name in weights if not name.endswith("/scale")),
    }


def is_constant(interpreter, tensor):
    """Whether no op writes the tensor and it is no input."""
    written = {index for op in interpreter._get_ops_details() for index in op["outputs"]}
    entries = {entry["index"] for entry in interpreter.get_input_details()}
    return tensor["index"] not in written | entries


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("versions")
    command.set_defaults(call=command_versions)
    command = commands.add_parser("run")
    command.set_defaults(call=command_run)
    command = commands.add_parser("accuracy")
    command.add_argument("models", type=pathlib.Path, nargs="+")
    command.add_argument("--data", type=pathlib.Path, required=True)
    command.set_defaults(call=command_accuracy)
    command = commands.add_parser("tflite")
    command.add_argument("model", type=pathlib.Path)
    command.add_argument("--data", type=pathlib.Path, required=True)
    command.add_argument("--route", choices=("v1", "v2"), required=True)
    command.add_argument("--out", type=pathlib.Path)
    command.set_defaults(call=command_tflite)
    args = parser.parse_args()
    json.dump(args.call(args), sys.stdout)
    print()


if __name__ == "__main__":
    main()
