"""Archives of kinds that the small models do not have, and what PyTorch makes of them after quantization.

    python kinds.py make FOLDER          writes FOLDER/NAME.pt
    python kinds.py check < cases.json   loads every output, runs it, trains what was made for training

A case names the source archive and the written one. The first thing that is not as it should be ends the script with its story.
"""

import enum
import io
import json
import pathlib
import sys
import warnings
import zipfile
from typing import Dict, List, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.mobile_optimizer import optimize_for_mobile

warnings.filterwarnings("ignore")


class Packing(nn.Module):
    """Makes sense of its state in its own code, as torch's quantized modules do."""

    def __init__(self):
        super().__init__()
        self.w = torch.randn(8, 8)
        self.training = False

    @torch.jit.export
    def __getstate__(self):
        return (self.w, self.training)

    @torch.jit.export
    def __setstate__(self, state: Tuple[torch.Tensor, bool]):
        self.w = state[0]
        self.training = state[1]

    def forward(self, x):
        return F.linear(x, self.w)


class WithState(nn.Module):
    def __init__(self):
        super().__init__()
        self.packing = Packing()
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.packing(x))


class Mode(enum.Enum):
    OFF = 1
    ON = 2


class WithEnum(nn.Module):
    def __init__(self):
        super().__init__()
        self.mode = Mode.ON
        self.out = nn.Linear(8, 8)

    def forward(self, x):
        if self.mode == Mode.ON:
            return self.out(x)
        return x


class Numbered(nn.Module):
    """Parameters that are called `0`, `1`."""

    def __init__(self):
        super().__init__()
        self.listed = nn.ParameterList([nn.Parameter(torch.randn(8, 8)) for _ in range(2)])
        self.named = nn.ParameterDict({"0": nn.Parameter(torch.randn(8, 8)), "a": nn.Parameter(torch.randn(8, 8))})

    def forward(self, x):
        for weight in self.listed:
            x = torch.matmul(x, weight)
        return torch.matmul(torch.matmul(x, self.named["0"]), self.named["a"])


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTMCell(8, 8)
        self.gru = nn.GRUCell(8, 8)
        self.tanh = nn.RNNCell(8, 8)
        self.relu = nn.RNNCell(8, 8, nonlinearity="relu")

    def forward(self, x):
        return self.relu(self.tanh(self.gru(self.lstm(x)[0])))


