"""tf.Module through `tf.saved_model.save`: calls, control flow, what is read of variables, types."""

import tensorflow as tf

from .made import Call, model, noise, save, spec


class Layer(tf.Module):
    def __init__(self, rows, columns, seed=1, name="w", dtype=tf.float32):
        super().__init__()
        self.w = tf.Variable(tf.cast(noise(rows, columns, seed=seed), dtype), name=name)

    def __call__(self, x):
        return tf.matmul(x, self.w)


def module(**parts):
    made = tf.Module()
    for name, part in parts.items():
        setattr(made, name, part)
    return made


@model(ci=True)
def nested_three_deep(folder):
    made = module(a=Layer(4, 4, 1), b=Layer(4, 4, 2), c=Layer(4, 3, 3))

    @tf.function
    def inner(x):
        return tf.nn.relu(made.a(x))

    @tf.function
    def middle(x):
        return inner(made.b(inner(x)))

    @tf.function(input_signature=[spec(None, 4)])
    def outer(x):
        return made.c(middle(x))

    made.outer = outer
    save(made, folder, outer)


@model(ci=True)
def one_body_called_twice(folder):
    made = module(a=Layer(4, 4, 1), b=Layer(4, 4, 2))

    @tf.function
    def apply(x, w):
        return tf.tanh(tf.matmul(x, w))

    @tf.function(input_signature=[spec(None, 4)])
    def twice(x):
        once = apply(x, made.a.w)
        return {"once": once, "twice": apply(once, made.b.w), "again": apply(x, made.a.w)}

    @tf.function(input_signature=[spec(None, 4)])
    def other(x):
        return apply(x, made.b.w) - 1.0

    made.twice, made.other = twice, other
    save(made, folder, serving_default=twice, other=other)
    return [Call(), Call("other")]


@model(ci=True)
def an_output_that_is_an_argument(folder):
    made = module(a=Layer(4, 2))

    @tf.function
    def same(x, y):
        return y, x

    @tf.function(input_signature=[spec(None, 4), spec(2, name="unused")])
    def serve(x, unused):
        first, second = same(x, made.a(x))
        return {"x": second, "y": first, "unused": unused}

    made.serve = serve
    save(made, folder, serve)


@model()
def variables_of_one_name(folder):
    made = module(a=Layer(3, 3, 1, "w"), b=Layer(3, 3, 2, "w"), c=module(a=Layer(3, 3, 3, "w")))

    @tf.function(input_signature=[spec(None, 3)])
    def serve(x):
        return made.c.a(made.b(made.a(x)))

    made.serve = serve
    save(made, folder, serve)


@model(ci=True)
def a_while_loop(folder):
    made = module(a=Layer(4, 4, 1), b=Layer(4, 4, 2))

    @tf.function(input_signature=[spec(None, 4), spec(dtype=tf.int32, name="n")])
    def serve(x, n):
        for _ in tf.range(n):
            x = tf.tanh(made.a(x))
            if tf.reduce_sum(x) > 0.0:
                x = x * 0.5
        return made.b(x)

    made.serve = serve
    save(made, folder, serve)
    return [Call(feeds={"n": 3}), Call(feeds={"n": 0})]


@model(ci=True)
def a_condition(folder):
    made = module(a=Layer(4, 4, 1), b=Layer(4, 4, 2))

    @tf.function(input_signature=[spec(None, 4), spec(dtype=tf.bool, name="flag")])
    def serve(x, flag):
        # Each branch reads a variable that the other one does not.
        return tf.cond(flag, lambda: made.a(x), lambda: tf.cond(x[0, 0] > 0.0, lambda: made.b(x), lambda: -x))

    made.serve = serve
    save(made, folder, serve)
    return [Call(feeds={"flag": True}), Call(feeds={"flag": False})]


