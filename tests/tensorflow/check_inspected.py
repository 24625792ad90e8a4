"""What `inspect` says of models, against what TensorFlow reads of them.

    check_inspected.py DIR

DIR is a folder that saved_models.py filled. DIR/inspected/NAME.json, with NAME that of a call in the manifest, is what `inspect --json` gives for
the call's model, tags and signature. Prints {NAME: "equal" or what differs} as JSON.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from saved_models import meta_graphs

VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


def shape_of(shape):
    return None if shape.unknown_rank else [dim.size for dim in shape.dim]


def side(infos):
    return {key: (info.name, types_pb2.DataType.Name(info.dtype), shape_of(info.tensor_shape)) for key, info in infos.items() if info.name}


def shown_side(tensors):
    return {tensor["key"]: (tensor["tensor"], tensor["dtype"], tensor["shape"]) for tensor in tensors if "/" not in tensor["key"]}


def check_meta_graph(meta, shown, call, folder):
    info = meta.meta_info_def
    assert list(info.tags) == shown["tags"], "tags"
    assert info.tensorflow_version == shown["tensorflow_version"], "version"
    chosen = set(call.get("tags", [])) == set(info.tags)
    assert shown["chosen"] == chosen, "chosen"
    signatures = {key: found for key, found in meta.signature_def.items() if not key.startswith("__saved_model_")}
    assert sorted(signatures) == [found["key"] for found in shown["signatures"]], "signatures"
    for found in shown["signatures"]:
        signature = signatures[found["key"]]
        assert side(signature.inputs) == shown_side(found["inputs"]), f"inputs of {found['key']}"
        assert side(signature.outputs) == shown_side(found["outputs"]), f"outputs of {found['key']}"
        assert found["method_name"] == signature.method_name, f"method of {found['key']}"
        assert found["chosen"] == (chosen and found["key"] == call["signature"]), f"{found['key']} is chosen or not"
    listed = list(meta.asset_file_def)
    if not listed and "saved_model_assets" in meta.collection_def:
        listed = [meta_graph_pb2.AssetFileDef.FromString(one.value) for one in meta.collection_def["saved_model_assets"].any_list.value]
    assets = [(asset.filename, (folder / "assets" / asset.filename).stat().st_size) for asset in listed]
    assert assets == [(asset["file"], asset["bytes"]) for asset in shown["assets"]], "assets"


def check_variables(meta, shown, prefix):
    nodes = [node for node in meta.graph_def.node if node.op in VARIABLES]
    assert [node.name for node in nodes] == [variable["name"] for variable in shown["variables"]], "variables"
    tables = [node.name for node in meta.graph_def.node if "HashTable" in node.op]
    assert tables == [table["name"] for table in shown["tables"]], "tables"
    if not pathlib.Path(f"{prefix}.index").exists():
        assert "checkpoint" not in shown, "a checkpoint"
        assert all(variable["bytes"] is None for variable in shown["variables"]), "values"
        return
    checkpoint = tf.train.load_checkpoint(str(prefix))
    shapes, types = checkpoint.get_variable_to_shape_map(), checkpoint.get_variable_to_dtype_map()
    files = {path.name: path.stat().st_size for path in prefix.parent.glob(f"{prefix.name}.data-*")}
    assert files == {file["file"]: file["bytes"] for file in shown["checkpoint"]["files"]}, "data files"
    read = set()
    for variable in shown["variables"]:
        name = variable["name"]
        for key in filter(None, (variable.get("key"), variable.get("second_key"))):
            assert key in shapes, f"{name}: there is no {key}"
            read.add(key)
        if variable["bytes"] is None:
            continue
        key = variable["key"]
        assert types_pb2.DataType.Name(types[key].as_datatype_enum) == variable["dtype"], f"type of {name}"
        assert variable["files"] and set(variable["files"]) <= set(files), f"files of {name}"
        if variable.get("slice"):
            whole, parts = variable["slice"].rsplit(" ", 1)
            assert [int(size) for size in whole.split()] == shapes[key], f"shape of {name}"
            lengths = [part.split(",")[1] if part != "-" else size for part, size in zip(parts.split(":"), shapes[key])]
            assert [int(length) for length in lengths] == variable["shape"], f"slice of {name}"
        else:
            assert shapes[key] == variable["shape"], f"shape of {name}"
        if types[key] != tf.string:
            count = 1
            for size in variable["shape"]:
                count *= size
            assert count * types[key].size == variable["bytes"], f"bytes of {name}"
    assert sorted(set(shapes) - read) == sorted(shown["checkpoint"]["unread"]), "tensors that nothing reads"


def check(folder, call):
    shown = json.loads((folder / "inspected" / f"{call['name']}.json").read_text())["container"]
    if call["kind"] == "meta":
        meta = meta_graph_pb2.MetaGraphDef.FromString((folder / call["meta"]).read_bytes())
        assert len(shown["meta_graphs"]) == 1, "meta graphs"
        # Python's loader takes a prefix that is a folder's name for the folder.
        return None if call["checkpoint"].endswith("/") else check_variables(meta, shown, folder / call["checkpoint"])
    path = folder / call["path"]
    graphs = meta_graphs(path)
    assert len(graphs) == len(shown["meta_graphs"]), "meta graphs"
    for meta, found in zip(graphs, shown["meta_graphs"]):
        check_meta_graph(meta, found, call, path)
        if found["chosen"]:
            check_variables(meta, shown, path / "variables" / "variables")
    assert any(found["chosen"] for found in shown["meta_graphs"]), "none is chosen"


def main():
    folder = pathlib.Path(sys.argv[1])
    answer = {}
    for call in json.loads((folder / "manifest.json").read_text())["calls"]:
        try:
            check(folder, call)
            answer[call["name"]] = "equal"
        except Exception as error:  # noqa: BLE001 (any failure of a model is its result)
            answer[call["name"]] = f"{type(error).__name__}: {error}"[:2000]
    json.dump(answer, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
