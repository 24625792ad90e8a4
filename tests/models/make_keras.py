#!/usr/bin/env python3
"""Freeze Keras MobileNetV2 and ResNet50 with seeded weights into target/models, each with a batch to run it on.

    python make_keras.py [--only mobilenet_v2] [--out target/models] [--export]

Writes NAME.pb (placeholder `image` in, class probabilities out), NAME_input.npz (array `image`) and NAME.json (the names of the
tensors before and after the softmax); with --export, NAME_input.npz and the SavedModel NAME_export, as Keras 3's `model.export` makes it.
Nothing is downloaded: weights
are seeded, batch norm has seeded scales and offsets and the statistics of a seeded batch, so that the activations of every layer
have a sensible size, as in a trained model. The graph is frozen the way Keras 3 writes it: batch norm stays unfolded, decomposed
into Rsqrt, Mul, Sub and AddV2.
"""

import argparse
import json
import os
import pathlib
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

# The weights do not depend on the image's size; a small one saves time.
SIZE = 96
MAKERS = {"mobilenet_v2": keras.applications.MobileNetV2, "resnet50": keras.applications.ResNet50}
# Made when they are named: other shapes of the chain that a batch norm leaves.
OTHERS = {"efficientnet_b0": keras.applications.EfficientNetB0, "densenet121": keras.applications.DenseNet121}


def build(name):
    keras.utils.set_random_seed(11)
    rng = np.random.default_rng(11)
    model = (MAKERS | OTHERS)[name](weights=None, input_shape=(SIZE, SIZE, 3))
    batch = rng.normal(size=(8, SIZE, SIZE, 3)).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            layer.beta.assign(rng.normal(0.0, 0.2, shape))
            # One pass in training mode then leaves the batch's own statistics.
            layer.momentum = 0.0
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0.0, 0.1, layer.bias.shape))
    model(batch, training=True)
    return model, batch[:4]


def freeze(model):
    infer = tf.function(lambda image: model(image, training=False))
    concrete = infer.get_concrete_function(tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image"))
    return convert_variables_to_constants_v2(concrete).graph.as_graph_def()


def export(model, folder):
    """Its folder takes its name when it is complete."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    model.export(partial, verbose=False)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(partial, folder)
    print(f"{folder}: {sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=MAKERS | OTHERS, help="without it MobileNetV2 and ResNet50")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "target" / "models")
    parser.add_argument("--export", action="store_true", help="SavedModels")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in [args.only] if args.only else MAKERS:
        model, batch = build(name)
        np.savez(args.out / f"{name}_input.npz", image=batch)
        if args.export:
            export(model, args.out / f"{name}_export")
            keras.backend.clear_session()
            continue
        graph = freeze(model)
        # The graph goes last and takes its name in one step: who sees it, sees all of it.
        (softmax,) = [node for node in graph.node if node.op == "Softmax"]
        names = {"logits": f"{softmax.input[0]}:0", "probabilities": f"{softmax.name}:0"}
        (args.out / f"{name}.json").write_text(json.dumps(names) + "\n")
        partial = args.out / f"{name}.pb.{os.getpid()}"
        partial.write_bytes(graph.SerializeToString(deterministic=True))
        os.replace(partial, args.out / f"{name}.pb")
        print(f"{args.out / name}.pb: {len(graph.node)} nodes, {graph.ByteSize()} bytes")
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
