"""Checkpoints as TensorFlow writes them, and what is in them.

    checkpoints.py FOLDER
    checkpoints.py read PREFIX ...

Writes FOLDER/saver (tf.compat.v1.train.Saver: reference and resource variables, partitioned ones, many types), FOLDER/sharded (one data
file per device), FOLDER/object (tf.train.Checkpoint), FOLDER/saved_model, FOLDER/sliced (tensors
cut in parts, in several data files), FOLDER/many (more than one block of index) and FOLDER/v1 (version 1). Prints {prefix: {name: [element type, shape, bytes in hex]}} as JSON; for strings null instead of the bytes, and behind it
the list of the strings.
With `read`, the same of checkpoints that are there; a Saver has then restored the same as the reader read.
tests/golden/checkpoint holds the first of them, as TensorFlow 2.21 wrote it.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
rng = np.random.default_rng(7)


def noise(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


SINGLE = {
    "a/w": noise(3, 4),
    "half": noise(5, dtype=np.float16),
    "double": noise(2, 1, 3, dtype=np.float64),
    "bfloat16": noise(7).astype(tf.bfloat16.as_numpy_dtype),
    "int8": np.arange(-4, 5, dtype=np.int8),
    "int64": np.int64(-7),
    "bool": np.array([True, False]),
    "empty": np.zeros([0, 3], np.float32),
    "complex": np.array([1 + 2j], np.complex64),
    "sch\u00f6n": noise(1),
    "string": np.array([b"abc", b""], object),
}
# Shape, and into how many parts along which axis.
PARTITIONED = {"columns": ((9, 130), 3, 1), "rows": ((130, 2), 2, 0), "cube": ((3, 5, 2), 5, 1), "line": ((17,), 4, 0)}


def save_saver(path):
    values = dict(SINGLE)
    with tf.Graph().as_default():
        saved = {}
        for index, (name, value) in enumerate(SINGLE.items()):
            saved[name] = v1.get_variable(f"v{index}", initializer=tf.constant(value), use_resource=index % 2 == 0)
        for index, (name, (shape, count, axis)) in enumerate(PARTITIONED.items()):
            values[name] = noise(*shape)

            def part(shape, dtype=None, partition_info=None, whole=values[name]):
                box = tuple(slice(start, start + length) for start, length in zip(partition_info.var_offset, shape))
                return tf.constant(whole[box])

            splitter = v1.fixed_size_partitioner(count, axis=axis)
            variable = v1.get_variable(name, shape, initializer=part, partitioner=splitter, use_resource=index % 2 == 0)
            saved[name] = list(variable)
        saver = v1.train.Saver(saved)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            saver.save(session, str(path), write_meta_graph=False, write_state=False)
    return values


def save_sharded(path):
    with tf.Graph().as_default():
        values = {"first": noise(4, 4), "second": noise(3), "third": np.int32(5)}
        loaded = []
        for index, (name, value) in enumerate(values.items()):
            with tf.device(f"/cpu:{index % 2}"):
                loaded.append(v1.get_variable(name, initializer=value, use_resource=False))
        saver = v1.train.Saver(sharded=True)
        with v1.Session(config=v1.ConfigProto(device_count={"CPU": 2})) as session:
            session.run(v1.global_variables_initializer())
            saver.save(session, str(path), write_meta_graph=False, write_state=False)
        return values


def save_plain(path, values, version=v1.train.SaverDef.V2):
    with tf.Graph().as_default():
        items = {name: v1.get_variable(f"v{i}", initializer=value) for i, (name, value) in enumerate(values.items())}
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.train.Saver(items, write_version=version).save(session, str(path), write_meta_graph=False, write_state=False)
    return values


class Model(tf.Module):
    def __init__(self, shapes=((2, 1), (2, 2), (2, 3))):
        super().__init__()
        self.items = [tf.Variable(noise(*shape)) for shape in shapes]

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def run(self, x):
        return x * self.items[0][0, 0]


def expected(values):
    found = {}
    for name, value in values.items():
        value = np.asarray(value)
        if value.dtype == object:
            strings = [text.hex() for text in value.ravel()]
            found[name] = [int(tf.string.as_datatype_enum), list(value.shape), None, strings]
        else:
            found[name] = [int(tf.as_dtype(value.dtype).as_datatype_enum), list(value.shape), value.tobytes().hex()]
    return found


def read_back(prefix):
    reader = tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    values = {}
    for name, dtype in reader.get_variable_to_dtype_map().items():
        value = reader.get_tensor(name)
        # An array of strings has lost its type, and a single one is no array.
        values[name] = np.array(value, object).reshape(shapes[name]) if dtype == tf.string else value
    return values


def restored(prefix, values):
    """What a Saver restores into variables of these types and shapes."""
    reader = tf.train.load_checkpoint(str(prefix))
    types, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    with tf.Graph().as_default():
        variables = {}
        for index, name in enumerate(values):
            initial = v1.placeholder_with_default(tf.zeros(shapes[name], types[name]), shapes[name])
            variables[name] = v1.get_variable(f"v{index}", initializer=initial, use_resource=True)
        with v1.Session() as session:
            v1.train.Saver(variables).restore(session, str(prefix))
            return session.run(variables)


def read(prefix):
    values = read_back(prefix)
    answer = expected(values)
    again = restored(prefix, values)
    for name, value in values.items():
        found = np.asarray(again[name], value.dtype).reshape(np.shape(value)) if np.asarray(value).dtype == object else again[name]
        assert expected({name: found})[name] == answer[name], f"{prefix}: {name} is restored otherwise"
    return answer


def main():
    if sys.argv[1] == "read":
        return json.dump({prefix: read(prefix) for prefix in sys.argv[2:]}, sys.stdout)
    folder = pathlib.Path(sys.argv[1])
    answer = {"saver": expected(save_saver(folder / "saver")), "sharded": expected(save_sharded(folder / "sharded"))}
    # TensorFlow begins a new block after 256 KiB: names that share nothing fill one quickly.
    names = [f"{rng.integers(1 << 32):08x}" + "/long" * 200 for _ in range(400)]
    answer["many"] = expected(save_plain(folder / "many", {name: noise(1) for name in names}))
    tf.train.Checkpoint(model=Model()).write(str(folder / "object"))
    tf.saved_model.save(Model(), str(folder / "saved_model"))
    # Cuts tensors where a data file is full, in inner dimensions too.
    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=4096)
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=policy)
    tf.saved_model.save(Model([(64, 65), (3,), (7, 5, 40)]), str(folder / "sliced"), options=options)
    for prefix in ["object", "saved_model/variables/variables", "sliced/variables/variables"]:
        answer[prefix] = expected(read_back(folder / prefix))
    save_plain(folder / "v1", {"w": noise(2)}, v1.train.SaverDef.V1)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
