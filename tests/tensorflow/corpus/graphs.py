"""TensorFlow 1: graphs and sessions, the SavedModel builder, control flow of both versions, tables, and .meta files."""

import contextlib

import numpy as np
import tensorflow as tf

from .made import Call, Meta, model, noise, v1

saved_model = v1.saved_model


@contextlib.contextmanager
def session(devices=1):
    """A graph of its own, with a session; variables are initialized by `ready`."""
    with tf.Graph().as_default():
        with v1.Session(config=v1.ConfigProto(device_count={"CPU": devices})) as running:
            yield running


def ready(running):
    running.run([v1.global_variables_initializer(), v1.local_variables_initializer()])


@contextlib.contextmanager
def control_flow(version):
    before = v1.control_flow_v2_enabled()
    (v1.enable_control_flow_v2 if version == 2 else v1.disable_control_flow_v2)()
    try:
        yield
    finally:
        (v1.enable_control_flow_v2 if before else v1.disable_control_flow_v2)()


def variable(name, *shape, seed=1, **options):
    options.setdefault("use_resource", False)
    return v1.get_variable(name, initializer=noise(*shape, seed=seed), **options)


def simple_save(running, folder, inputs, outputs):
    ready(running)
    saved_model.simple_save(running, str(folder), inputs, outputs)


def described(inputs, outputs, method="tensorflow/serving/predict"):
    info = saved_model.build_tensor_info
    return saved_model.build_signature_def(
        {key: info(tensor) for key, tensor in inputs.items()}, {key: info(tensor) for key, tensor in outputs.items()}, method
    )


@model(ci=True)
def graph_with_references(folder):
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 8, 8, 3], name="image")
        y = tf.nn.bias_add(tf.nn.conv2d(x, variable("conv/w", 3, 3, 3, 4), 1, "SAME"), variable("conv/b", 4))
        y = tf.reduce_mean(tf.nn.relu(y), [1, 2])
        simple_save(running, folder, {"image": x}, {"logits": tf.matmul(y, variable("dense/w", 4, 5), name="logits")})


@model()
def graph_with_resources(folder):
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 6], name="x")
        y = tf.matmul(x, variable("a", 6, 4, use_resource=True)) + variable("b", 4, use_resource=True)
        simple_save(running, folder, {"x": x}, {"y": tf.nn.softmax(y)})


@model(ci=True)
def graph_of_partitions(folder):
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 12], name="x")
        columns, rows = v1.fixed_size_partitioner(3, axis=1), v1.fixed_size_partitioner(4)
        w = v1.get_variable("w", [12, 9], initializer=v1.random_normal_initializer(seed=1), partitioner=columns)
        table = v1.get_variable(
            "table", [10, 9], initializer=v1.random_normal_initializer(seed=2), partitioner=rows, use_resource=True
        )
        ids = v1.placeholder(tf.int64, [None], name="ids")
        y = tf.matmul(x, w) + tf.gather(tf.convert_to_tensor(table), ids)
        simple_save(running, folder, {"x": x, "ids": ids}, {"y": y})
    return [Call(feeds={"ids": [3, 9], "x": noise(2, 12)})]


@model()
def graph_with_sharded_saver(folder):
    with session(devices=3) as running:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        y = x
        for number in range(3):
            with tf.device(f"/cpu:{number}"):
                w = variable(f"w{number}", 4, 4, seed=number)
            y = tf.tanh(tf.matmul(y, w))
        ready(running)
        builder = saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            running,
            ["serve"],
            {"serving_default": described({"x": x}, {"y": y})},
            saver=v1.train.Saver(sharded=True),
            clear_devices=True,
        )
        builder.save()


