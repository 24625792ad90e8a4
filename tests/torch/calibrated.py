"""What the tests of calibration ask PyTorch for: data, and ranges by its own observers.

    calibrated.py data OUT [FIRST LAST]      images of the digits, as the archives take them
    calibrated.py freeze MODEL OUT           the same model, frozen
    calibrated.py run MODEL DATA OUT         stock PyTorch runs data through an archive in training mode and saves it
    calibrated.py same MODEL OTHER DATA      that both give the same
    calibrated.py check MODEL DATA RANGES    that a ranges file of the digits says what torch.ao's observers say
    calibrated.py accuracy MODEL             in percent, of the test images
"""

import json
import math
import os
import sys

import numpy as np
import torch
from torch.ao.quantization import MinMaxObserver, MovingAverageMinMaxObserver

DATA = os.path.join(os.path.dirname(__file__), "../../examples/data")
BATCH = 32


def images(name):
    with np.load(os.path.join(DATA, name)) as file:
        return file["image"].reshape(-1, 1, 8, 8), file["label"]


def batches(path):
    with np.load(path) as file:
        found = file["image"]
    return [torch.from_numpy(found[at : at + BATCH]) for at in range(0, len(found), BATCH)]


def tensors(model, x):
    """Every input and output of a default op of the digits, by kind and name."""
    seen = {}

    def through(name, module, x):
        seen["input", name] = x
        seen["output", name] = module(x)
        return seen["output", name]

    for block in ("conv1", "dw1", "pw1", "dw2", "pw2"):
        layer = getattr(model, block)
        x = layer.relu6(through(f"{block}.conv", layer.conv, x))
    x = model.relu6(through("dense1", model.dense1, torch.flatten(x, 1)))
    through("dense2", model.dense2, x)
    return seen


def check(model, data, path):
    with open(path, encoding="utf-8") as file:
        ranges = json.load(file)["ranges"]
    observers = {"minmax": MinMaxObserver, "ema": lambda: MovingAverageMinMaxObserver(averaging_constant=0.01)}
    expected, values = {}, {}
    with torch.no_grad():
        for batch in batches(data):
            for key, tensor in tensors(model, batch).items():
                values.setdefault(key, []).append(tensor.reshape(-1).numpy())
                for name, make in observers.items():
                    expected.setdefault((name, *key), make())(tensor)
    assert len(ranges) == len(values) == 14, (len(ranges), len(values))
    for entry in ranges:
        key, calibration = (entry["kind"], entry["site"]), entry["calibration"]
        observer = calibration["observer"]
        smallest = expected["minmax", *key]
        if observer in observers:
            wanted = expected[observer, *key]
            assert np.float32(entry["min"]) == wanted.min_val.item(), (entry, wanted)
            assert np.float32(entry["max"]) == wanted.max_val.item(), (entry, wanted)
            continue
        found = calibration["statistics"]["histogram"]
        assert np.float32(found["range"]["min"]) == smallest.min_val.item(), entry
        assert np.float32(found["range"]["max"]) == smallest.max_val.item(), entry
        every = np.concatenate(values[key]).astype(np.float64)
        magnitude = float(np.abs(every).max())
        assert found["exponent"] == max(math.frexp(magnitude)[1] - 11, -126) if magnitude else -126, entry
        bins, counts = np.unique(np.trunc(every * 2.0 ** -found["exponent"]).astype(int), return_counts=True)
        written = {run["first"] + at: n for run in found["bins"] for at, n in enumerate(run["counts"]) if n}
        assert written == dict(zip(bins.tolist(), counts.tolist())), entry["site"]
    print(len(ranges), "ranges agree")


def main():
    what, *given = sys.argv[1:]
    if what == "data":
        found, _ = images("digits_train_512.npz")
        first, last = (int(text) for text in given[1:]) if len(given) > 1 else (0, len(found))
        np.savez(given[0], image=found[first:last])
        return
    model = torch.jit.load(given[0])
    if what == "freeze":
        torch.jit.freeze(model.eval()).save(given[1])
    elif what == "run":
        model.train()
        for batch in batches(given[1]):
            model(batch)
        model.save(given[2])
    elif what == "same":
        other = torch.jit.load(given[1])
        for batch in batches(given[2]):
            assert torch.equal(model(batch), other(batch))
        print("the same")
    elif what == "check":
        check(model.eval(), given[1], given[2])
    elif what == "accuracy":
        found, labels = images("digits_test.npz")
        with torch.no_grad():
            classes = model.eval()(torch.from_numpy(found)).argmax(1).numpy()
        print(100.0 * float((classes == labels).mean()))


main()
