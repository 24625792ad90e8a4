"""Models that no frozen graph stands for: they write state, or read what is in no checkpoint."""

import keras
import tensorflow as tf

from .graphs import described, ready, saved_model, session, variable
from .made import Call, Meta, model, noise, save, spec, v1
from .modules import Layer, module


def refused(why, **feeds):
    return [Call(feeds=feeds, refused=why)]


@model(ci=True)
def writes_a_variable(folder):
    made = module(a=Layer(4, 4), count=tf.Variable(0.0))

    @tf.function(input_signature=[spec(None, 4)])
    def serve(x):
        made.count.assign_add(1.0)
        return made.a(x) * made.count

    made.serve = serve
    save(made, folder, serve)
    return refused("AssignAddVariableOp")


@model()
def writes_in_a_loop(folder):
    made = module(a=Layer(4, 4))

    @tf.function(input_signature=[spec(2, 4)])
    def serve(x):
        for _ in tf.range(2):
            x = made.a(x)
            made.a.w.assign(made.a.w * 0.5)
        return x

    made.serve = serve
    save(made, folder, serve)
    return refused("AssignVariableOp")


@model()
def draws_random_numbers(folder):
    made = module(a=Layer(4, 4), noise=tf.random.Generator.from_seed(5))

    @tf.function(input_signature=[spec(2, 4)])
    def serve(x):
        return made.a(x) + made.noise.normal([2, 4])

    made.serve = serve
    save(made, folder, serve)
    return refused("RngReadAndSkip")


@model()
def trains(folder):
    made = module(a=Layer(4, 4))

    @tf.function(input_signature=[spec(2, 4)])
    def serve(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(made.a(x) ** 2)
        made.a.w.assign_sub(0.1 * tape.gradient(loss, made.a.w))
        return loss

    made.serve = serve
    save(made, folder, serve)
    return refused("AssignSubVariableOp")


@model()
def trains_with_an_optimizer(folder):
    made = module(a=Layer(4, 4))
    made.optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    made.optimizer.build([made.a.w])

    @tf.function(input_signature=[spec(2, 4)])
    def serve(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(made.a(x) ** 2)
        made.optimizer.apply_gradients([(tape.gradient(loss, made.a.w), made.a.w)])
        return loss

    made.serve = serve
    save(made, folder, serve)
    return refused("AssignVariableOp")


@model()
def measures(folder):
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        y = tf.matmul(x, variable("w", 4, 3))
        # Local variables, which are not saved.
        mean, update = v1.metrics.mean(y)
        ready(running)
        builder = saved_model.Builder(str(folder))
        signature = described({"x": x}, {"mean": mean, "update": update}, "eval")
        builder.add_meta_graph_and_variables(running, ["eval"], {"eval": signature})
        builder.save()
    return [Call("eval", ("eval",), refused="a metric's variables, which are not saved and are written")]


@model()
def leaves_a_variable_out(folder):
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        kept, left = variable("kept", 4, 4), variable("left", 4, 3, seed=2)
        y = tf.matmul(tf.matmul(x, kept), left, name="y")
        assert y is not None
        ready(running)
        v1.train.Saver([kept]).save(running, str(folder / "model"))
    return [Meta({"x:0": noise(2, 4)}, ["y:0"], refused="left is not in the checkpoint")]


@model()
def has_no_checkpoint(folder):
    made = module(a=Layer(4, 4))

    @tf.function(input_signature=[spec(2, 4)])
    def serve(x):
        return made.a(x)

    made.serve = serve
    save(made, folder, serve)
    for path in (folder / "variables").iterdir():
        path.unlink()
    return refused("no checkpoint")
