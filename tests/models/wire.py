"""A GraphDef written node by node on the protobuf wire, with the standard library alone.

TensorFlow cannot make graphs of the sizes wanted here without holding them several times in memory; a file that is written as a
stream can be of any size. Field numbers are those of TensorFlow's graph.proto, node_def.proto, attr_value.proto, tensor.proto,
tensor_shape.proto, types.proto and versions.proto.
"""

import array
import pathlib
import random
import sys

DT_FLOAT = 1
PRODUCER = 2474  # the graph version that TensorFlow 2.21 writes


def varint(value):
    """Base-128, least significant group first; negative numbers as 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def head(field, length):
    """Tag and length of a length-delimited field whose payload follows."""
    return varint(field << 3 | 2) + varint(length)


def chunk(field, payload):
    if isinstance(payload, str):
        payload = payload.encode()
    return head(field, len(payload)) + payload


def attr(name, value):
    """One entry of NodeDef.attr, from an encoded AttrValue."""
    return chunk(5, chunk(1, name) + chunk(2, value))


def dtype_attr(name, dtype=DT_FLOAT):
    return attr(name, number(6, dtype))


def bool_attr(name, value):
    return attr(name, number(5, int(value)))


def shape(dims):
    """A TensorShapeProto."""
    return b"".join(chunk(2, number(1, dim)) for dim in dims)


def node(name, op, inputs=(), attrs=b""):
    """One GraphDef.node."""
    body = chunk(1, name) + chunk(2, op) + b"".join(chunk(3, source) for source in inputs) + attrs
    return chunk(1, body)


def placeholder(name, dims):
    return node(name, "Placeholder", attrs=dtype_attr("dtype") + attr("shape", chunk(7, shape(dims))))


def matmul(name, left, right):
    attrs = dtype_attr("T") + bool_attr("transpose_a", False) + bool_attr("transpose_b", False)
    return node(name, "MatMul", (left, right), attrs)


def const_head(name, dims):
    """Everything of a float32 Const node before the `4 * product(dims)` bytes of its tensor_content, which end it."""
    length = 4
    for dim in dims:
        length *= dim
    # The lengths of the enclosing messages, from the inside out; tensor_content is the last field of each.
    tensor = number(1, DT_FLOAT) + chunk(2, shape(dims)) + head(4, length)
    value = head(8, len(tensor) + length) + tensor
    entry = chunk(1, "value") + head(2, len(value) + length) + value
    body = chunk(1, name) + chunk(2, "Const") + dtype_attr("dtype") + head(5, len(entry) + length) + entry
    return head(1, len(body) + length) + body


def const(name, dims, content):
    return const_head(name, dims) + content


def versions():
    """GraphDef.versions."""
    return chunk(4, number(1, PRODUCER) + number(2, 12))


def normal(count, deviation, seed):
    """`count` seeded normal float32 values as little-endian bytes."""
    draw = random.Random(seed).gauss
    values = array.array("f", (draw(0.0, deviation) for _ in range(count)))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def models_folder():
    """`target/models` of this tree."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "target" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
