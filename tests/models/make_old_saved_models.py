#!/usr/bin/env python3
"""SavedModels as TensorFlow 2.12 wrote them, with what they compute: tests/models/saved_models/2.12/NAME.

    python make_old_saved_models.py [FOLDER]

Runs in an interpreter with TensorFlow 2.12 (`pip install tensorflow-cpu==2.12.1`, Python 3.8 to 3.11) and in no other: what a newer version writes
is made when the tests run. FOLDER/NAME.npz has the feeds (`in.KEY`) and the outputs (`out.KEY`) of `serving_default`.
"""

import os
import pathlib
import shutil
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import tensorflow as tf

WANTED = "2.12"
layers = tf.keras.layers
v1 = tf.compat.v1


def noise(*shape):
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def trained_cnn(folder):
    """Keras 2's `save`: its own metadata beside the model, an optimizer with slots in the checkpoint, functions for training and for serving."""
    network = tf.keras.Sequential(
        [
            tf.keras.Input([8, 8, 2]),
            layers.Conv2D(3, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(max_value=6.0),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(noise(16, 8, 8, 2), np.arange(16) % 4, epochs=2, verbose=0)
    network.save(folder)
    return noise(3, 8, 8, 2)


def lstm(folder):
    """Keras 2's LSTM, whose loop stays a function of its own; the layers' other functions are left out, which are most of such a file."""
    network = tf.keras.Sequential([tf.keras.Input([5, 3]), layers.LSTM(4), layers.Dense(2)])
    module = tf.Module()
    module.held = network.variables
    infer = tf.function(lambda x: network(x, training=False), input_signature=[tf.TensorSpec([None, 5, 3], name="x")])
    tf.saved_model.save(module, folder, signatures=infer)
    return noise(3, 5, 3)


def session(folder):
    """TensorFlow 1's builder: reference variables, names of collections, no objects."""
    with tf.Graph().as_default(), v1.Session() as run:
        x = v1.placeholder(tf.float32, [None, 6], name="x")
        with v1.variable_scope("layer", use_resource=False):
            kernel = v1.get_variable("kernel", initializer=noise(6, 3), use_resource=False)
        y = tf.nn.relu(x @ kernel, name="y")
        run.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(run, folder, {"x": x}, {"y": y})
    return noise(2, 6)


def computed(folder, array):
    with tf.Graph().as_default(), v1.Session() as run:
        signature = v1.saved_model.loader.load(run, ["serve"], folder).signature_def["serving_default"]
        ((key, source),) = signature.inputs.items()
        names = {f"out.{name}": info.name for name, info in signature.outputs.items()}
        return {f"in.{key}": array} | run.run(names, {source.name: array})


def main():
    if not tf.__version__.startswith(WANTED + "."):
        sys.exit(f"TensorFlow {tf.__version__} is here, and {WANTED} is wanted: this script makes what old versions wrote")
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "saved_models" / WANTED
    folder.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(1)
    for write in (trained_cnn, lstm, session):
        path = folder / write.__name__
        shutil.rmtree(path, ignore_errors=True)
        array = write(str(path))
        for empty in (path / "assets",):
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()
        np.savez_compressed(folder / f"{write.__name__}.npz", **computed(str(path), array))


if __name__ == "__main__":
    main()
