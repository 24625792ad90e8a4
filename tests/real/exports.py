"""Keras exports in every form that a SavedModel comes out as: what each loader of TensorFlow computes of it, beside the GraphDef of the same form, and
what TFLite's converter makes of `inference`. Arguments: tf-rewriter, the models' folder (make_keras.py, with and without --export), a folder to work in.

Prints a row a model and form, as JSON.
"""

import collections
import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# oneDNN's kernels round otherwise in every shape of graph.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import tensorflow as tf

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1] / "tensorflow"))
import plain_session

plain_session.plain_functions()
v1 = tf.compat.v1
PROGRAM, MODELS, WORK = (pathlib.Path(argument) for argument in sys.argv[1:4])

# One scale for the tensor of a MatMul: the converter has no other. A convolution has one per channel, since the converter multiplies its weight with the
# factors of the batch norm behind it, and does so with scales per channel alone.
WEIGHTS = [
    {"quant_types": ["weight"], "quant_bits": 8, "per_channel": True, "op_types": ["Conv2D", "DepthwiseConv2dNative"]},
    {"quant_types": ["weight"], "quant_bits": 8, "per_channel": False, "op_types": ["MatMul"]},
]
# What an integer model keeps between its ops: outputs of fused layers. A batch norm before an activation is fused with it.
KEPT = {
    "mobilenet_v2": ["*_project_BN_1/batchnorm/add_1"],
    "resnet50": ["*_3_bn_1/batchnorm/add_1", "*_0_bn_1/batchnorm/add_1"],
}
EVERYWHERE = ["*/Add", "*/predictions_1/BiasAdd"]


def tool(*arguments):
    environment = {**os.environ, "TENSORFLOW_DIR": str(pathlib.Path(tf.__file__).parent)}
    done = subprocess.run([PROGRAM, *map(str, arguments), "--quiet"], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")


def by_graph(path, image):
    """The GraphDef, in a session."""
    graph_def = v1.GraphDef.FromString(path.read_bytes())
    (placeholder,) = (node.name for node in graph_def.node if node.op == "Placeholder")
    with tf.Graph().as_default() as graph, plain_session.session(graph) as session:
        tf.import_graph_def(graph_def, name="")
        return session.run("Identity:0", {f"{placeholder}:0": image})


def by_signature(path, image):
    (output,) = tf.saved_model.load(str(path)).signatures["serving_default"](tf.constant(image)).values()
    return output.numpy()


def by_session(path, image):
    with tf.Graph().as_default() as graph, plain_session.session(graph) as session:
        signature = v1.saved_model.load(session, ["serve"], str(path)).signature_def["serving_default"]
        ((taken,), (given,)) = signature.inputs.values(), signature.outputs.values()
        return session.run(given.name, {taken.name: image})


def by_layer(path, image):
    import keras

    output = keras.layers.TFSMLayer(str(path), call_endpoint="serving_default")(tf.constant(image))
    return np.asarray(next(iter(output.values())) if isinstance(output, dict) else output)


# The command as it is, but for the session's options.
CLI = """
import sys, types
import plain_session
from tensorflow.python.tools import saved_model_cli
plain = saved_model_cli.session.Session
saved_model_cli.session = types.SimpleNamespace(Session=lambda target, graph, config: plain(target, graph, plain_session.config()))
sys.exit(saved_model_cli.main())
"""


def by_command(path, image):
    """`saved_model_cli run`."""
    (key,) = signature(path).inputs
    np.save(WORK / "image.npy", image)
    out = cleared(WORK / "cli")
    call = ["-c", CLI, "run", "--dir", path, "--tag_set", "serve", "--signature_def", "serving_default"]
    inputs = ["--inputs", f"{key}={WORK / 'image.npy'}", "--outdir", out]
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(plain_session.__file__).parent)}
    subprocess.run([sys.executable, *map(str, call + inputs)], check=True, capture_output=True, env=environment)
    (found,) = out.iterdir()
    return np.load(found)


