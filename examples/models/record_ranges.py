#!/usr/bin/env python3
"""Record activation ranges of a frozen graph with TensorFlow: the file that `compress --ranges` reads (docs/ranges.md).

    python record_ranges.py [--model digits.pb] [--data digits_train_512.npz] [--out digits.json]

Every float activation that a `config_list` may name is fetched for all samples; its range is NumPy's smallest and largest value.
"""

import argparse
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

# op type -> which of its tensors a config may name; of several inputs the activation is the first
SITES = {
    "Placeholder": ("output",),
    "Conv2D": ("input", "output"),
    "DepthwiseConv2dNative": ("input", "output"),
    "MatMul": ("input", "output"),
    "BiasAdd": ("input", "output"),
    "Relu": ("input", "output"),
    "Relu6": ("input", "output"),
    "Softmax": ("input", "output"),
}


def crc32c(data):
    """CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), RFC 3720 appendix B.4."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def tensor_name(text):
    """`a` -> `a:0`, the form in which the file names tensors."""
    return text if ":" in text else f"{text}:0"


def sites(graph):
    """[(op, kind, tensor)] in the graph's order."""
    found = []
    for node in graph.node:
        for kind in SITES.get(node.op, ()):
            found.append((node.name, kind, tensor_name(node.input[0] if kind == "input" else node.name)))
    return found


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, default=here / "digits.pb")
    parser.add_argument("--data", type=pathlib.Path, default=here.parent / "data" / "digits_train_512.npz")
    parser.add_argument("--feed", default="image", help="the placeholder's name, and the array's name in the data")
    parser.add_argument("--out", type=pathlib.Path, default=here.parent / "ranges" / "digits.json")
    args = parser.parse_args()

    assert crc32c(b"123456789") == 0xE3069283  # the check value of RFC 3720
    data = args.model.read_bytes()
    graph = tf.compat.v1.GraphDef.FromString(data)
    samples = np.load(args.data)[args.feed]
    found = sites(graph)
    fetches = {tensor for _, _, tensor in found}
    with tf.Graph().as_default() as scope:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=scope) as session:
            values = session.run({tensor: tensor for tensor in fetches}, {f"{args.feed}:0": samples})
    ranges = []
    for op, kind, tensor in found:
        value = values[tensor]
        assert value.dtype == np.float32, (tensor, value.dtype)
        ranges.append({"site": op, "kind": kind, "tensor": tensor, "min": float(value.min()), "max": float(value.max())})
    record = {
        "version": 1,
        "framework": f"tensorflow {tf.__version__}",
        "model": {"file": args.model.name, "fingerprint": f"crc32c:{crc32c(data):08x}:{len(data)}"},
        "observer": "minmax",
        "samples": len(samples),
        "ranges": ranges,
    }
    # One range a line: the file is read by people too.
    lines = ",\n".join("    " + json.dumps(entry) for entry in ranges)
    head = json.dumps({**record, "ranges": []}, indent=2)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(head.replace('"ranges": []', '"ranges": [\n' + lines + "\n  ]") + "\n")
    print(f"{args.out}: {len(ranges)} ranges over {len(samples)} samples")


if __name__ == "__main__":
    main()
