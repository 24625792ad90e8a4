"""Weights long enough for codes of at most 4 bits to share bytes, read in every way that `packed` knows.

    python shared_codes.py make FOLDER          writes FOLDER/NAME.FORM.pt
    python shared_codes.py check < cases.json   `packed` computes what `baked` computes, bit for bit, however it is loaded, saved and changed
"""

import copy
import io
import json
import pathlib
import sys
import warnings
from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn

warnings.filterwarnings("ignore")


class Layers(nn.Module):
    """Every kind of layer, with odd numbers of weights, and two of one class."""

    def __init__(self):
        super().__init__()
        self.odd = nn.Linear(37, 61)
        self.even = nn.Linear(61, 60)
        self.embed = nn.Embedding(53, 41)
        self.conv = nn.Conv2d(5, 33, 3, bias=False)
        self.last = nn.Conv2d(33, 11, 3).to(memory_format=torch.channels_last)
        self.back = nn.ConvTranspose2d(11, 21, 3)
        self.lstm = nn.LSTM(41, 19, batch_first=True)
        self.few = nn.Linear(19, 7)

    def forward(self, x):
        image = self.back(self.last(self.conv(x.reshape(-1)[:500].reshape(1, 5, 10, 10))))
        words, _ = self.lstm(self.embed(torch.arange(5).reshape(1, 5)))
        return self.even(self.odd(x)), image, self.few(words)


class Held(nn.Module):
    """Weights in a list, behind `Optional`, cut and turned, and tied to one that stays float."""

    def __init__(self):
        super().__init__()
        self.listed = [torch.randn(37, 61), torch.randn(61, 37)]
        self.perhaps: Optional[nn.Parameter] = nn.Parameter(torch.randn(61, 37))
        self.turned = nn.Parameter(torch.randn(37, 74))
        self.tied = nn.Parameter(torch.randn(61, 37))

    def forward(self, x):
        y = F.linear(F.linear(x, self.listed[1]), self.listed[0])
        perhaps = self.perhaps
        if perhaps is not None:
            y = y + F.linear(F.linear(x, perhaps), self.listed[0])
        first, second = self.turned.t().chunk(2, 0)
        words = F.embedding(torch.arange(5), self.tied)
        return y, F.linear(x, first), F.linear(x, second), F.linear(x, self.tied), words


class Words(nn.Module):
    """Shows its weight in its own type: products of half numbers do not run on every CPU."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(61, 37)

    def forward(self, x):
        return self.embed(torch.arange(61))


def x():
    torch.manual_seed(7)
    return torch.randn(15, 37)


def make(folder):
    torch.manual_seed(3)
    layers, held = Layers().eval(), Held().eval()
    forms = {
        "layers.script": torch.jit.script(layers),
        "layers.trace": torch.jit.trace(layers, x()),
        "layers.freeze": torch.jit.freeze(torch.jit.script(layers)),
        "held.script": torch.jit.script(held),
    }
    for name, dtype in [("double", torch.float64), ("half", torch.float16), ("brain", torch.bfloat16)]:
        forms[f"{name}.script"] = torch.jit.script(Words().to(dtype).eval())
    for name, model in forms.items():
        model.save(str(folder / f"{name}.pt"))


def check(cases):
    for case in cases:
        name, least = case["packed"], 2048 if case["bits"] > 2 else 1366
        baked, packed = (torch.jit.load(case[form]) for form in ("baked", "packed"))
        outputs = [run(model) for model in (baked, packed)]
        same(*outputs, name)
        others = {"copied": copy.deepcopy(packed), "saved": saved(packed)}
        # Of a frozen model everything is a constant.
        if "freeze" not in name:
            codes = [value for value in packed.state_dict().values() if value.dtype in (torch.uint8, torch.int8)]
            assert any(code.dtype == torch.uint8 for code in codes), name
            assert all(code.numel() < least for code in codes if code.dtype == torch.int8), name
            others["frozen"] = torch.jit.freeze(packed.eval())
        for how, model in others.items():
            same(outputs[0], run(model), f"{name}, {how}")
        # Scales change with the model's type, codes do not. Loaded anew, since torch's freeze leaves something of the type behind.
        if "layers.script" in name:
            packed = torch.jit.load(name).double()
            assert all(torch.isfinite(y).all() and y.dtype == torch.float64 for y in run(packed, torch.float64)), name
    print(f"{len(cases)} pairs")


def saved(model):
    file = io.BytesIO()
    torch.jit.save(model, file)
    file.seek(0)
    return torch.jit.load(file)


def run(model, dtype=torch.float32):
    with torch.no_grad():
        y = model(x().to(dtype))
    return list(y) if isinstance(y, tuple) else [y]


def same(expected, found, name):
    assert len(expected) == len(found)
    for a, b in zip(expected, found):
        assert torch.isfinite(a.double()).all() and a.dtype == b.dtype, name
        assert torch.equal(a, b), f"{name}: {(a != b).sum()} of {a.numel()} differ"


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]))
    else:
        check(json.load(sys.stdin))