@model()
def a_switch_case(folder):
    made = module(a=Layer(4, 4, 1), b=Layer(4, 4, 2))

    @tf.function(input_signature=[spec(None, 4), spec(dtype=tf.int32, name="which")])
    def serve(x, which):
        return tf.switch_case(which, [lambda: made.a(x), lambda: made.b(x), lambda: x])

    made.serve = serve
    save(made, folder, serve)
    return [Call(feeds={"which": which}) for which in (0, 1, 2)]


@model()
def a_loop_in_a_call_in_a_loop(folder):
    made = module(a=Layer(4, 4, 1))

    @tf.function
    def inner(x):
        return tf.while_loop(lambda i, _: i < 2, lambda i, x: (i + 1, tf.tanh(made.a(x))), (0, x))[1]

    @tf.function(input_signature=[spec(None, 4)])
    def serve(x):
        return tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, inner(x) + 0.1), (0, x))[1]

    made.serve = serve
    save(made, folder, serve)


@model(ci=True)
def rows_of_variables(folder):
    made = module(table=tf.Variable(noise(10, 3)), cube=tf.Variable(noise(2, 5, 4)))

    @tf.function(input_signature=[spec(2, 3, dtype=tf.int32, name="ids")])
    def serve(ids):
        return {
            "rows": tf.gather(made.table, ids),
            "embedding": tf.nn.embedding_lookup(made.table, ids),
            "of_batches": tf.gather(made.cube, ids % 5, batch_dims=1),
            "columns": tf.gather(made.cube, ids[0], axis=2),
            "places": tf.gather_nd(made.table, tf.stack([ids[0], ids[1] % 3], axis=1)),
        }

    made.serve = serve
    save(made, folder, serve)
    return [Call(feeds={"ids": [[0, 1, 3], [2, 0, 2]]})]


@model()
def the_shape_of_a_variable(folder):
    from tensorflow.python.ops import resource_variable_ops

    made = module(free=tf.Variable(noise(3, 4), shape=[None, 4]), a=Layer(4, 2))

    @tf.function(input_signature=[spec(None, 4)])
    def serve(x):
        shape = resource_variable_ops.variable_shape(made.free.handle, out_type=tf.int64)
        return {"shape": shape, "y": made.a(x) + tf.reduce_sum(made.free)}

    made.serve = serve
    save(made, folder, serve)


@model()
def a_gradient_of_its_own(folder):
    made = module(a=Layer(4, 4))

    @tf.custom_gradient
    def rounded(x):
        return tf.round(x * 4.0) / 4.0, lambda dy: dy

    @tf.function(input_signature=[spec(None, 4)])
    def serve(x):
        return rounded(made.a(x))

    made.serve = serve
    save(made, folder, serve)


@model()
def gradients_in_the_signature(folder):
    made = module(a=Layer(4, 4))

    @tf.function(input_signature=[spec(None, 4)])
    def serve(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.tanh(made.a(x)))
        return {"y": y, "dx": tape.gradient(y, x)}

    made.serve = serve
    save(made, folder, serve)


@model()
def compiled(folder):
    made = module(a=Layer(4, 4, 1), b=Layer(4, 2, 2))

    @tf.function(jit_compile=True)
    def inner(x):
        return tf.nn.relu(made.a(x)) + 1.0

    @tf.function(input_signature=[spec(2, 4)])
    def serve(x):
        return made.b(inner(x))

    made.serve = serve
    save(made, folder, serve)


@model(ci=True)
def element_types(folder):
    made = module(
        half=Layer(4, 3, 1, dtype=tf.float16),
        brain=Layer(4, 3, 2, dtype=tf.bfloat16),
        double=Layer(4, 3, 3, dtype=tf.float64),
        steps=tf.Variable(tf.range(3, dtype=tf.int64)),
        mask=tf.Variable([True, False, True]),
        bytes=tf.Variable(tf.constant([-3, 0, 5], tf.int8)),
        empty=tf.Variable(tf.zeros([0, 3])),
        scalar=tf.Variable(0.25),
    )

    @tf.function(input_signature=[spec(None, 4)])
    def serve(x):
        return {
            "half": made.half(tf.cast(x, tf.float16)),
            "brain": made.brain(tf.cast(x, tf.bfloat16)),
            "double": made.double(tf.cast(x, tf.float64)),
            "steps": made.steps + 1,
            "mask": tf.where(made.mask, tf.cast(made.bytes, tf.float32), made.scalar),
            "empty": tf.concat([made.empty, x[:, :3]], axis=0),
        }

    made.serve = serve
    save(made, folder, serve)