@torch.jit.interface
class Head(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pass


class OneHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


class Chosen(nn.Module):
    """Modules that are chosen when the model runs."""

    def __init__(self):
        super().__init__()
        self.listed = nn.ModuleList([OneHead(), OneHead()])
        self.named = nn.ModuleDict({"a": OneHead(), "b": OneHead()})

    def forward(self, x: torch.Tensor, which: int, name: str):
        head: Head = self.listed[which]
        x = head.forward(x)
        head: Head = self.named[name]
        return head.forward(x)


class Attributes(nn.Module):
    """Weights in lists, dictionaries and tuples."""

    listed: List[torch.Tensor]
    named: Dict[str, torch.Tensor]
    paired: Tuple[torch.Tensor, int]

    def __init__(self):
        super().__init__()
        self.listed = [torch.randn(8, 8), torch.randn(8, 8)]
        self.named = {"a": torch.randn(8, 8), "b": torch.randn(8, 8)}
        self.paired = (torch.randn(8, 8), 3)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        x = F.linear(x, self.named["a"])
        x = F.linear(x, self.paired[0])
        for weight in self.listed:
            x = F.linear(x, weight)
        return self.out(x)


class LowRank(nn.Module):
    """A sum as LoRA makes it, and a product of parameters that is a layer of its own."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.a = nn.Parameter(torch.randn(2, 8))
        self.b = nn.Parameter(torch.randn(8, 2))
        self.mask = nn.Parameter(torch.ones(8, 8))
        self.masked = nn.Linear(8, 8)
        self.query = nn.Parameter(torch.randn(4, 8))
        self.key = nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        x = F.linear(x, self.linear.weight + self.b @ self.a * 0.5, self.linear.bias)
        x = F.linear(x, self.masked.weight * self.mask, self.masked.bias)
        return x + torch.matmul(self.query, self.key)


class Products(nn.Module):
    def __init__(self):
        super().__init__()
        self.einsum = nn.Parameter(torch.randn(8, 8))
        self.batched = nn.Parameter(torch.randn(2, 8, 4))
        self.added = nn.Parameter(torch.randn(2, 4, 8))

    def forward(self, x):
        x = torch.einsum("ij,kj->ik", x, self.einsum)
        x = torch.bmm(x.unsqueeze(0).expand(2, -1, -1), self.batched)
        return torch.baddbmm(x.sum(), x, self.added)


class Strided(nn.Module):
    def __init__(self):
        super().__init__()
        self.gaps = nn.Parameter(torch.randn(8, 16)[:, ::2])
        self.expanded = nn.Parameter(torch.randn(8, 1).expand(8, 8))
        self.swapped = nn.Parameter(torch.randn(8, 8).t())

    def forward(self, x):
        return F.linear(F.linear(F.linear(x, self.gaps), self.expanded), self.swapped)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        y = self.linear(x)
        y += x
        x = x + y
        x = x - y * y.size(0)
        return torch.cat([torch.relu(x), y], dim=1)


class Residual(nn.Module):
    """Arithmetic on activations, on numbers, on shapes, on strings, and in place."""

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.out = nn.Linear(16, 4)
        self.gamma = nn.Parameter(torch.randn(16))

    def forward(self, x, count: int = 2):
        assert count + 1 > 0, "count: " + str(count)
        x = self.block(x / 2.0)
        x = x * self.gamma
        y = x.view(-1, 16)
        y.mul_(1.5)
        return self.out(x + y.size(1) * 2)


@torch.jit.script
class Box:
    def __init__(self, weight: torch.Tensor):
        self.weight = weight

    def apply(self, x: torch.Tensor):
        return torch.nn.functional.linear(x, self.weight)


class Boxes(nn.Module):
    """Objects in a list and a dictionary."""

    listed: List[Box]
    named: Dict[str, Box]

    def __init__(self):
        super().__init__()
        self.listed = [Box(torch.randn(8, 8)), Box(torch.randn(8, 8) * 3)]
        self.named = {"a": Box(torch.randn(8, 8) + 1)}
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        x = self.named["a"].apply(x)
        return self.out(self.listed[1].apply(self.listed[0].apply(x)))


@torch.jit.script
class Crate:
    def __init__(self, weight: torch.Tensor):
        self.weight = weight

    def apply(self, x: torch.Tensor):
        return torch.nn.functional.linear(x, self.weight)


class Made(nn.Module):
    """An object that is the model's, and one of its class that the code makes."""

    def __init__(self):
        super().__init__()
        self.box = Crate(torch.randn(8, 8))
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        fresh = Crate(x.new_ones(8, 8))
        return self.out(fresh.apply(self.box.apply(x)))


class Recurrent(nn.Module):
    """Weights that stand in a list, and are most of the file."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(64, 64, num_layers=2)

    def forward(self, x):
        return self.lstm(x)[0]


class BasicBlock(nn.Module):
    """As in torchvision's resnet18."""

    def __init__(self, planes: int, downsample):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


def blocks():
    shortcut = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    return nn.Sequential(BasicBlock(3, None), BasicBlock(4, shortcut))


def layers():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))


def script(model):
    return torch.jit.script(model.eval())


def trace(model, *inputs):
    return torch.jit.trace(model.eval(), inputs)


def freeze(model):
    return torch.jit.freeze(script(model))


def vector():
    return torch.randn(4, 8)


def sequence():
    return torch.randn(5, 2, 64)


def image():
    return torch.randn(2, 3, 6, 6)


