#!/usr/bin/env python3
"""A residual net of the digits, trained: `residual_net.py FOLDER` writes the SavedModel FOLDER/residual. Nine convolutions, each with a batch
normalization behind it, and a dense layer: 77,000 weights. On one machine it is the same net every time."""

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

DATA = np.load(pathlib.Path(__file__).parents[2] / "examples/data/digits_train.npz")


def convolved(x, channels, size, stride=1):
    x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def block(x, channels, stride):
    inner = layers.ReLU()(convolved(x, channels, 3, stride))
    inner = convolved(inner, channels, 3)
    if stride > 1:
        x = convolved(x, channels, 1, stride)
    return layers.ReLU()(layers.Add()([x, inner]))


def main():
    keras.utils.set_random_seed(1)
    tf.config.experimental.enable_op_determinism()
    image = keras.Input((8, 8, 1), name="image")
    x = layers.ReLU()(convolved(image, 16, 3))
    x = block(x, 16, 1)
    x = block(x, 32, 2)
    x = block(x, 64, 2)
    model = keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    model.fit(DATA["image"], DATA["label"], batch_size=32, epochs=15, verbose=0)
    model.export(pathlib.Path(sys.argv[1]) / "residual", verbose=False)


main()
