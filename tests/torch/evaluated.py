"""What the tests of evaluation ask PyTorch and NumPy for.

    evaluated.py data OUT                                  test images of the digits, with labels
    evaluated.py compare MODEL REFERENCE DATA K SAVED      the numbers of two models by NumPy, as JSON; SAVED holds the model's outputs
    evaluated.py make KIND OUT                             an archive that gives other things than a tensor
    evaluated.py inputs NAME OUT                           what an archive of tests/models/torch or of kinds.py takes
"""

import json
import os
import sys
from typing import Dict, List, NamedTuple, Optional

import numpy as np
import torch

DATA = os.path.join(os.path.dirname(__file__), "../../examples/data/digits_test.npz")
BATCH = 32


def outputs(path, images):
    model = torch.jit.load(path).eval()
    with torch.no_grad():
        found = [model(torch.from_numpy(images[at : at + BATCH])).numpy() for at in range(0, len(images), BATCH)]
    return np.concatenate(found)


def compare(model, reference, data, k, saved):
    with np.load(data) as file:
        images, labels = file["image"], file["label"]
    ours, theirs = outputs(model, images), outputs(reference, images)
    with np.load(saved) as file:
        assert file.files == ["output"], file.files
        assert file["output"].dtype == np.float32 and np.array_equal(file["output"], ours)
    x, y = theirs.astype(np.float64).ravel(), ours.astype(np.float64).ravel()
    best = theirs.argmax(1)
    # A stable sort puts the first of equal scores first.
    first_k = np.argsort(-ours, axis=1, kind="stable")[:, : int(k)]
    told = {
        "sqnr_db": 10 * np.log10((x * x).sum() / ((x - y) ** 2).sum()),
        "max_error": np.abs(x - y).max(),
        "cosine": (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()),
        "top_1": (ours.argmax(1) == best).mean(),
        "top_k": (first_k == best[:, None]).any(1).mean(),
        "model": (ours.argmax(1) == labels).mean(),
        "reference": (best == labels).mean(),
    }
    print(json.dumps({name: float(value) for name, value in told.items()}))


def save_inputs(name, out):
    """What the small archives of `tests/models/torch`, and those of `kinds.py`, take."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../models"))
    sys.dont_write_bytecode = True
    import kinds
    import make_torch

    torch.manual_seed(0)
    found = kinds.inputs(name) if name in kinds.MODELS else make_torch.inputs(name.split(".")[0])
    # NumPy has no bfloat16.
    np.savez(out, *[(tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy() for tensor in found])


class Found(NamedTuple):
    boxes: torch.Tensor
    scores: torch.Tensor


class Nested(torch.nn.Module):
    def forward(self, image):
        by_name: Dict[str, List[torch.Tensor]] = {"a": [image, image + 1.0], "b": [image]}
        nothing: Optional[torch.Tensor] = None
        flat = torch.flatten(image, 1)
        return Found(image, flat), by_name, 3, nothing, torch.argmax(flat, 1), flat.half()


class Text(torch.nn.Module):
    def forward(self, image):
        return image, ["text"]


class Complex(torch.nn.Module):
    def forward(self, image):
        return torch.complex(image, image)


class Raising(torch.nn.Module):
    def forward(self, image):
        assert bool(image.sum() < 0), "no light"
        return image


class Dark(torch.nn.Module):
    """NaN for samples with a pixel above 1: the logarithm of what is below 0."""

    def forward(self, image):
        return torch.log(1.0 - torch.flatten(image, 1))


class Other(torch.nn.Module):
    """The digits' output in another shape."""

    def forward(self, image):
        return torch.flatten(image, 1)


class Image(torch.nn.Module):
    """No score per class."""

    def forward(self, image):
        return image * 2.0


class Two(torch.nn.Module):
    def forward(self, image, mask):
        return image * mask


class Talking(torch.nn.Module):
    def forward(self, image):
        print("running")
        return torch.flatten(image, 1)


class Keeping(torch.nn.Module):
    """Keeps a state from one call to the next."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 4)
        self.last = torch.zeros(1)

    def forward(self, image):
        self.last = self.last + 1.0
        return self.linear(torch.flatten(image, 1)) * self.last


class Said(torch.nn.Module):
    """Outputs of ops that say what their numbers are, and of some that do not."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 4)

    def forward(self, image):
        y = self.linear(torch.flatten(image, 1))
        powers = torch.exp(y)
        by_name = {"log": torch.log_softmax(y, 1), "each": torch.sigmoid(y)}
        across = torch.softmax(y, 0)
        return torch.softmax(y, -1), by_name, across, powers / powers.sum(1, keepdim=True), y, y.unsqueeze(1)


class Deep(torch.nn.Module):
    """No scores, and no number where the sum of a row of the weight is off by more than 0.05: a logarithm of what is left of that."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 4, bias=False)
        self.linear.weight.data.fill_(1.0)
        self.linear.weight.data[0, 0] = 0.75

    def forward(self, image):
        ones = torch.ones(image.shape[0], 64)
        gap = torch.abs(self.linear(ones)[:, 0] - 63.75)
        return torch.log(0.05 - gap).unsqueeze(1).unsqueeze(1) + image[:, 0]


KINDS = {
    "keeping": Keeping,
    "said": Said,
    "deep": Deep,
    "nested": Nested,
    "text": Text,
    "complex": Complex,
    "raising": Raising,
    "dark": Dark,
    "other": Other,
    "image": Image,
    "two": Two,
    "talking": Talking,
}


def main():
    what, *given = sys.argv[1:]
    if what == "data":
        with np.load(DATA) as file:
            np.savez(given[0], image=file["image"].reshape(-1, 1, 8, 8), label=file["label"])
    elif what == "compare":
        compare(*given)
    elif what == "inputs":
        save_inputs(*given)
    elif what == "make":
        torch.manual_seed(0)
        torch.jit.script(KINDS[given[0]]()).save(given[1])


main()
