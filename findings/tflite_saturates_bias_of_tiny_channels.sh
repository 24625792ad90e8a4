#!/usr/bin/env bash
# TensorFlow 2.21.0, TFLite converter: a channel with tiny weights loses its bias when ranges come as fake quants.
#
# Guess: both ways to a full-integer model, post-training with samples and FakeQuant ops in the graph, handle a bias that
# does not fit int32 at scale s_in * s_w alike, or the converter says that it cannot.
# Seen: post-training conversion widens that channel's weight scale until the bias is 2^30. With fake quants it keeps the scale,
# saturates the bias at 2^31 - 1 without a word, and the channel is off by 40 output steps. TensorFlow itself runs the same
# graph correctly.
#
# Output:
#   post-training: bias codes [1073741824 1073741824] error in steps of 6/255 [0.1 0.1 0.7 0.8 1.  0.6 1.1 0.7]
#   fake quants:   bias codes [2147483647 2147483647] error in steps of 6/255 [41. 44.  0.  0.  0.  1.  0.  1.]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tensorflow-cpu==2.21.0
export CUDA_VISIBLE_DEVICES= TF_CPP_MIN_LOG_LEVEL=3
venv/bin/python - <<'PYTHON' 2>errors.log || { cat errors.log; exit 1; }
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
weight = rng.standard_normal((3, 3, 4, 8)).astype(np.float32) * 0.2
bias = rng.standard_normal(8).astype(np.float32) * 0.3
weight[..., 0] *= 1e-9  # two channels that training has all but switched off
weight[..., 1] *= 1e-7
bias[:2] = 1.0
largest = np.abs(weight).max((0, 1, 2))
samples = rng.random((64, 1, 8, 8, 4), dtype=np.float32)


def plain(x):
    return tf.nn.bias_add(tf.nn.conv2d(x, weight, 1, "VALID"), bias)


def with_fake_quants(x):
    x = tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 1.0)
    quantized = tf.quantization.fake_quant_with_min_max_vars_per_channel(weight, -largest, largest, narrow_range=True)
    y = tf.nn.bias_add(tf.nn.conv2d(x, quantized, 1, "VALID"), bias)
    return tf.quantization.fake_quant_with_min_max_vars(y, -3.0, 3.0)


def convert(net, representative):
    function = tf.function(net, input_signature=[tf.TensorSpec([1, 8, 8, 4])])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if representative:
        converter.representative_dataset = lambda: ([sample] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    source, sink = (d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details()))
    error = np.zeros(8)
    for sample in samples:
        interpreter.set_tensor(source, sample)
        interpreter.invoke()
        error = np.maximum(error, np.abs(interpreter.get_tensor(sink) - function(sample).numpy()).max((0, 1, 2)))
    biases = [interpreter.get_tensor(d["index"]) for d in interpreter.get_tensor_details() if d["dtype"] == np.int32]
    return error / (6 / 255), biases[0]


error, codes = convert(plain, True)
print("post-training: bias codes", codes[:2], "error in steps of 6/255", error.round(1))
assert (codes[:2] == 2**30).all() and error.max() < 2
error, codes = convert(with_fake_quants, False)
print("fake quants:   bias codes", codes[:2], "error in steps of 6/255", error.round(1))
assert (codes[:2] == 2**31 - 1).all() and error[:2].min() > 30 and error[2:].max() < 2
PYTHON
