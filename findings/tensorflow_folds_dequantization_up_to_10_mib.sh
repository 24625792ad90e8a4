#!/usr/bin/env bash
# TensorFlow 2.21.0: a session computes a dequantized weight once, or in every run: its size decides, at 10 MiB.
#
# Guess: constant folding treats all constants alike. Codes behind Cast and Mul are computed when the session prepares the graph, so that
# a packed model runs as fast as the float one and takes the memory of the float one.
# Seen: a weight of up to 10 MiB as float32 is folded. One with a row more keeps its Cast and Mul, which run in every call (the call takes
# several times as long), since a fold that makes a constant of more than 10 MiB larger than it was is refused. A model can have both kinds.
#
# Output (without times):
#   1024 x 2560: 10485760 bytes as float32, Cast and Mul folded
#   1024 x 2561: 10489856 bytes as float32, Cast and Mul run in every call
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

v1 = tf.compat.v1


def ops_that_run(rows, columns):
    with tf.Graph().as_default() as graph:
        codes = tf.constant(np.arange(rows * columns, dtype=np.int64).astype(np.int8).reshape(rows, columns))
        weight = tf.cast(codes, tf.float32) * tf.constant(0.5)
        x = v1.placeholder(tf.float32, [1, rows])
        y = tf.matmul(x, weight)
        with v1.Session(graph=graph) as session:
            options, seen = v1.RunOptions(output_partition_graphs=True), v1.RunMetadata()
            session.run(y, {x: np.zeros((1, rows), np.float32)}, options=options, run_metadata=seen)
            return {node.op for part in seen.partition_graphs for node in part.node}


for columns, folded in ((2560, True), (2561, False)):
    run = {"Cast", "Mul"} & ops_that_run(1024, columns)
    print(f"1024 x {columns}: {1024 * columns * 4} bytes as float32, Cast and Mul {'folded' if not run else 'run in every call'}")
    assert run == (set() if folded else {"Cast", "Mul"}), run
PYTHON
