"""What every model of the corpus is: a function that writes it, and the calls that are recorded of it."""

import dataclasses

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
MODELS = []


@dataclasses.dataclass
class Call:
    """One call: which graph of the model, which signature, what is fed. What is not fed here is made up."""

    signature: str = "serving_default"
    tags: tuple = ("serve",)
    feeds: dict = dataclasses.field(default_factory=dict)
    # Why no frozen graph stands for it.
    refused: str | None = None
    # What another version of TensorFlow computed; this one has to come near it.
    expected: dict | None = None


@dataclasses.dataclass
class Meta:
    """A MetaGraph and its checkpoint in the folder of the model; tensors by their names, since there is no signature."""

    feeds: dict
    outputs: list
    prefix: str = "model"
    # The checkpoint's prefix, where it is another.
    checkpoint: str | None = None
    refused: str | None = None


@dataclasses.dataclass
class Model:
    name: str
    write: object
    # Small, and unlike the others: run in CI.
    ci: bool
    needs: str | None


def model(ci=False, needs=None):
    """The function writes a model into the folder that it is given and returns its calls (none: the one of `Call()`)."""

    def add(function):
        MODELS.append(Model(function.__name__, function, ci, needs))
        return function

    return add


def noise(*shape, dtype=np.float32, seed=7):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def spec(*shape, dtype=tf.float32, name="x"):
    return tf.TensorSpec(shape, dtype, name)


def save(module, folder, function=None, **signatures):
    """A tf.Module with its signature, or several by their keys."""
    tf.saved_model.save(module, str(folder), signatures=signatures or (function or module.__call__))
