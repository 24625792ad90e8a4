"""SavedModels that were written again, in the loaders of TensorFlow and against what the models computed that they were made of.

    check_models.py DIR

DIR is a folder that saved_models.py filled. Each folder DIR/models/FORM/NAME, with NAME that of a call in the manifest, is a SavedModel: it is
loaded with `tf.saved_model.load`, with TensorFlow 1's loader into a session, and as Keras's TFSMLayer, and run with the call's feeds.

Prints {FORM/NAME: {"expected": "equal" or the largest difference, "loaders": "equal" or what differs}} as JSON.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import tensorflow as tf

import plain_session
from check_frozen import arrays_of, difference

tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
v1 = tf.compat.v1


def by_session(path, call, feeds):
    with tf.Graph().as_default() as graph, plain_session.session(graph) as session:
        model = v1.saved_model.loader.load(session, call["tags"], str(path))
        signature = model.signature_def[call["signature"]]
        outputs = {key: info.name for key, info in signature.outputs.items()}
        return session.run(outputs, {signature.inputs[key].name: array for key, array in feeds.items()})


def by_signature(path, call, feeds):
    model = tf.saved_model.load(str(path), tags=call["tags"])
    outputs = model.signatures[call["signature"]](**{key: tf.constant(array) for key, array in feeds.items()})
    return {key: value.numpy() for key, value in outputs.items()}


def by_layer(path, call, feeds):
    import keras

    layer = keras.layers.TFSMLayer(str(path), call_endpoint=call["signature"])
    (array,) = feeds.values()
    outputs = layer(tf.constant(array))
    if not isinstance(outputs, dict):
        # An endpoint that Python knows by itself gives what its function does: here, one tensor.
        (key,) = (key for key in call["types"] if key not in feeds)
        outputs = {key: outputs}
    return {key: np.asarray(value) for key, value in outputs.items()}


def largest(found, expected):
    if set(found) != set(expected):
        return f"outputs {sorted(found)}, expected {sorted(expected)}"
    differences = [difference(found[key], expected[key]) for key in sorted(expected)]
    differences = [differs for differs in differences if differs is not None]
    return max(differences) if differences else "equal"


def check(path, folder, call):
    feeds = arrays_of(folder / call["feeds"], call["types"])
    expected = arrays_of(folder / call["expected"], call["types"])
    others = {"signature": by_signature}
    try:
        first = by_session(path, call, feeds)
    except tf.errors.FailedPreconditionError:
        # What Keras 3 gives to tf.saved_model.save, a session cannot load: it restores other variables than the signature reads.
        try:
            by_session(folder / call["path"], call, feeds)
        except tf.errors.FailedPreconditionError:
            first = others.pop("signature")(path, call, feeds)
        else:
            raise
    # A layer is for the tag `serve`, and is given one tensor.
    if call["tags"] == ["serve"] and len(feeds) == 1:
        others["layer"] = by_layer
    told = {}
    for name, loader in others.items():
        differs = largest(loader(path, call, feeds), first)
        if differs != "equal":
            told[name] = differs
    return {"expected": largest(first, expected), "loaders": told or "equal"}


def main():
    folder = pathlib.Path(sys.argv[1])
    answer = {}
    for call in json.loads((folder / "manifest.json").read_text())["calls"]:
        for form in sorted((folder / "models").iterdir()):
            path = form / call["name"]
            if call["expected"] and path.is_dir():
                try:
                    answer[f"{form.name}/{call['name']}"] = check(path, folder, call)
                except Exception as error:  # noqa: BLE001 (any failure of a model is its result)
                    answer[f"{form.name}/{call['name']}"] = {"error": f"{type(error).__name__}: {error}"[:2000]}
    print(json.dumps(answer))


main()
