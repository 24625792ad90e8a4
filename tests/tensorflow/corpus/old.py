"""Models that older versions of TensorFlow wrote: tests/models/make_old_saved_models.py made them, and what they compute."""

import pathlib
import shutil

import numpy as np

from .made import Call, model

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "models" / "saved_models"


def copied(version, name, folder):
    """The model, and its call with what that version computed."""
    shutil.copytree(FOLDER / version / name, folder, dirs_exist_ok=True)
    arrays = np.load(FOLDER / version / f"{name}.npz")
    part = lambda kind: {key[len(kind) :]: arrays[key] for key in arrays if key.startswith(kind)}  # noqa: E731
    return [Call(feeds=part("in."), expected=part("out."))]


@model(ci=True)
def trained_cnn_of_2_12(folder):
    return copied("2.12", "trained_cnn", folder)


@model(ci=True)
def lstm_of_2_12(folder):
    return copied("2.12", "lstm", folder)


@model(ci=True)
def session_of_2_12(folder):
    return copied("2.12", "session", folder)