@model()
def strings_in_a_variable(folder):
    made = module(words=tf.Variable(["one", "", "three"]))

    @tf.function(input_signature=[spec(None, dtype=tf.int32, name="ids")])
    def serve(ids):
        return tf.strings.join([tf.gather(made.words, ids), "!"])

    made.serve = serve
    save(made, folder, serve)
    return [Call(feeds={"ids": [2, 0, 1]})]


@model(ci=True)
def tensors_in_slices(folder):
    made = module(a=Layer(64, 65, 1), b=Layer(65, 7, 2))

    @tf.function(input_signature=[spec(None, 64)])
    def serve(x):
        return made.b(made.a(x))

    made.serve = serve
    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=4096)
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=policy)
    tf.saved_model.save(made, str(folder), signatures=serve, options=options)


@model()
def a_sharded_checkpoint(folder):
    made = module(a=Layer(16, 16, 1), b=Layer(16, 16, 2), c=Layer(16, 4, 3))

    @tf.function(input_signature=[spec(None, 16)])
    def serve(x):
        return made.c(made.b(made.a(x)))

    made.serve = serve
    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=1500)
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=policy)
    tf.saved_model.save(made, str(folder), signatures=serve, options=options)


@model()
def a_table_with_an_asset(folder):
    words = folder.parent / "a_table_with_an_asset.txt"
    words.write_text("zero\none\ntwo\n")
    ids = tf.lookup.TextFileInitializer(
        str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    made = module(table=tf.lookup.StaticHashTable(ids, -1), rows=tf.Variable(noise(4, 2)))

    @tf.function(input_signature=[spec(None, dtype=tf.string, name="words")])
    def serve(words):
        return tf.gather(made.rows, made.table.lookup(words) + 1)

    made.serve = serve
    save(made, folder, serve)
    return [Call(feeds={"words": [b"two", b"none", b"zero"]})]


@model()
def a_table_of_constants(folder):
    pairs = tf.lookup.KeyValueTensorInitializer(tf.constant([3, 5], tf.int64), tf.constant([1.5, -2.0]))
    made = module(table=tf.lookup.StaticHashTable(pairs, 9.0), scale=tf.Variable(2.0))

    @tf.function(input_signature=[spec(None, dtype=tf.int64, name="keys")])
    def serve(keys):
        return made.table.lookup(keys) * made.scale

    made.serve = serve
    save(made, folder, serve)
    return [Call(feeds={"keys": [5, 4, 3]})]


@model()
def ops_with_several_results(folder):
    made = module(a=Layer(6, 6), mean=tf.Variable(noise(3)), variance=tf.Variable(tf.abs(noise(3, seed=2)) + 0.5))

    @tf.function
    def inner(x):
        values, indices = tf.math.top_k(made.a(x), 3)
        u, where = tf.unique(tf.reshape(indices, [-1]))
        first, second = tf.split(x, [2, 4], axis=1)
        return values, u, where, first, second

    @tf.function(input_signature=[spec(2, 6)])
    def serve(x):
        values, u, where, first, second = inner(x)
        image = tf.reshape(x, [1, 2, 2, 3])
        normal = tf.compat.v1.nn.fused_batch_norm(
            image, made.mean, made.variance, made.mean, made.variance, is_training=False
        )[0]
        return {"values": values, "u": u, "where": where, "first": first, "second": second, "normal": normal}

    made.serve = serve
    save(made, folder, serve)
