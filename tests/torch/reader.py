"""Tensors of a TorchScript archive by name, read with Python's zipfile and pickle: a reader that shares nothing with ours or torch's.

    python reader.py OUT ARCHIVE…     writes OUT/<archive>.npz with every float tensor as float32, row-major

A tensor has the name of every attribute that holds it (`block.conv.weight`); one in constants.pkl is `CONSTANTS.c0`, ….
"""

import collections
import pathlib
import pickle
import sys
import zipfile

import numpy
import torch

TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Thing:
    """Any object of the archive: its attributes."""

    def __setstate__(self, state):
        self.state = state


class Reader(pickle.Unpickler):
    def __init__(self, archive, prefix, folder):
        self.archive, self.prefix, self.folder = archive, prefix, folder
        super().__init__(archive.open(f"{prefix}/{folder}.pkl"))

    def find_class(self, module, name):
        if name in TYPES:
            return TYPES[name]
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, size, stride, *_: torch.as_strided(storage, size, stride, offset)
        if name == "OrderedDict":
            return collections.OrderedDict
        if module == "torch.jit._pickle":
            return lambda value, *_: value
        return type(name, (Thing,), {})

    def persistent_load(self, key):
        _, dtype, name, _, numel = key
        data = bytearray(self.archive.read(f"{self.prefix}/{self.folder}/{name}"))
        return torch.frombuffer(data, dtype=dtype) if numel else torch.empty(0, dtype=dtype)


def tensors(path):
    """Name → tensor."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        prefix = archive.namelist()[0].split("/")[0]
        open_things = [("", Reader(archive, prefix, "data").load())]
        while open_things:
            where, thing = open_things.pop()
            for name, value in getattr(thing, "state", {}).items():
                if isinstance(value, Thing):
                    open_things.append((f"{where}{name}.", value))
                elif isinstance(value, torch.Tensor):
                    found[f"{where}{name}"] = value
        for number, value in enumerate(Reader(archive, prefix, "constants").load()):
            if isinstance(value, torch.Tensor):
                found[f"CONSTANTS.c{number}"] = value
    return found


def main():
    out = pathlib.Path(sys.argv[1])
    for path in sys.argv[2:]:
        floats = {name: t for name, t in tensors(path).items() if t.is_floating_point()}
        arrays = {name: numpy.ascontiguousarray(t.to(torch.float32).numpy()) for name, t in floats.items()}
        numpy.savez(out / f"{pathlib.Path(path).name}.npz", **arrays)


if __name__ == "__main__":
    main()