@model(ci=True)
def graphs_by_tags(folder):
    def network(x, factor):
        with v1.variable_scope("net", reuse=v1.AUTO_REUSE):
            return tf.matmul(x, variable("w", 4, 3)) * factor

    with session() as running:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        y = network(x, 2.0)
        ready(running)
        builder = saved_model.Builder(str(folder))
        train = described({"x": x}, {"loss": tf.reduce_sum(y)}, "train")
        builder.add_meta_graph_and_variables(running, ["train"], {"train": train})
        with tf.Graph().as_default():
            x = v1.placeholder(tf.float32, [None, 4], name="x")
            y = network(x, 1.0)
            signatures = {
                "serving_default": described({"x": x}, {"y": y}),
                "classify": described({"x": x}, {"class": tf.argmax(y, 1)}),
            }
            builder.add_meta_graph(["serve", "cpu"], signatures)
        builder.save()
    both = ("serve", "cpu")
    return [Call(tags=both), Call("classify", both), Call("train", ("train",))]


@model()
def graph_with_averages(folder):
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        w = variable("w", 4, 3)
        average = tf.train.ExponentialMovingAverage(0.5)
        update = average.apply([w])
        y = tf.matmul(x, w)
        # The average begins with the variable's value.
        running.run(w.initializer)
        ready(running)
        running.run(v1.assign(w, noise(4, 3, seed=9)))
        running.run(update)
        builder = saved_model.Builder(str(folder))
        # Restores w from its average.
        saver = v1.train.Saver(average.variables_to_restore())
        prefix = v1.train.Saver().save(running, str(folder.parent / "averages.ckpt"), write_meta_graph=False)
        saver.restore(running, prefix)
        saver = v1.train.Saver({"w/ExponentialMovingAverage": w})
        builder.add_meta_graph_and_variables(
            running, ["serve"], {"serving_default": described({"x": x}, {"y": y})}, saver=saver
        )
        builder.save()


def loops(folder, version, resource):
    with control_flow(version), session() as running:
        x = v1.placeholder(tf.float32, [2, 4], name="x")
        n = v1.placeholder(tf.int32, [], name="n")
        a, b = (variable(name, 4, 4, seed=seed, use_resource=resource) for name, seed in (("a", 1), ("b", 2)))
        _, y = v1.while_loop(lambda i, _: i < n, lambda i, x: (i + 1, tf.tanh(tf.matmul(x, a))), [0, x])
        y = v1.cond(tf.reduce_sum(x) > 0.0, lambda: tf.matmul(y, b), lambda: y * 2.0)
        simple_save(running, folder, {"x": x, "n": n}, {"y": y})
    up, down = np.abs(noise(2, 4)), -np.abs(noise(2, 4))
    return [Call(feeds={"x": up, "n": 3}), Call(feeds={"x": down, "n": 1})]


@model(ci=True)
def control_flow_v1(folder):
    return loops(folder, 1, False)


@model()
def control_flow_v1_with_resources(folder):
    return loops(folder, 1, True)


@model()
def control_flow_v2(folder):
    return loops(folder, 2, True)


@model()
def a_function_in_a_v1_loop(folder):
    with control_flow(1), session() as running:
        x = v1.placeholder(tf.float32, [2, 4], name="x")
        w = variable("w", 4, 4, use_resource=True)

        @tf.function
        def step(x):
            # A constant, which has no input that says in which frame it is.
            return tf.tanh(tf.matmul(x, w) + tf.constant(noise(4)))

        _, y = v1.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, step(x)), [0, x])
        y = v1.cond(x[0, 0] > 0.0, lambda: step(y), lambda: y)
        simple_save(running, folder, {"x": x}, {"y": y})
    return [Call(feeds={"x": np.abs(noise(2, 4))}), Call(feeds={"x": -np.abs(noise(2, 4))})]


