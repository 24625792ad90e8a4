#!/usr/bin/env python3
"""Train a graph of `--emit training` on the digits with stock TensorFlow: python3 train_graph.py TRAIN.pb OUT.ckpt [--from FLOAT.ckpt]

A GraphDef has no collections: `load` reads off the graph which nodes are variables, and the rest is TensorFlow 1 as it always was.
"""
import argparse
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.variable_pb2 import VariableDef

v1 = tf.compat.v1
DATA = pathlib.Path(__file__).resolve().parent / "data"
# Per kind of variable: the ops that set it and read it.
KINDS = {"VarHandleOp": ("AssignVariableOp", "ReadVariableOp"), "VariableV2": ("Assign", "Identity"), "Variable": ("Assign", "Identity")}


def load(path):
    """Import a GraphDef with its variables, those that quantization added included; the statistics of batch norms are not trainable."""
    graph_def = v1.GraphDef.FromString(pathlib.Path(path).read_bytes())
    meta = v1.MetaGraphDef(graph_def=graph_def)
    first = {}
    for node in graph_def.node:
        if node.input:
            first.setdefault((node.input[0].removesuffix(":0"), node.op), node)
    for node in graph_def.node:
        sets, reads = (first.get((node.name, op)) for op in KINDS.get(node.op, ("", "")))
        if sets is None or reads is None:
            continue
        ours = "_quantization_part" in node.attr
        trainable = not ours and tf.as_dtype(node.attr["dtype"].type).is_floating and "moving_" not in node.name
        variable = VariableDef(
            variable_name=f"{node.name}:0",
            initializer_name=sets.name,
            initial_value_name=sets.input[1] if ":" in sets.input[1] else f"{sets.input[1]}:0",
            snapshot_name=f"{reads.name}:0",
            is_resource=node.op == "VarHandleOp",
            trainable=trainable,
        )
        for collection in ["variables"] + ["trainable_variables"] * trainable:
            meta.collection_def[collection].bytes_list.value.append(variable.SerializeToString())
    return v1.train.import_meta_graph(meta)


def train(path, out, start, epochs, lr, seed):
    data = np.load(DATA / "digits_train.npz")
    images, labels = data["image"], data["label"]
    saver = load(path)
    logits, label = v1.get_default_graph().get_tensor_by_name("logits:0"), v1.placeholder(tf.int64, [None])
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=logits))
    step = v1.train.AdamOptimizer(lr).minimize(loss)
    random = np.random.default_rng(seed)
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        if start:
            known = {name for name, _ in tf.train.list_variables(start)}
            v1.train.Saver([v for v in v1.global_variables() if v.op.name in known]).restore(session, start)
        for _ in range(epochs):
            order = random.permutation(len(labels))
            for batch in np.array_split(order, -(-len(order) // 32)):
                session.run(step, {"image:0": images[batch], label: labels[batch]})
        saver.save(session, out, write_meta_graph=False)
        test = np.load(DATA / "digits_test.npz")
        scores = session.run(logits, {"image:0": test["image"], "quantization/is_training:0": False})
        return 100.0 * np.mean(scores.argmax(1) == test["label"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", metavar="TRAIN.pb")
    parser.add_argument("out", metavar="OUT.ckpt")
    parser.add_argument("--from", dest="start", metavar="FLOAT.ckpt")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    v1.disable_eager_execution()
    percent = train(args.graph, args.out, args.start, args.epochs, args.lr, args.seed)
    print(f"{args.out}: {percent:.2f} % of the test images")