MODELS = {
    "state": (lambda: script(WithState()), vector),
    "state.root": (lambda: script(Packing()), vector),
    "enum": (lambda: script(WithEnum()), vector),
    "numbered.script": (lambda: script(Numbered()), vector),
    "numbered.trace": (lambda: trace(Numbered(), vector()), vector),
    "cells.script": (lambda: script(Cells()), vector),
    "cells.trace": (lambda: trace(Cells(), vector()), vector),
    "cells.freeze": (lambda: freeze(Cells()), vector),
    "chosen": (lambda: script(Chosen()), lambda: (vector(), 1, "a")),
    "attributes": (lambda: script(Attributes()), vector),
    "low_rank.script": (lambda: script(LowRank()), vector),
    "low_rank.trace": (lambda: trace(LowRank(), vector()), vector),
    "products.script": (lambda: script(Products()), vector),
    "products.trace": (lambda: trace(Products(), vector()), vector),
    "products.freeze": (lambda: freeze(Products()), vector),
    "strided": (lambda: script(Strided()), vector),
    "residual.script": (lambda: script(Residual()), vector),
    "residual.trace": (lambda: trace(Residual(), vector()), vector),
    "residual.freeze": (lambda: freeze(Residual()), vector),
    "boxes": (lambda: script(Boxes()), vector),
    "made": (lambda: script(Made()), vector),
    "recurrent": (lambda: script(Recurrent()), sequence),
    "blocks.script": (lambda: script(blocks()), image),
    "blocks.trace": (lambda: trace(blocks(), image()), image),
    "prepacked": (lambda: optimize_for_mobile(script(layers())), image),
}
MOBILE = {
    "mobile": (lambda: script(layers()), image),
    "mobile.freeze": (lambda: freeze(layers()), image),
}
OLD = {"old": (lambda: script(layers()), image)}


def old_storages(source, target):
    """References to storages as torch 1.3 and 1.4 write them: with a sixth part."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as out:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(("/data.pkl", "/constants.pkl")):
                content = content.replace(b"tQ", b"NtQ")
            out.writestr(name, content)


def make(folder):
    for table in (MODELS, MOBILE, OLD):
        for name, (model, _) in table.items():
            torch.manual_seed(0)
            path = str(folder / f"{name}.pt")
            module = model()
            if table is MOBILE:
                module._save_for_lite_interpreter(path)
            else:
                module.save(path)
            if table is OLD:
                plain = folder / "plain"
                pathlib.Path(path).rename(plain)
                old_storages(plain, path)


def inputs(name):
    torch.manual_seed(1)
    found = {**MODELS, **MOBILE, **OLD}[name][1]()
    return found if isinstance(found, tuple) else (found,)


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for item in value for tensor in flat(item)]


def run(module, name):
    return torch.cat([tensor.detach().flatten().double() for tensor in flat(module(*inputs(name)))])


def reload(module):
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def ratio(reference, values):
    """Signal to noise, in dB."""
    noise = (reference - values).square().sum()
    return float(10 * torch.log10(reference.square().sum() / noise)) if noise > 0 else float("inf")


def train(module, name):
    """One pass moves ranges and gives gradients, where there are parameters; the second one is quantized."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.train()
    for _ in range(2):
        total = sum(tensor.square().sum() for tensor in flat(module(*inputs(name))))
        if trainable:
            total.backward()
    # Of modules among which the input chooses only some have one.
    grads = [parameter.grad for parameter in trainable if parameter.grad is not None]
    assert bool(grads) == bool(trainable) and all(grad.isfinite().all() for grad in grads), f"{name}: no gradients"
    module.eval()


def check(cases):
    baked = {}
    for case in cases:
        name, emit = case["model"], case["emit"]
        story = f"{name} {case['config']} {emit}"
        source = torch.jit.load(case["source"])
        module = torch.jit.load(case["output"])
        if emit == "training":
            train(module, name)
            module.save(case["trained"])
        if emit == "frozen":
            # What was trained and what is frozen give the same, bit for bit.
            source.eval()
            assert torch.equal(run(source, name), run(module, name)), story
            continue
        reference = run(source, name)
        values = run(reload(module), name)
        assert values.shape == reference.shape and values.isfinite().all(), story
        # An 8-bit grid keeps a tensor to about 40 dB; layers behind each other and activations add up.
        assert case["quantized"] == 0 or emit == "training" or ratio(reference, values) > case["decibels"], (
            f"{story}: {ratio(reference, values):.1f} dB"
        )
        assert case["quantized"] > 0 or torch.equal(reference, values), f"{story}: nothing was quantized"
        if emit == "baked":
            baked[name, case["config"], case["quantized"]] = values
        same = name, case["config"], case["quantized"]
        if emit == "packed" and same in baked:
            assert torch.equal(values, baked[same]), f"{story}: not what baked gives"
    print(f"{len(cases)} kinds")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]))
    else:
        check(json.load(sys.stdin))
