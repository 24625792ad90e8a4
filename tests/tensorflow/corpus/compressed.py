"""A checkpoint whose index is compressed with Snappy: builds of TensorFlow write such ones, the released packages only read them."""

import struct

import tensorflow as tf

from .made import model, save, spec
from .modules import Layer, module

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
CASTAGNOLI = 0x82F63B78


def table_of(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (CASTAGNOLI if byte & 1 else 0)
    return byte


TABLE = [table_of(byte) for byte in range(256)]


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def read_varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return number, at


def snappy(text):
    """Literals, and a copy wherever four bytes were there before."""
    out, seen, at, plain = bytearray(varint(len(text))), {}, 0, 0

    def literal(end):
        for start in range(plain, end, 60):
            part = text[start : min(start + 60, end)]
            out.append((len(part) - 1) << 2)
            out.extend(part)

    while at < len(text):
        before = seen.get(text[at : at + 4])
        seen[text[at : at + 4]] = at
        if before is None or at + 4 > len(text) or at - before > 65535:
            at += 1
            continue
        literal(at)
        length = 4
        while length < 64 and at + length < len(text) and text[before + length] == text[at + length]:
            length += 1
        out.append((length - 1) << 2 | 2)
        out.extend(struct.pack("<H", at - before))
        at = plain = at + length
    literal(len(text))
    return bytes(out)


def entries(block):
    restarts = struct.unpack("<I", block[-4:])[0]
    end, at, key = len(block) - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = read_varint(block, at)
        own, at = read_varint(block, at)
        length, at = read_varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def compress(path):
    """The same index with all blocks compressed."""
    old, new = path.read_bytes(), bytearray()

    def block(handle):
        offset, at = read_varint(handle, 0)
        size, at = read_varint(handle, at)
        assert old[offset + size] == 0, "a block that is compressed"
        return old[offset : offset + size], handle[at:]

    def put(content):
        content = snappy(content)
        handle = varint(len(new)) + varint(len(content))
        new.extend(content + b"\1" + masked_crc(content + b"\1"))
        return handle

    metaindex, rest = block(old[-48:])
    index, _ = block(rest)
    places = [(key, put(block(handle)[0])) for key, handle in entries(index)]
    content = b"".join(varint(0) + varint(len(key)) + varint(len(handle)) + key + handle for key, handle in places)
    footer = put(metaindex) + put(content + struct.pack("<II", 0, 1))
    path.write_bytes(bytes(new) + footer + bytes(40 - len(footer)) + MAGIC)
    assert len(new) < len(old)


@model(ci=True)
def a_compressed_index(folder):
    made = module(**{f"layer_number_{number}": Layer(5, 5, number) for number in range(8)})

    @tf.function(input_signature=[spec(None, 5)])
    def serve(x):
        for number in range(8):
            x = tf.tanh(getattr(made, f"layer_number_{number}")(x))
        return x

    made.serve = serve
    save(made, folder, serve)
    compress(folder / "variables" / "variables.index")
