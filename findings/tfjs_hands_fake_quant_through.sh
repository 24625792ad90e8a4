#!/usr/bin/env bash
# TensorFlow.js 4.22.0: FakeQuantWithMinMaxVars in a graph model does nothing.
#
# Guess: a quantization-aware graph gives the quantized values, or loading it fails with "unknown op".
# Seen: the op is accepted and hands its input through, unclipped and unrounded, so that the model in the browser is the float
# model. TensorFlow 2.21.0 answers 0, 0, 4, 6 for the same four values.
#
# Output:
#   tfjs 4.22.0: 2 bits in [0, 6] of [ -5, 0.75, 3.5, 99 ] gives [ -5, 0.75, 3.5, 99 ]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts @tensorflow/tfjs@4.22.0
cat > fake_quant.mjs <<'JAVASCRIPT'
import * as tf from '@tensorflow/tfjs';

const float = {type: 'DT_FLOAT'};
const constant = (name) => ({name, op: 'Const', input: [],
  attr: {dtype: float, value: {tensor: {dtype: 'DT_FLOAT', tensorShape: {}}}}});
const modelTopology = {node: [
  {name: 'x', op: 'Placeholder', input: [], attr: {dtype: float, shape: {shape: {dim: [{size: '4'}]}}}},
  constant('low'), constant('high'),
  {name: 'y', op: 'FakeQuantWithMinMaxVars', input: ['x', 'low', 'high'], attr: {num_bits: {i: '2'}, narrow_range: {b: false}}},
], library: {}, versions: {producer: 1}};
const weightSpecs = ['low', 'high'].map((name) => ({name, shape: [], dtype: 'float32'}));
const weightData = new Float32Array([0, 6]).buffer;
const model = await tf.loadGraphModel({load: async () => ({modelTopology, weightSpecs, weightData, format: 'graph-model'})});
const values = [-5, 0.75, 3.5, 99];
const got = Array.from(model.predict(tf.tensor1d(values)).dataSync());
console.log(`tfjs ${tf.version.tfjs}: 2 bits in [0, 6] of`, values, 'gives', got);
if (JSON.stringify(got) !== JSON.stringify(values)) {
  throw new Error('the op does something now');
}
JAVASCRIPT
node fake_quant.mjs 2>/dev/null
