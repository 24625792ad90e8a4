#!/usr/bin/env python3
"""Train a training graph with TensorFlow in Python as `tf-rewriter finetune --optimizer sgd` does, all samples in one step.

    loss_curve.py GRAPH.pb DATA.npz --init NAME --epochs N --lr RATE --momentum M VARIABLE...

Prints the loss of each epoch as JSON. The learning rate falls by half a cosine.
"""

import argparse
import json
import math

import numpy as np
import tensorflow.compat.v1 as tf

arguments = argparse.ArgumentParser()
arguments.add_argument("graph")
arguments.add_argument("data")
arguments.add_argument("--init")
arguments.add_argument("--epochs", type=int)
arguments.add_argument("--lr", type=float)
arguments.add_argument("--momentum", type=float)
arguments.add_argument("variables", nargs="+")
args = arguments.parse_args()

tf.disable_eager_execution()
graph_def = tf.GraphDef()
with open(args.graph, "rb") as file:
    graph_def.ParseFromString(file.read())
tf.import_graph_def(graph_def, name="")
graph = tf.get_default_graph()
logits = graph.get_tensor_by_name("logits:0")
labels = tf.placeholder(tf.int64, [None])
loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=tf.one_hot(labels, 10), logits=logits))
handles = [graph.get_tensor_by_name(f"{name}:0") for name in args.variables]
gradients = tf.gradients(loss, handles)

rate = tf.placeholder(tf.float32, [])
begin, steps = [], []
for handle, gradient in zip(handles, gradients):
    shape = gradient.shape
    momentum = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=shape, shared_name=handle.op.name + "/momentum")
    begin.append(tf.raw_ops.AssignVariableOp(resource=momentum, value=tf.zeros(shape)))
    steps.append(tf.raw_ops.ResourceApplyMomentum(var=handle, accum=momentum, lr=rate, grad=gradient, momentum=args.momentum))

data = np.load(args.data)
losses = []
with tf.Session() as session:
    session.run([graph.get_operation_by_name(args.init), graph.get_operation_by_name("quantization/init"), begin])
    for epoch in range(args.epochs):
        fed = 0.5 * args.lr * (1 + math.cos(math.pi * epoch / args.epochs))
        feed = {"image:0": data["image"], labels: data["label"], rate: fed}
        losses.append(float(session.run([loss, steps], feed)[0]))
print(json.dumps(losses))
