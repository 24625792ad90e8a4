"""A training SavedModel, trained and saved by TensorFlow 1's API, and what the trained model computes.

    train_model.py MODEL TRAINED FEEDS.npz

Loads MODEL, moves its trainable variables for some steps by plain gradient descent (so that its outputs come near 1), and saves the session as the
SavedModel TRAINED. FEEDS has one array, for the one input of `serving_default`. Prints, as JSON: the names of the variables that were trained,
the largest change of any, and the outputs for FEEDS when nothing is learnt.

    train_model.py --run MODEL FEEDS.npz

Prints the outputs of `serving_default` of MODEL.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import tensorflow as tf

import plain_session

v1 = tf.compat.v1


def loaded(session, path):
    signature = v1.saved_model.loader.load(session, ["serve"], path).signature_def["serving_default"]
    (source,) = signature.inputs.values()
    (result,) = signature.outputs.values()
    return signature, source.name, session.graph.get_tensor_by_name(result.name)


def feed_of(path):
    (array,) = np.load(path).values()
    return array


def train(path, target, feeds):
    with tf.Graph().as_default() as graph, plain_session.session(graph) as session:
        signature, source, result = loaded(session, path)
        variables = v1.trainable_variables()
        before = session.run(variables)
        gradients = tf.gradients(tf.reduce_mean(tf.square(result - 1.0)), variables)
        steps = [variable.assign_sub(0.05 * gradient) for variable, gradient in zip(variables, gradients)]
        for _ in range(5):
            session.run(steps, {source: feeds})
        moved = max(float(np.abs(a - b).max()) for a, b in zip(before, session.run(variables)))
        outputs = session.run(result, {source: feeds, "quantization/is_training:0": False})
        builder = v1.saved_model.Builder(target)
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": signature})
        builder.save()
    return {"trained": [variable.op.name for variable in variables], "moved": moved, "outputs": outputs.tolist()}


def main(arguments):
    if arguments[0] == "--run":
        with tf.Graph().as_default() as graph, plain_session.session(graph) as session:
            _, source, result = loaded(session, arguments[1])
            found = session.run(result, {source: feed_of(arguments[2])}).tolist()
    else:
        found = train(arguments[0], arguments[1], feed_of(arguments[2]))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
