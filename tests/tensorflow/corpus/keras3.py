"""Keras 3: `export`, `ExportArchive` and `tf.saved_model.save`."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from .made import Call, model, noise, save, spec


def settled(network):
    """Moving statistics and other weights that are trivial at the start get values of their own."""
    rng = np.random.default_rng(3)
    for weight in network.weights:
        if weight.dtype == "float32":
            value = rng.standard_normal(weight.shape).astype(np.float32) * 0.3
            weight.assign(np.abs(value) + 0.5 if "variance" in weight.path else value)
    return network


def small_cnn():
    return settled(
        keras.Sequential(
            [
                keras.Input([16, 16, 3]),
                layers.Conv2D(4, 3, padding="same", use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(max_value=6.0),
                layers.DepthwiseConv2D(3, strides=2),
                layers.Flatten(),
                layers.Dense(5, activation="softmax"),
            ]
        )
    )


@model(ci=True)
def keras_export_cnn(folder):
    small_cnn().export(str(folder), verbose=False)
    return [Call(), Call("serve")]


@model(ci=True)
def keras_saved_by_tensorflow(folder):
    # Restores other variables than its signature reads: only the object graph leads from one to the other.
    tf.saved_model.save(small_cnn(), str(folder))


@model()
def keras_in_a_module(folder):
    class Wrapped(tf.Module):
        def __init__(self):
            super().__init__()
            self.network = small_cnn()

        @tf.function(input_signature=[spec(None, 16, 16, 3)])
        def __call__(self, x):
            return self.network(x, training=False) + 1.0

    save(Wrapped(), folder)


@model()
def keras_inverted_residuals(folder):
    def block(x, channels, stride):
        inner = x.shape[-1] * 3
        y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(inner, 1, use_bias=False)(x)))
        y = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(y)
        y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(channels, 1, use_bias=False)(y))
        return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y

    inputs = keras.Input([32, 32, 3])
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, 2, "same", use_bias=False)(inputs)))
    for channels, stride in [(8, 1), (12, 2), (12, 1), (16, 2), (16, 1)]:
        x = block(x, channels, stride)
    x = layers.Dense(7, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    settled(keras.Model(inputs, x)).export(str(folder), verbose=False)


@model()
def keras_two_outputs_and_a_shared_layer(folder):
    left, right = keras.Input([6], name="left"), keras.Input([6], name="right")
    shared = layers.Dense(4, activation="tanh", name="shared")
    a, b = shared(left), shared(right)
    both = layers.Concatenate()([a, b])
    outputs = {"score": layers.Dense(1, activation="sigmoid")(both), "distance": layers.Subtract()([a, b])}
    settled(keras.Model([left, right], outputs)).export(str(folder), verbose=False)


@model(ci=True)
def keras_archive_with_endpoints(folder):
    network = small_cnn()
    features = keras.Model(network.inputs, network.layers[-2].output)
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("classify", lambda x: network(x, training=False), input_signature=[spec(None, 16, 16, 3)])
    archive.add_endpoint("features", lambda x: features(x, training=False), input_signature=[spec(None, 16, 16, 3)])
    archive.write_out(str(folder), verbose=False)
    return [Call("classify"), Call("features"), Call("serving_default")]


def recurrent(folder, *inner):
    network = keras.Sequential([keras.Input([7]), layers.Embedding(30, 6), *inner, layers.Dense(3)])
    settled(network).export(str(folder), verbose=False)
    return [Call(feeds={None: np.arange(14, dtype=np.float32).reshape(2, 7)})]


@model(ci=True)
def keras_lstm(folder):
    return recurrent(folder, layers.LSTM(5))


@model()
def keras_gru(folder):
    return recurrent(folder, layers.GRU(5, return_sequences=True), layers.GRU(4, go_backwards=True))


@model()
def keras_bidirectional(folder):
    return recurrent(folder, layers.Bidirectional(layers.LSTM(4)))


@model()
def keras_rnn_cells(folder):
    return recurrent(folder, layers.RNN([layers.SimpleRNNCell(4), layers.LSTMCell(3)]))


@model()
def keras_attention(folder):
    inputs = keras.Input([5, 8])
    x = layers.LayerNormalization()(inputs)
    x = layers.Add()([inputs, layers.MultiHeadAttention(2, 4)(x, x)])
    x = layers.Dense(8)(layers.Dense(16, activation="gelu")(layers.LayerNormalization()(x)))
    settled(keras.Model(inputs, x)).export(str(folder), verbose=False)


@model()
def keras_trained(folder):
    # With an optimizer, whose slots are in the checkpoint.
    network = small_cnn()
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(noise(8, 16, 16, 3), np.arange(8) % 5, verbose=0)
    tf.saved_model.save(network, str(folder))


@model()
def keras_half_precision(folder):
    network = keras.Sequential(
        [
            keras.Input([8, 8, 2], dtype="float32"),
            layers.Conv2D(3, 3, dtype="mixed_float16"),
            layers.Flatten(dtype="float32"),
            layers.Dense(2, dtype="float32"),
        ]
    )
    settled(network).export(str(folder), verbose=False)


def old_keras(folder, *inner):
    import tf_keras

    network = tf_keras.Sequential([tf_keras.Input([7]), tf_keras.layers.Embedding(30, 6), *inner, tf_keras.layers.Dense(3)])
    network.save(str(folder), save_format="tf")
    return [Call(feeds={None: np.arange(14, dtype=np.float32).reshape(2, 7)})]


@model(needs="tf_keras")
def keras2_lstm(folder):
    import tf_keras

    return old_keras(folder, tf_keras.layers.LSTM(5))


@model(needs="tf_keras")
def keras2_gru_both_ways(folder):
    import tf_keras

    return old_keras(folder, tf_keras.layers.Bidirectional(tf_keras.layers.GRU(4)))


@model(needs="tf_keras")
def keras2_cnn(folder):
    import tf_keras

    network = tf_keras.Sequential(
        [
            tf_keras.Input([12, 12, 3]),
            tf_keras.layers.Conv2D(4, 3, activation="relu"),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.SeparableConv2D(3, 3),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(2),
        ]
    )
    network.save(str(folder), save_format="tf")
