#!/usr/bin/env python3
"""A SavedModel of Keras 3 with batch normalizations: `make FOLDER` writes it to FOLDER/float, `check FOLDER NAME...` runs it and others that were
made of it, and prints for each how far its outputs are from the float model's, {NAME: [largest difference / largest output, SQNR in dB,
whether Python has the model's variables]}."""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

VERB, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
RNG = np.random.default_rng(3)
IMAGES = RNG.normal(size=(8, 12, 12, 3)).astype(np.float32)


def make():
    keras.utils.set_random_seed(3)
    image = keras.Input((12, 12, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(image)))
    x = layers.ReLU()(layers.BatchNormalization(scale=False)(layers.DepthwiseConv2D(3, padding="same")(x)))
    x = layers.ReLU()(layers.BatchNormalization(center=False)(layers.Conv2D(10, 1)(x)))
    model = keras.Model(image, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))
    for layer in model.layers:
        for weight in layer.weights:
            if isinstance(layer, layers.BatchNormalization):
                positive = "gamma" in weight.path or "variance" in weight.path
                weight.assign(RNG.uniform(0.5, 1.5, weight.shape) if positive else RNG.normal(0, 0.3, weight.shape))
            elif "bias" in weight.path:
                weight.assign(RNG.normal(0, 0.1, weight.shape))
    model.export(FOLDER / "float", verbose=False)


def run(name):
    loaded = tf.saved_model.load(str(FOLDER / name))
    signature = loaded.signatures["serving_default"]
    (key,) = signature.structured_input_signature[1]
    (output,) = signature(**{key: tf.constant(IMAGES)}).values()
    return output.numpy().astype(np.float64), bool(getattr(loaded, "variables", []))


if VERB == "make":
    make()
else:
    exact, _ = run("float")
    answers = {}
    for name in sys.argv[3:]:
        found, variables = run(name)
        off = found - exact
        noise = (off**2).sum()
        decibel = float(10 * np.log10((exact**2).sum() / noise)) if noise else 999.0
        answers[name] = [float(abs(off).max() / abs(exact).max()), decibel, variables]
    print(json.dumps(answers))