@model()
def a_recurrent_graph(folder):
    with control_flow(1), session() as running:
        x = v1.placeholder(tf.float32, [2, 5, 3], name="x")
        w, b = variable("cell/w", 7, 16), variable("cell/b", 16)

        def step(state, x):
            c, h = state
            i, j, f, o = tf.split(tf.matmul(tf.concat([x, h], 1), w) + b, 4, 1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(j)
            return c, tf.sigmoid(o) * tf.tanh(c)

        _, h = tf.scan(step, tf.transpose(x, [1, 0, 2]), (tf.zeros([2, 4]), tf.zeros([2, 4])))
        simple_save(running, folder, {"x": x}, {"h": h[-1]})


def lookup(folder, initializer, **options):
    with session() as running:
        keys = v1.placeholder(tf.string, [None], name="keys")
        table = tf.lookup.StaticHashTable(initializer(), -1)
        y = tf.gather(variable("rows", 5, 2), table.lookup(keys) + 1)
        ready(running)
        running.run(v1.tables_initializer())
        builder = saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            running,
            ["serve"],
            {"serving_default": described({"keys": keys}, {"y": y})},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            **{key: value() for key, value in options.items()},
        )
        builder.save()
    return [Call(feeds={"keys": [b"two", b"none", b"zero"]})]


@model()
def graph_with_a_table(folder):
    pairs = lambda: tf.lookup.KeyValueTensorInitializer(["zero", "one", "two"], tf.constant([0, 1, 2], tf.int64))
    return lookup(folder, pairs, main_op=v1.tables_initializer)


@model()
def graph_with_an_asset(folder):
    words = folder.parent / "graph_with_an_asset.txt"
    words.write_text("zero\none\ntwo\n")
    index = tf.lookup.TextFileIndex
    lines = lambda: tf.lookup.TextFileInitializer(
        str(words), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
    )
    return lookup(folder, lines, legacy_init_op=v1.tables_initializer)


@model()
def graph_without_variables(folder):
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        saved_model.simple_save(running, str(folder), {"x": x}, {"y": tf.matmul(x, noise(4, 3))})


def network():
    x = v1.placeholder(tf.float32, [None, 6], name="x")
    w = variable("layer/w", 6, 4)
    y = tf.nn.relu(tf.matmul(x, w) + variable("layer/b", 4, seed=2), name="layer/out")
    return tf.matmul(y, variable("last/w", 4, 3, seed=3, use_resource=True), name="last/out")


@model(ci=True)
def meta_with_saver(folder):
    with session() as running:
        network()
        ready(running)
        v1.train.Saver().save(running, str(folder / "model"), global_step=100)
    return [Meta({"x:0": noise(2, 6)}, ["last/out:0", "layer/out:0"], "model-100")]


@model()
def meta_without_saver(folder):
    with session() as running:
        network()
        ready(running)
        v1.train.export_meta_graph(str(folder / "model.meta"))
        v1.train.Saver().save(running, str(folder / "model"), write_meta_graph=False)
    return [Meta({"x:0": noise(2, 6)}, ["last/out:0"])]


@model()
def meta_without_a_name(folder):
    # Nothing before the dots.
    with session() as running:
        network()
        ready(running)
        v1.train.Saver().save(running, str(folder / "model"))
    for path in list(folder.glob("model.*")):
        path.rename(folder / path.name.removeprefix("model"))
    return [Meta({"x:0": noise(2, 6)}, ["last/out:0"], "")]


@model()
def meta_of_a_training(folder):
    with session() as running:
        y = network()
        loss = tf.reduce_mean(tf.square(y))
        step = v1.train.get_or_create_global_step()
        train = v1.train.AdamOptimizer().minimize(loss, global_step=step)
        ready(running)
        for _ in range(2):
            running.run(train, {"x:0": noise(2, 6)})
        v1.train.Saver().save(running, str(folder / "model"), global_step=step)
    return [Meta({"x:0": noise(2, 6)}, ["last/out:0"], "model-2")]


@model()
def meta_of_partitions(folder):
    with session() as running:
        x = v1.placeholder(tf.float32, [None, 10], name="x")
        init, parts = v1.random_normal_initializer(seed=1), v1.fixed_size_partitioner(3)
        w = v1.get_variable("w", [10, 4], initializer=init, partitioner=parts)
        tf.matmul(x, w, name="y")
        ready(running)
        v1.train.Saver().save(running, str(folder / "model"))
    return [Meta({"x:0": noise(2, 10)}, ["y:0"])]
