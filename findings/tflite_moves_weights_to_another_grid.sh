#!/usr/bin/env bash
# TensorFlow 2.21.0, TFLite converter: fake-quantized weights keep their grid at 8 and 4 bits only.
#
# Guess: FakeQuantWithMinMaxVars with num_bits 3, 5, 6 or 7 converts to codes whose values are those that the op gave in training,
# in int8 or int4 storage, or is refused.
# Seen: the range is kept and cut into 254 steps (5 to 7 bits) or 14 (3 bits) anew, so that scale / step is 63/127, 31/127, 15/127, 3/7.
# Hardly a code then falls on a value of training. At 3 bits a weight moves by up to a seventh of its step, and the output of one layer by
# 10 steps of its own 8-bit grid. There is no message.
#
# Output:
#   8 bits: int8, scale / step of training 1.0000, largest move of a weight 0.000 steps, of an output 0.0
#   7 bits: int8, scale / step of training 0.4961, largest move of a weight 0.244 steps, of an output 1.0
#   6 bits: int8, scale / step of training 0.2441, largest move of a weight 0.118 steps, of an output 1.0
#   5 bits: int8, scale / step of training 0.1181, largest move of a weight 0.055 steps, of an output 1.0
#   4 bits: int8, scale / step of training 1.0000, largest move of a weight 0.000 steps, of an output 1.0
#   3 bits: int8, scale / step of training 0.4286, largest move of a weight 0.143 steps, of an output 10.0
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
largest = float(np.abs(weight).max())
samples = rng.random((32, 1, 8, 8, 4), dtype=np.float32)
for bits in (8, 7, 6, 5, 4, 3):

    def trained(bits=bits):
        return tf.quantization.fake_quant_with_min_max_vars(weight, -largest, largest, num_bits=bits, narrow_range=True)

    def net(x):
        x = tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 1.0)
        return tf.quantization.fake_quant_with_min_max_vars(tf.nn.conv2d(x, trained(), 1, "VALID"), -3.0, 3.0)

    function = tf.function(net, input_signature=[tf.TensorSpec([1, 8, 8, 4])])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    source, sink = (d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details()))
    moved = 0.0
    for sample in samples:
        interpreter.set_tensor(source, sample)
        interpreter.invoke()
        moved = max(moved, float(np.abs(interpreter.get_tensor(sink) - function(sample).numpy()).max() / (6 / 255)))
    (stored,) = (d for d in interpreter.get_tensor_details() if tuple(d["shape"]) == (8, 3, 3, 4))
    step = 2 * largest / (2**bits - 2)
    scale = stored["quantization"][0]
    values = interpreter.get_tensor(stored["index"]).astype(np.float32).transpose(1, 2, 3, 0) * scale
    shift = float(np.abs(values - trained().numpy()).max() / step)
    print(f"{bits} bits: {stored['dtype'].__name__}, scale / step of training {scale / step:.4f}, "
          f"largest move of a weight {shift:.3f} steps, of an output {moved:.1f}")
    kept = bits in (8, 4)
    assert (abs(scale / step - 1) < 1e-3) == kept and (shift < 1e-3) == kept
    assert (moved > 5) == (bits == 3)
PYTHON
