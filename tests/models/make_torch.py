#!/usr/bin/env python3
"""Write small seeded TorchScript archives of many kinds, scripted, traced and frozen: NAME.FORM.pt in one folder.

    python make_torch.py OUT [--only NAME,NAME] [--list]

Plain torch, nothing is downloaded. `--list` prints the models as JSON: name, forms, shapes of the inputs. Other scripts import
`MODELS` and `inputs` from here. The weights are seeded; batch norm has seeded statistics, so that activations of every layer have a
sensible size, as in a trained model.
"""

import argparse
import json
import os
import pathlib
import sys
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

warnings.filterwarnings("ignore")
SEED = 20260801


class Block(nn.Module):
    """Expand, depthwise, project, with a residual: the block of MobileNetV2."""

    def __init__(self, channels: int, expand: int) -> None:
        super().__init__()
        wide = channels * expand
        self.conv = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Mobile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU6()
        self.blocks = nn.Sequential(Block(8, 2), Block(8, 2), Block(8, 3))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        return self.head(torch.flatten(self.pool(self.blocks(x)), 1))


class Grouped(nn.Module):
    """Grouped, dilated and 'same' convolutions of one, two and three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv1d(4, 8, 3, padding="same", groups=2)
        self.two = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.three = nn.Conv3d(1, 2, (1, 3, 3), padding=(0, 1, 1), padding_mode="circular")

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.one(x))
        x = torch.relu(self.two(x.reshape(x.size(0), 8, 4, 4)))
        return self.three(x.unsqueeze(1)).flatten(1)


class Deconv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up1 = nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1)
        self.up2 = nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2, bias=False)
        self.up3 = nn.ConvTranspose3d(1, 2, (1, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.up1(x)
        x = self.up2(x.unsqueeze(2))
        return self.up3(x.unsqueeze(1)).flatten(1)


class Mlp(nn.Module):
    """Linear layers as modules, as functions over parameters, as matmul and addmm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 10)
        self.second = nn.Linear(10, 10, bias=False)
        self.weight = nn.Parameter(torch.randn(8, 10) * 0.3)
        self.bias = nn.Parameter(torch.zeros(8))
        self.matrix = nn.Parameter(torch.randn(8, 4) * 0.3)
        self.mix = nn.Bilinear(4, 4, 3)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(torch.tanh(self.second(F.relu(self.first(x)))))
        x = F.linear(x, self.weight, self.bias)
        x = torch.addmm(torch.zeros(4), x, self.matrix)
        return self.mix(x, torch.matmul(x, torch.eye(4)))


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(10, 4, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x, _ = self.lstm(self.embed(tokens))
        x, _ = self.gru(x)
        return self.out(x[:, -1])


class Attention(nn.Module):
    """Self-attention from plain linears."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        score = torch.softmax(q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5, dim=-1)
        return self.proj((score @ v).transpose(1, 2).reshape(n, t, c))


class TransformerBlock(nn.Module):
    def __init__(self, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TorchTransformer(nn.Module):
    """torch's own encoder layer: free functions and a fused fast path hold the linears."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x))


class Tied(nn.Module):
    """An embedding whose weight is the head's too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 6)
        self.body = nn.Linear(6, 6)
        self.head = nn.Linear(6, 12, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(self.embed(tokens))))


class Shared(nn.Module):
    """One module under two names, called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.b = self.a
        self.convs = nn.ModuleList([nn.Conv1d(1, 1, 3, padding=1)] * 2)
        self.out = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        x = torch.relu(self.b(x)) + self.a(x)
        x = x.unsqueeze(1)
        for conv in self.convs:
            x = conv(x)
        return self.out(x.squeeze(1))


class Instance(nn.Module):
    """One scripted module under two names: `torch.jit.script` keeps it one object, where it copies a plain shared module."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.jit.script(nn.Linear(6, 6))
        self.b = self.a

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)])
        self.named = nn.ModuleDict({"gate": nn.Linear(4, 4), "value": nn.Linear(4, 4)})

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        for _, layer in self.named.items():
            x = layer(x)
        return x


class OtherSelf(nn.Module):
    """Methods whose first argument has another name, a helper method, text with parentheses and quotes."""

    def __init__(this) -> None:
        super().__init__()
        this.conv = nn.Conv2d(2, 4, 3)
        this.fc = nn.Linear(4, 3)
        this.note = "a (quoted) \"text\", it's 100 %"

    def features(net, image: Tensor) -> Tensor:
        return torch.relu(net.conv(image)).mean((-2, -1))

    def forward(this, image: Tensor) -> Tensor:
        assert this.note != ")", "never (really)"
        return this.fc(this.features(image))


class Plain(nn.Module):
    """Convolution and linear in any float type."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.conv(x)).flatten(2).mean(2))


class Views(nn.Module):
    """Weights that are views of one buffer, a transposed weight, one with gaps, one that is expanded."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("flat", torch.randn(100) * 0.4)
        self.register_buffer("first", self.flat[:24].view(4, 6))
        self.register_buffer("second", self.flat[24:40].view(4, 4))
        self.register_buffer("overlap", self.flat[30:46].view(4, 4))
        self.register_buffer("turned", torch.randn(4, 4).t())
        self.register_buffer("gaps", torch.randn(4, 8)[:, ::2])
        self.register_buffer("wide", torch.randn(1, 4).expand(4, 4))
        self.register_buffer("none", torch.zeros(0, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.first)
        for weight in (self.second, self.overlap, self.turned, self.gaps, self.wide):
            x = torch.tanh(F.linear(x, weight))
        return torch.cat([x, F.linear(x, self.none)], 1)


class Functional(nn.Module):
    """Free functions that hold the calls, and a child whose own forward never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.unused = nn.Linear(6, 6)
        self.kernel = nn.Parameter(torch.randn(3, 1, 3) * 0.5)
        self.bag = nn.EmbeddingBag(7, 6, mode="sum")

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        x = F.linear(x, self.fc.weight, self.fc.bias) + self.bag(tokens)
        x = F.conv1d(x.unsqueeze(1), self.kernel, padding=1)
        return F.gelu(x).flatten(1)


class Flow(nn.Module):
    """Branches and loops that depend on the data, an optional parameter that is None, exported methods."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4, bias=False)
        self.c = nn.Linear(4, 4)
        self.register_parameter("absent", None)
        self.sizes = [1, 2, 3]
        self.table = {"x": 1, "y": 2}

    @torch.jit.export
    def only_a(self, x: Tensor) -> Tensor:
        return self.a(x)

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            x = self.a(x)
        else:
            x = self.b(x)
        for i in range(len(self.sizes)):
            x = torch.relu(self.c(x)) + float(i)
        return x


def floats(*shape):
    return lambda: torch.randn(*shape)


def tokens(top, *shape):
    return lambda: torch.randint(0, top, shape)


# name → (module, makers of the inputs, forms). A form is missing where torch itself cannot make it.
ALL = ("script", "trace", "freeze")
MODELS = {
    "mobile": (Mobile, [floats(2, 3, 16, 16)], ALL),
    "grouped": (Grouped, [floats(2, 4, 16)], ALL),
    "deconv": (Deconv, [floats(2, 4, 5)], ALL),
    "mlp": (Mlp, [floats(3, 6)], ALL),
    "lstm": (Lstm, [tokens(11, 2, 5)], ALL),
    "transformer": (TransformerBlock, [floats(2, 5, 8)], ALL),
    "torch_transformer": (TorchTransformer, [floats(2, 5, 8)], ("script", "trace")),
    "tied": (Tied, [tokens(12, 2, 4)], ALL),
    "shared": (Shared, [floats(2, 6)], ALL),
    "instance": (Instance, [floats(2, 6)], ("script", "freeze")),
    "lists": (Lists, [floats(2, 4)], ALL),
    "other_self": (OtherSelf, [floats(2, 2, 6, 6)], ALL),
    "half": (lambda: Plain().half(), [lambda: torch.randn(2, 3, 6, 6).half()], ("script",)),
    "bfloat16": (lambda: Plain().bfloat16(), [lambda: torch.randn(2, 3, 6, 6).bfloat16()], ALL),
    "double": (lambda: Plain().double(), [lambda: torch.randn(2, 3, 6, 6).double()], ALL),
    "channels_last": (
        lambda: Mobile().to(memory_format=torch.channels_last),
        [lambda: torch.randn(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)],
        ALL,
    ),
    "views": (Views, [floats(2, 6)], ALL),
    "functional": (Functional, [floats(2, 6), tokens(7, 2, 3)], ALL),
    "flow": (Flow, [floats(2, 4)], ("script", "freeze")),
}


def build(name):
    """The module in eval mode, seeded."""
    torch.manual_seed(SEED)
    module = MODELS[name][0]()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0.0, 0.2)
            nn.init.normal_(part.running_mean, 0.0, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return module.eval()


def inputs(name):
    """Seeded inputs of the model."""
    torch.manual_seed(SEED + 1)
    return [make() for make in MODELS[name][1]]


def make(name, form):
    """The model as a ScriptModule."""
    module = build(name)
    if form == "trace":
        # The check runs the module without gradients, where torch's own encoder layer takes another path.
        return torch.jit.trace(module, tuple(inputs(name)), check_trace=False)
    scripted = torch.jit.script(module)
    return torch.jit.freeze(scripted) if form == "freeze" else scripted


def write_others(out):
    """Files of torch that are no TorchScript archives, as negative examples."""
    module = build("tied")
    torch.save(module.state_dict(), out / "state_dict.pth")
    torch.jit.script(module)._save_for_lite_interpreter(str(out / "mobile.ptl"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path, nargs="?")
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    only = [name for name in args.only.split(",") if name] or list(MODELS)
    if args.list:
        shapes = {name: [list(x.shape) for x in inputs(name)] for name in only}
        print(json.dumps([{"name": n, "forms": MODELS[n][2], "inputs": shapes[n]} for n in only], indent=1))
        return
    if args.out is None:
        parser.error("the folder OUT is missing")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in only:
        for form in MODELS[name][2]:
            make(name, form).save(str(args.out / f"{name}.{form}.pt"))
    if not args.only:
        write_others(args.out)


if __name__ == "__main__":
    # torch orders some attributes by the hashes of their names.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    main()
