#!/usr/bin/env python3
"""Train the example model and freeze it: digits.pb, digits.pbtxt, digits.json and the training, test and calibration data.

A narrow net of convolutions, depthwise convolutions, ReLU6 and one dense layer on scikit-learn's bundled digits (8 x 8 grey
images, 10 classes). Batch normalization is folded into the convolutions before freezing, because the TFLite converter keeps a
convolution with a per-tensor FakeQuant weight in float while its batch norm is unfolded.

    python make_digits.py [--out examples] [--epochs 40] [--seed 7]

Everything is seeded and the ops are deterministic: the same machine and the same package versions give the same files. Another
CPU may sum in another order and end in other last bits.
"""

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import sklearn
import sklearn.datasets
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

TRAIN = 1100  # of 1797 images; the rest is the test set
CALIBRATION = 512  # of the training images
BN_EPSILON = 1e-3

# name, kind, output channels, stride; the last two layers follow a reshape to [N, 4 * 4 * 24]
LAYERS = [
    ("conv1", "conv3x3", 12, 1),
    ("dw1", "depthwise3x3", 12, 1),
    ("pw1", "conv1x1", 16, 1),
    ("dw2", "depthwise3x3", 16, 2),
    ("pw2", "conv1x1", 24, 1),
]
FEATURES = 4 * 4 * 24
HIDDEN = 32


def load_data(seed):
    """(train images, train labels), (test images, test labels); images [N, 8, 8, 1] in 0..1, in a seeded order."""
    digits = sklearn.datasets.load_digits()
    image = (digits.images / 16.0).astype(np.float32)[..., np.newaxis]
    label = digits.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(label))
    image, label = image[order], label[order]
    return (image[:TRAIN], label[:TRAIN]), (image[TRAIN:], label[TRAIN:])


def build():
    """The float model with batch norm."""
    x = image = keras.Input((8, 8, 1), name="image")
    for name, kind, channels, stride in LAYERS:
        if kind == "depthwise3x3":
            layer = keras.layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=name)
        else:
            size = 3 if kind == "conv3x3" else 1
            layer = keras.layers.Conv2D(channels, size, strides=stride, padding="same", use_bias=False, name=name)
        x = layer(x)
        x = keras.layers.BatchNormalization(epsilon=BN_EPSILON, momentum=0.9, name=f"{name}_bn")(x)
        x = keras.layers.ReLU(6.0, name=f"{name}_relu6")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(HIDDEN, name="dense1")(x)
    x = keras.layers.ReLU(6.0, name="dense1_relu6")(x)
    return keras.Model(image, keras.layers.Dense(10, name="dense2")(x))


