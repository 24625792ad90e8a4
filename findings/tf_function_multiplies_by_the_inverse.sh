#!/usr/bin/env bash
# TensorFlow 2.21.0: inside tf.function, x / c with a constant c is not a division.
#
# Guess: float32 division is IEEE division in eager mode and in tf.function alike.
# Seen: grappler's constant folding, on by default, turns it into x * (1 / c). With c = 15 (the levels of a 4-bit
# quantizer) 63 % of normally distributed values differ in the last place; a formula that was written as `round(x * n) / n`
# does not give the bits that it gives in eager mode. The option `constant_folding: False` brings the division back.
#
# Output:
#   eager: differ from x / c: 0
#   tf.function, {}: differ from x / c: 632909, from x * (1 / c): 0
#   tf.function, {'constant_folding': False}: differ from x / c: 0, from x * (1 / c): 632909
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

x = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
c = np.float32(15)
quotient, product = x / c, x * (np.float32(1) / c)


def differ(values, reference):
    return int((values != reference).sum())


eager = (tf.constant(x) / c).numpy()
print("eager: differ from x / c:", differ(eager, quotient))
assert differ(eager, quotient) == 0
for options, is_quotient in (({}, False), ({"constant_folding": False}, True)):
    tf.config.optimizer.set_experimental_options(options)
    graph = tf.function(lambda v: v / 15.0)(tf.constant(x)).numpy()
    print(f"tf.function, {options}: differ from x / c: {differ(graph, quotient)}, from x * (1 / c): {differ(graph, product)}")
    assert (differ(graph, quotient) == 0) == is_quotient
    assert (differ(graph, product) == 0) != is_quotient
PYTHON
