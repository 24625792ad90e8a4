"""Graphs in text form, as TensorFlow writes and reads them.

    text_form.py make SEED COUNT > frames      graphs: for each, TensorFlow's binary form and its text in one of many styles
    text_form.py check < frames                for each: TensorFlow's binary form, our binary form of its text, our text

A frame is a length of 8 bytes, little endian, and that many bytes.
"""

import difflib
import random
import struct
import sys

import tensorflow as tf
from google.protobuf import descriptor, text_format
from tensorflow.core.framework import graph_pb2

STYLES = [
    {},
    {"as_one_line": True},
    {"as_one_line": True, "use_short_repeated_primitives": True},
    {"use_short_repeated_primitives": True},
    {"pointy_brackets": True},
    {"as_utf8": True},
    {"as_utf8": True, "as_one_line": True, "pointy_brackets": True, "use_short_repeated_primitives": True},
    {"use_index_order": True},
]

FLOATS = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, 0.1, 1 / 3, 16777216.0]


def emit(data):
    sys.stdout.buffer.write(struct.pack("<Q", len(data)) + data)


def frames():
    while header := sys.stdin.buffer.read(8):
        (length,) = struct.unpack("<Q", header)
        data = sys.stdin.buffer.read(length)
        assert len(data) == length
        yield data


def scalar(rng, field):
    kind = descriptor.FieldDescriptor
    bits = rng.choice([3, 8, 31, 63])
    if field.type in (kind.TYPE_INT32, kind.TYPE_INT64):
        return max(-(2**31), rng.randrange(-(2**bits), 2**bits) >> (32 if field.type == kind.TYPE_INT32 else 0))
    if field.type == kind.TYPE_UINT32:
        return rng.randrange(2 ** min(bits, 32))
    if field.type in (kind.TYPE_UINT64, kind.TYPE_FIXED64):
        return rng.randrange(2 ** (bits + 1))
    if field.type == kind.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == kind.TYPE_FLOAT:
        if rng.random() < 0.3:
            return rng.choice(FLOATS)
        return struct.unpack("<f", struct.pack("<I", rng.randrange(2**32)))[0]
    if field.type == kind.TYPE_DOUBLE:
        if rng.random() < 0.3:
            return rng.choice([*FLOATS, 5e-324, 1.7976931348623157e308])
        return struct.unpack("<d", struct.pack("<Q", rng.randrange(2**64)))[0]
    if field.type == kind.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 5, 40]))
    if field.type == kind.TYPE_STRING:
        return "".join(rng.choice("ab/_:^0\"'\\\n\t\r\x00\x7f\u00e9\u4e2d\U0001f600") for _ in range(rng.randrange(9)))
    assert field.type == kind.TYPE_ENUM
    return rng.choice(field.enum_type.values).number


def fill(rng, message, depth):
    """Gives a message random fields; every field of the schema comes up."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.5 or (depth > 7 and field.message_type):
            continue
        many = rng.randrange(4)
        if field.message_type and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            for _ in range(many):
                entry = getattr(message, field.name)
                if value.message_type:
                    fill(rng, entry[scalar(rng, key)], depth + 1)
                else:
                    entry[scalar(rng, key)] = scalar(rng, value)
        elif field.message_type:
            if field.is_repeated:
                for _ in range(many):
                    fill(rng, getattr(message, field.name).add(), depth + 1)
            else:
                getattr(message, field.name).SetInParent()
                fill(rng, getattr(message, field.name), depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(scalar(rng, field) for _ in range(many))
        else:
            setattr(message, field.name, scalar(rng, field))


def real_graph():
    """A graph with functions, a loop and a branch."""

    @tf.function
    def step(x):
        for _ in tf.range(3):
            x = tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x) * 0.5, lambda: x - 1.0)
        return tf.matmul(x, tf.constant([[1.0, 2.0], [3.0, float("inf")]])), tf.strings.join(["a\n", "\u00e9"])

    return step.get_concrete_function(tf.TensorSpec([None, 2], tf.float32)).graph.as_graph_def()


def demand_same(expected, found, what):
    # Bytes are compared, so that a NaN equals itself.
    if expected.SerializeToString(deterministic=True) != found.SerializeToString(deterministic=True):
        lines = [text_format.MessageToString(graph).splitlines() for graph in (expected, found)]
        sys.exit("\n".join([what, *list(difflib.unified_diff(*lines, "expected", "found", lineterm=""))[:60]]))


def make(seed, count):
    rng = random.Random(seed)
    for number in range(count):
        if number < len(STYLES):
            graph = real_graph()
        else:
            graph = graph_pb2.GraphDef()
            fill(rng, graph, 0)
        text = text_format.MessageToString(graph, **STYLES[number % len(STYLES)])
        # What TensorFlow itself makes of the text is the measure.
        read = text_format.Parse(text, graph_pb2.GraphDef())
        emit(read.SerializeToString())
        emit(text.encode())


def check():
    data = list(frames())
    assert len(data) % 3 == 0
    for number, (theirs, ours, text) in enumerate(zip(data[::3], data[1::3], data[2::3])):
        expected = graph_pb2.GraphDef.FromString(theirs)
        demand_same(expected, graph_pb2.GraphDef.FromString(ours), f"graph {number}: our binary form of TensorFlow's text")
        read = text_format.Parse(text, graph_pb2.GraphDef())
        demand_same(expected, read, f"graph {number}: TensorFlow's reading of our text")
    print(len(data) // 3)


if sys.argv[1] == "make":
    make(int(sys.argv[2]), int(sys.argv[3]))
else:
    check()
