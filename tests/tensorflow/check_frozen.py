"""Frozen graphs against what the models computed that they were made of.

    check_frozen.py DIR

DIR is a folder that saved_models.py filled. Where DIR/frozen/NAME/graph.pb is, with NAME that of a call in the manifest, it is run with the
call's feeds; DIR/frozen/NAME/names.json says how its tensors are called:

    {"inputs": {key: tensor}, "outputs": {key: tensor}, "init": name of an op that is run first (optional)}

Prints {NAME: "equal", or {"max diff": number, "output": key}, or {"error": text}} as JSON. Equal means bit for bit.
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

v1 = tf.compat.v1


def arrays_of(path, types):
    with np.load(path) as stored:
        arrays = {name.replace("@", ":"): stored[name] for name in stored.files}
    brain = tf.bfloat16.as_numpy_dtype
    return {key: array.view(brain) if types[key] == "bfloat16" else array for key, array in arrays.items()}


def difference(found, expected):
    """The largest one, or None where every bit is the same."""
    found, expected = np.asarray(found), np.asarray(expected)
    if expected.dtype.kind == "S":
        found = found.astype("S")
    if found.shape != expected.shape or (found.dtype != expected.dtype and expected.dtype.kind != "S"):
        raise ValueError(f"{found.dtype} {found.shape}, expected {expected.dtype} {expected.shape}")
    if expected.dtype.kind == "S":
        return None if (found == expected).all() else float("inf")
    if found.tobytes() == expected.tobytes():
        return None
    return float(np.max(np.abs(found.astype(np.float64) - expected.astype(np.float64))))


def check(folder, call):
    frozen = folder / "frozen" / call["name"]
    names = json.loads((frozen / "names.json").read_text())
    feeds = arrays_of(folder / call["feeds"], call["types"])
    expected = arrays_of(folder / call["expected"], call["types"])
    if set(names["outputs"]) != set(expected):
        raise ValueError(f"outputs {sorted(names['outputs'])}, expected {sorted(expected)}")
    graph = v1.GraphDef.FromString((frozen / "graph.pb").read_bytes())
    with tf.Graph().as_default() as built, plain_session.session(built) as session:
        tf.import_graph_def(graph, name="")
        if names.get("init"):
            session.run(built.get_operation_by_name(names["init"]))
        found = session.run(names["outputs"], {names["inputs"][key]: array for key, array in feeds.items()})
    worst = None
    for key in sorted(expected):
        differs = difference(found[key], expected[key])
        if differs is not None and (worst is None or differs > worst["max diff"]):
            worst = {"max diff": differs, "output": key}
    return worst or "equal"


def main():
    folder = pathlib.Path(sys.argv[1])
    answer = {}
    for call in json.loads((folder / "manifest.json").read_text())["calls"]:
        if call["expected"] and (folder / "frozen" / call["name"] / "graph.pb").exists():
            try:
                answer[call["name"]] = check(folder, call)
            except Exception as error:  # noqa: BLE001 (any failure of a model is its result)
                answer[call["name"]] = {"error": f"{type(error).__name__}: {error}"[:2000]}
    json.dump(answer, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
