"""Small SavedModels and MetaGraphs of every kind that TensorFlow 2.21 writes, and some of 2.12, with what they compute.

    saved_models.py FOLDER [--ci] [NAME ...]

Writes FOLDER/NAME/ for every model of `corpus/` (or those named, or those for CI), FOLDER/NAME.N.feeds.npz and FOLDER/NAME.N.expected.npz
for every call, and FOLDER/manifest.json:

    {"tensorflow": version, "left_out": {name: why}, "calls": [{
        "name": "NAME.N", "model": "NAME", "path": "NAME", "kind": "saved_model" or "meta", "ci": bool,
        "tags": [tag], "signature": key,                                       (saved_model)
        "meta": path, "checkpoint": prefix, "outputs": [tensor],               (meta)
        "feeds": file, "expected": file, "types": {key: element type of input or output},
        "refused": null or why no frozen graph stands for the call}]}

What is expected was computed in TensorFlow from the original, without Grappler and other optimizations. Arrays of feeds and expected values
have signature keys (of a MetaGraph: tensor names with `:` as `@`, since they are names of files); elements that NumPy does not have are
stored as their bytes, and `types` says what they are.
"""

import json
import os
import pathlib
import shutil
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import tensorflow as tf

import plain_session
from corpus import compressed, graphs, keras3, modules, old, refused  # noqa: F401 (fill MODELS)
from corpus.made import MODELS, Call, Meta

from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402
from google.protobuf import text_format  # noqa: E402

v1 = tf.compat.v1


def meta_graphs(folder):
    found = saved_model_pb2.SavedModel()
    binary = folder / "saved_model.pb"
    if binary.exists():
        found.ParseFromString(binary.read_bytes())
    else:
        text_format.Parse((folder / "saved_model.pbtxt").read_text(), found)
    return found.meta_graphs


def made_up(info, number):
    dtype = tf.as_dtype(info.dtype)
    shape = [2 if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
    rng = np.random.default_rng(number)
    if dtype.is_floating:
        return rng.standard_normal(shape).astype(dtype.as_numpy_dtype)
    return rng.integers(0, 2, shape).astype(dtype.as_numpy_dtype)


def fed(infos, feeds):
    """Every input of a signature: as given, under its key or, of the only one, under None; else made up."""
    arrays = {}
    for number, key in enumerate(sorted(infos)):
        given = feeds.get(key, feeds.get(None))
        dtype = tf.as_dtype(infos[key].dtype)
        is_text = dtype == tf.string
        arrays[key] = made_up(infos[key], number) if given is None else np.asarray(given, "S" if is_text else dtype.as_numpy_dtype)
    return arrays


def run_saved_model(folder, call):
    """Feeds and results of a call. The loader of TensorFlow 2 reads what it wrote, since its variables may be restored by it alone."""
    graphs = meta_graphs(folder)
    (graph,) = [graph for graph in graphs if set(graph.meta_info_def.tags) == set(call.tags)]
    signature = graph.signature_def[call.signature]
    feeds = fed(signature.inputs, call.feeds)
    if call.refused:
        return feeds, {}
    if len(graphs) == 1 and graph.HasField("object_graph_def"):
        loaded = tf.saved_model.load(str(folder))
        results = loaded.signatures[call.signature](**{key: tf.constant(array) for key, array in feeds.items()})
        return feeds, {key: result.numpy() for key, result in results.items()}
    with tf.Graph().as_default(), plain_session.session() as session:
        v1.saved_model.loader.load(session, list(call.tags), str(folder))
        names = {key: info.name for key, info in signature.outputs.items()}
        results = session.run(names, {signature.inputs[key].name: array for key, array in feeds.items()})
    return feeds, results


def run_meta(folder, call):
    if call.refused:
        return call.feeds, {}
    with tf.Graph().as_default(), plain_session.session() as session:
        saver = v1.train.import_meta_graph(str(folder / f"{call.prefix}.meta"), clear_devices=True)
        saver = saver or v1.train.Saver()
        # A prefix without a name is no path to TensorFlow.
        session_prefix = named_prefix(folder, call.prefix)
        saver.restore(session, str(session_prefix))
        return call.feeds, session.run({name: name for name in call.outputs}, call.feeds)


def named_prefix(folder, prefix):
    if prefix:
        return folder / prefix
    named = folder.parent / "named"
    named.mkdir(exist_ok=True)
    for path in folder.iterdir():
        shutil.copy(path, named / f"model{path.name}")
    return named / "model"


def store(path, arrays):
    """The arrays, and what their elements are."""
    types = {}
    plain = {}
    for key, array in arrays.items():
        array = np.asarray(array)
        types[key] = "string" if array.dtype.kind in "SO" else tf.as_dtype(array.dtype).name
        if array.dtype.kind == "O":
            array = array.astype("S")
        plain[key.replace(":", "@")] = array.view(np.uint16) if types[key] == "bfloat16" else array
    np.savez(path, **plain)
    return types


def record(model, number, call, folder):
    path = folder / model.name
    name = f"{model.name}.{number}"
    is_meta = isinstance(call, Meta)
    feeds, expected = run_meta(path, call) if is_meta else run_saved_model(path, call)
    entry = {"name": name, "model": model.name, "path": model.name, "kind": "meta" if is_meta else "saved_model", "ci": model.ci}
    if is_meta:
        entry |= {"meta": f"{model.name}/{call.prefix}.meta", "checkpoint": f"{model.name}/{call.prefix}", "outputs": call.outputs}
    else:
        entry |= {"tags": list(call.tags), "signature": call.signature}
    entry |= {"feeds": f"{name}.feeds.npz", "expected": None, "refused": call.refused}
    types = store(folder / entry["feeds"], feeds)
    if not call.refused:
        entry["expected"] = f"{name}.expected.npz"
        types |= store(folder / entry["expected"], expected)
        for key, value in (getattr(call, "expected", None) or {}).items():
            # Kernels differ between versions in the last places; a wrong weight differs in the first.
            np.testing.assert_allclose(expected[key], value, rtol=1e-4, atol=1e-5, err_msg=name)
    return entry | {"types": types}


def lacks(model):
    """Why a model cannot be written here."""
    try:
        if model.needs:
            __import__(model.needs)
        return None
    except ImportError as error:
        return f"needs {model.needs}, which is not installed beside TensorFlow ({error})"


def main():
    folder = pathlib.Path(sys.argv[1])
    options = sys.argv[2:]
    names = [option for option in options if option != "--ci"]
    chosen = [m for m in MODELS if (not names or m.name in names) and (m.ci or "--ci" not in options)]
    plain_session.plain_functions()
    calls, left_out = [], {}
    for model in chosen:
        why = lacks(model)
        if why:
            left_out[model.name] = why
            print(f"LEFT OUT: {model.name} {why}", file=sys.stderr)
            continue
        began = time.monotonic()
        path = folder / model.name
        # A v1 builder makes its folder itself and refuses one that is there.
        is_meta = model.name.startswith(("meta_", "leaves_"))
        (path if is_meta else path.parent).mkdir(parents=True, exist_ok=True)
        written = model.write(path) or [Call()]
        calls += [record(model, number, call, folder) for number, call in enumerate(written)]
        print(f"{model.name}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    manifest = {"tensorflow": tf.__version__, "left_out": left_out, "calls": calls}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


if __name__ == "__main__":
    main()
