#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: model.export writes every weight twice.
#
# Guess: the bundle of an exported model is as large as its weights, as tf.saved_model.save makes it of the same model.
# Seen: the checkpoint holds each variable under `variables/N` and again under `_all_variables/N`, so that it is twice as large, and
# whoever rewrites one of the two keys (to quantize, say) has a model that two readers read differently.
#
# Output:
#   model.export: bundle / weights 2.001, keys 4 of variables/, 4 of _all_variables/
#   tf.saved_model.save: bundle / weights 1.002, keys 0 of variables/, 0 of _all_variables/
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tensorflow-cpu==2.21.0 keras==3.15.1
export CUDA_VISIBLE_DEVICES= TF_CPP_MIN_LOG_LEVEL=3
venv/bin/python - <<'PYTHON' 2>errors.log || { cat errors.log; exit 1; }
import os

import keras
import tensorflow as tf

layers = [keras.layers.Input((256,)), keras.layers.Dense(1024), keras.layers.Dense(10)]
model = keras.Sequential(layers)
model.export("exported", verbose=False)
tf.saved_model.save(model, "saved")
weights = 4 * model.count_params()
for way, folder, times in (("model.export", "exported", 2), ("tf.saved_model.save", "saved", 1)):
    prefix = f"{folder}/variables/variables"
    keys = [key for key, _ in tf.train.list_variables(prefix)]
    counts = [sum(key.startswith(start) for key in keys) for start in ("variables/", "_all_variables/")]
    ratio = os.path.getsize(f"{prefix}.data-00000-of-00001") / weights
    print(f"{way}: bundle / weights {ratio:.3f}, keys {counts[0]} of variables/, {counts[1]} of _all_variables/")
    assert round(ratio) == times and counts == ([4, 4] if times == 2 else [0, 0])
PYTHON