def by_c(path, image):
    """The C API, which Go, Java, Rust and Serving load models with."""
    library = ctypes.CDLL(str(pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"))

    class Output(ctypes.Structure):
        _fields_ = [("oper", ctypes.c_void_p), ("index", ctypes.c_int)]

    def function(name, result, *arguments):
        found = getattr(library, name)
        found.restype, found.argtypes = result, arguments
        return found

    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    status, graph = function("TF_NewStatus", pointer)(), function("TF_NewGraph", pointer)()

    def check():
        if function("TF_GetCode", ctypes.c_int, pointer)(status):
            raise RuntimeError(function("TF_Message", text, pointer)(status).decode())

    options = function("TF_NewSessionOptions", pointer)()
    config = plain_session.config().SerializeToString()
    function("TF_SetConfig", None, pointer, text, size, pointer)(options, config, len(config), status)
    check()
    load = function("TF_LoadSessionFromSavedModel", pointer, pointer, pointer, text, ctypes.POINTER(text), ctypes.c_int, pointer, pointer, pointer)
    session = load(options, None, str(path).encode(), (text * 1)(b"serve"), 1, graph, None, status)
    check()

    def output(info):
        name, index = info.name.split(":")
        return Output(function("TF_GraphOperationByName", pointer, pointer, text)(graph, name.encode()), int(index))

    ((taken,), (given,)) = signature(path).inputs.values(), signature(path).outputs.values()
    shape = (ctypes.c_int64 * image.ndim)(*image.shape)
    tensor = function("TF_AllocateTensor", pointer, ctypes.c_int, pointer, ctypes.c_int, size)(1, shape, image.ndim, image.nbytes)
    data = function("TF_TensorData", pointer, pointer)
    ctypes.memmove(data(tensor), image.ctypes.data, image.nbytes)
    found = pointer()
    library.TF_SessionRun.restype = None
    library.TF_SessionRun(
        pointer(session), None, ctypes.byref(output(taken)), ctypes.byref(pointer(tensor)), 1, ctypes.byref(output(given)),
        ctypes.byref(found), 1, None, 0, None, pointer(status),
    )  # fmt: skip
    check()
    dims = [function("TF_Dim", ctypes.c_int64, pointer, ctypes.c_int)(found, at) for at in range(function("TF_NumDims", ctypes.c_int, pointer)(found))]
    length = function("TF_TensorByteSize", size, pointer)(found)
    return np.frombuffer(ctypes.string_at(data(found), length), np.float32).reshape(dims)


LOADERS = {
    "tf.saved_model.load": by_signature,
    "v1 loader": by_session,
    "C API": by_c,
    "saved_model_cli run": by_command,
    "TFSMLayer": by_layer,
}


def signature(path):
    from tensorflow.python.saved_model import loader_impl

    (meta,) = loader_impl.parse_saved_model(str(path)).meta_graphs
    return meta.signature_def["serving_default"]


def cleared(path):
    if path.is_dir():
        shutil.rmtree(path)
    return path


def size(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size


def tflite(path):
    """The size of what TFLite's converter makes, and how many ops it has of which kind, each with the types that it reads and gives."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=plain)
    types = {tensor["index"]: np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    ops = collections.Counter()
    for op in interpreter._get_ops_details():
        taken, given = (sorted({types[at] for at in op[side] if at in types}) for side in ("inputs", "outputs"))
        ops[f"{op['op_name']} ({', '.join(taken)} to {', '.join(given)})"] += 1
    return {"bytes": len(content), "ops": dict(ops)}


def measure(name):
    model = MODELS / f"{name}_export"
    image = np.load(MODELS / f"{name}_input.npz")["image"]
    # A SavedModel has the inputs of all signatures, a GraphDef those of one.
    taken = ["serve_keras_tensor", "serving_default_keras_tensor"]
    np.savez(WORK / "folder.npz", **{key: image for key in taken})
    np.savez(WORK / "graph.npz", keras_tensor=image)
    outputs = {"quant_types": ["output"], "quant_bits": 8}
    config = [*WEIGHTS, {**outputs, "op_types": ["Placeholder", "Relu", "Relu6", "MaxPool", "Mean"]}, {**outputs, "op_names": KEPT[name] + EVERYWHERE}]
    (WORK / "config.json").write_text(json.dumps(config))
    integers = ["-Q", "qat", "--config", WORK / "config.json"]
    for emit, arguments in [("baked", ["-Q", "naive"]), ("packed", ["-Q", "naive"]), ("inference", integers)]:
        folder, graph = cleared(WORK / f"{name}_{emit}"), WORK / f"{name}_{emit}.pb"
        for out, data in ((folder, "folder.npz"), (graph, "graph.npz")):
            measured = ["--calibrate", WORK / data] if emit == "inference" else []
            tool("compress", model, "-o", out, "--emit", emit, *arguments, *measured)
        expected = by_graph(graph, image)
        equal = {loader: bool(np.array_equal(call(folder, image), expected)) for loader, call in LOADERS.items()}
        row = {"model": name, "form": emit, "model_bytes": size(model), "bytes": size(folder), "graph_bytes": size(graph), "equal": equal}
        if emit == "inference":
            row["tflite"] = tflite(folder)
        print(json.dumps(row), flush=True)


WORK.mkdir(parents=True, exist_ok=True)
for name in KEPT:
    measure(name)