def train(model, images, labels, epochs, seed):
    """Adam with a cosine schedule on images that are each shifted by up to one pixel."""
    steps = -(-len(labels) // 64) * epochs
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        shifts = rng.integers(-1, 2, size=(len(labels), 2))
        moved = np.stack([np.roll(image, shift, axis=(0, 1)) for image, shift in zip(images, shifts)])
        model.fit(moved, labels, batch_size=64, epochs=1, verbose=0)


def fold(model):
    """{layer name: (weights, bias)} with batch norm folded in: w * gamma / sqrt(var + eps), beta - mean * gamma / sqrt(var + eps)."""
    folded = {}
    for name, kind, _, _ in LAYERS:
        (weights,) = model.get_layer(name).get_weights()
        gamma, beta, mean, variance = model.get_layer(f"{name}_bn").get_weights()
        factor = gamma / np.sqrt(variance + BN_EPSILON)
        shape = (1, 1, -1, 1) if kind == "depthwise3x3" else (1, 1, 1, -1)
        folded[name] = (weights * factor.reshape(shape), beta - mean * factor)
    for name in ("dense1", "dense2"):
        folded[name] = tuple(model.get_layer(name).get_weights())
    return folded


def body(image, kernel, bias):
    """From an image to HIDDEN features, every op under a readable name; `kernel` and `bias` give what a layer of this name has."""
    x = image
    for name, kind, _, stride in LAYERS:
        weights, offset = kernel(name), bias(name)
        strides = [1, stride, stride, 1]
        if kind == "depthwise3x3":
            x = tf.raw_ops.DepthwiseConv2dNative(input=x, filter=weights, strides=strides, padding="SAME", name=name)
        else:
            x = tf.raw_ops.Conv2D(input=x, filter=weights, strides=strides, padding="SAME", name=name)
        x = tf.raw_ops.BiasAdd(value=x, bias=offset, name=f"{name}/add_bias")
        x = tf.raw_ops.Relu6(features=x, name=f"{name}/relu6")
    x = tf.raw_ops.Reshape(tensor=x, shape=tf.constant([-1, FEATURES], name="flatten/shape"), name="flatten")
    x = tf.raw_ops.MatMul(a=x, b=kernel("dense1"), name="dense1")
    x = tf.raw_ops.BiasAdd(value=x, bias=bias("dense1"), name="dense1/add_bias")
    return tf.raw_ops.Relu6(features=x, name="dense1/relu6")


def freeze(folded):
    """The frozen GraphDef: placeholder `image` in, `logits` out, every op under a readable name."""
    weights = {name: tuple(tf.Variable(v.astype(np.float32)) for v in pair) for name, pair in folded.items()}

    def read_weights(name, part, label):
        with tf.name_scope(f"{name}/{label}"):
            return weights[name][part].value()

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")])
    def infer(image):
        x = body(image, lambda name: read_weights(name, 0, "weights"), lambda name: read_weights(name, 1, "bias"))
        x = tf.raw_ops.MatMul(a=x, b=read_weights("dense2", 0, "weights"), name="dense2")
        return tf.raw_ops.BiasAdd(value=x, bias=read_weights("dense2", 1, "bias"), name="logits")

    frozen = convert_variables_to_constants_v2(infer.get_concrete_function())
    graph = tf.compat.v1.GraphDef()
    # The function's return value is an Identity without meaning outside of it.
    graph.CopyFrom(tf.compat.v1.graph_util.extract_sub_graph(frozen.graph.as_graph_def(), ["logits"]))
    return graph


def accuracy(graph, images, labels):
    """Percent of the images whose largest logit is the label's."""
    with tf.Graph().as_default() as scope:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=scope) as session:
            logits = session.run("logits:0", {"image:0": images})
    return 100.0 * float(np.mean(np.argmax(logits, axis=1) == labels))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--out", type=pathlib.Path, default=here.parent, help="folder that gets models/ and data/")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    keras.utils.set_random_seed(args.seed)
    tf.config.experimental.enable_op_determinism()
    (images, labels), (test_images, test_labels) = load_data(args.seed)
    model = build()
    train(model, images, labels, args.epochs, args.seed)
    graph = freeze(fold(model))
    percent = accuracy(graph, test_images, test_labels)

    models, data = args.out / "models", args.out / "data"
    models.mkdir(parents=True, exist_ok=True)
    data.mkdir(parents=True, exist_ok=True)
    (models / "digits.pb").write_bytes(graph.SerializeToString(deterministic=True))
    (models / "digits.pbtxt").write_text(text_format.MessageToString(graph))
    np.savez_compressed(data / "digits_test.npz", image=test_images, label=test_labels)
    np.savez_compressed(data / "digits_train.npz", image=images, label=labels)
    np.savez_compressed(data / f"digits_train_{CALIBRATION}.npz", image=images[:CALIBRATION], label=labels[:CALIBRATION])
    record = {
        "made_by": pathlib.Path(__file__).name,
        "seed": args.seed,
        "epochs": args.epochs,
        "train_images": len(labels),
        "test_images": len(test_labels),
        "test_accuracy_percent": round(percent, 2),
        "parameters": int(sum(w.size + b.size for w, b in fold(model).values())),
        "versions": {
            "python": sys.version.split()[0],
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
    (models / "digits.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
