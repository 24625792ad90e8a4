#!/usr/bin/env bash
# tf_keras 2.21.0 on TensorFlow 2.21.0: save(save_traces=False) writes a SavedModel that nothing can serve.
#
# Guess: the functions of single layers are left out, which are most of a large file, and `serving_default` stays.
# Seen: no signature is left at all, not even `serving_default`; the file has 621 KB with traces and 16 KB without for an LSTM. TensorFlow's loader
# gives an object without a call, Serving and the C API have nothing to run, and no warning is given. Only Keras, with the classes at hand, makes the
# model again.
#
# Output:
#   save_traces=True: signatures ['serving_default']
#   save_traces=False: signatures []
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tensorflow-cpu==2.21.0 tf_keras==2.21.0
export CUDA_VISIBLE_DEVICES= TF_CPP_MIN_LOG_LEVEL=3
venv/bin/python - <<'PYTHON' 2>errors.log || { cat errors.log; exit 1; }
import tensorflow as tf
import tf_keras

layers = [tf_keras.Input((5, 3)), tf_keras.layers.LSTM(4), tf_keras.layers.Dense(2)]
model = tf_keras.Sequential(layers)
for traces, expected in ((True, ["serving_default"]), (False, [])):
    folder = f"traces_{traces}"
    model.save(folder, save_format="tf", save_traces=traces)
    found = list(tf.saved_model.load(folder).signatures)
    print(f"save_traces={traces}: signatures {found}")
    assert found == expected
PYTHON
