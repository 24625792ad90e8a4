"""Batch norms behind every kind of layer, and where they cannot go into one; what a folded archive computes beside the one it was made from.

    python norms.py make FOLDER               writes FOLDER/NAME.FORM.pt and prints what is to become of the batch norms of each
    python norms.py check < cases.json        runs archives beside others, and prints the largest difference and the SQNR of each
"""

import json
import pathlib
import sys
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

warnings.filterwarnings("ignore")
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import real_size  # noqa: E402

SEED = 20261130


class Behind(nn.Module):
    """A layer, its batch norm, and something that is not linear."""

    def __init__(self, layer, norm):
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x):
        return torch.relu(self.norm(self.layer(x)))


class Functional(nn.Module):
    """Layer and batch norm as functions of the module's own tensors."""

    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(6, 3, 3, 3)), nn.Parameter(torch.randn(6))
        self.g, self.h = nn.Parameter(torch.rand(6) + 0.5), nn.Parameter(torch.randn(6))
        self.register_buffer("m", torch.randn(6))
        self.register_buffer("v", torch.rand(6) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(F.conv2d(x, self.w, self.b), self.m, self.v, self.g, self.h, False, 0.1, 1e-3).sigmoid()


class Computed(Functional):
    """A scale that the code computes."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(F.conv2d(x, self.w, self.b), self.m, self.v, self.g * 2.0, self.h, False, 0.1, 1e-3)


class Quantized(Functional):
    """A weight that the code computes."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(F.conv2d(x, self.w * 2.0, self.b), self.m, self.v, self.g, self.h, False, 0.1, 1e-3)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        return x + self.norm(self.conv(x))


class Twice(nn.Module):
    """A block that runs twice: its layer and its batch norm do so together."""

    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return self.block(self.block(x))


class Looped(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Both(nn.Module):
    """A batch norm that is called in two places, a layer that is, and one whose value something else reads."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.norm = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.often, self.one, self.two = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.read, self.three = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.kept, self.four = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.norm(self.first(x)) + self.norm(self.second(x))
        x = torch.relu(self.one(self.often(x))) + torch.sigmoid(self.two(self.often(x)))
        y = self.read(x)
        x = y * self.three(y)
        z = self.kept(x)
        return z, self.four(z)


class Branch(nn.Module):
    """What is normalized comes now from a layer, now from elsewhere."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        if x.sum() > 0:
            y = self.conv(x)
        else:
            y = x * 2.0
        return self.norm(y)


class Tied(nn.Module):
    """Two layers with one weight, two batch norms with one scale."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.two.weight = self.one.weight
        self.three, self.four = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.a, self.b, self.c, self.d = (nn.BatchNorm2d(4) for _ in range(4))
        self.d.weight = self.c.weight

    def forward(self, x):
        x = torch.relu(self.b(self.two(torch.relu(self.a(self.one(x))))))
        return self.d(self.four(torch.relu(self.c(self.three(x)))))


def shaped(model):
    """Weights and statistics of a sensible size, none of them 0, 1 or equal to another."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5)
                module.weight.data[::3] *= -1
                module.bias.data.uniform_(-0.5, 0.5)
            if module.running_mean is not None:
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.25, 2.0)
    return model.eval()


def negative():
    model = shaped(Behind(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    model.norm.running_var[1] = -2.0
    return model


def last(model):
    return model.to(memory_format=torch.channels_last)


IMAGE = (2, 3, 9, 9)
FOUR = (2, 4, 6, 6)
FOLDED = {"norm": "layer"}
SHARED = {"norm": "norm-shared"}
# A module that is traced twice has two methods, each of which reads its tensors.
TRACED = {"block.norm": "norm-shared", "one": "norm-weight", "two": "norm-weight"}
# Name: the model, the shape of its input, and the layer of each batch norm or the code of the reason why it stays.
MODELS = {
    "conv1d": (lambda: Behind(nn.Conv1d(3, 8, 5), nn.BatchNorm1d(8)), (2, 3, 16), FOLDED),
    "conv2d": (lambda: Behind(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)), IMAGE, FOLDED),
    "no_bias": (lambda: Behind(nn.Conv2d(3, 8, 3, padding="same", bias=False), nn.BatchNorm2d(8, eps=1e-3)), IMAGE, FOLDED),
    "reflect": (lambda: Behind(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8)), IMAGE, FOLDED),
    "conv3d": (lambda: Behind(nn.Conv3d(2, 5, 3), nn.BatchNorm3d(5)), (2, 2, 5, 6, 7), FOLDED),
    "depthwise": (lambda: Behind(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8)), FOUR, FOLDED),
    "grouped": (lambda: Behind(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), FOUR, FOLDED),
    "transposed1d": (lambda: Behind(nn.ConvTranspose1d(3, 5, 3), nn.BatchNorm1d(5)), (2, 3, 7), FOLDED),
    "transposed2d": (lambda: Behind(nn.ConvTranspose2d(3, 5, 3, stride=2), nn.BatchNorm2d(5)), IMAGE, FOLDED),
    "transposed3d": (lambda: Behind(nn.ConvTranspose3d(2, 3, 2), nn.BatchNorm3d(3)), (1, 2, 3, 4, 5), FOLDED),
    "transposed_groups": (lambda: Behind(nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), FOUR, FOLDED),
    "transposed_depthwise": (lambda: Behind(nn.ConvTranspose2d(4, 4, 3, groups=4), nn.BatchNorm2d(4)), FOUR, FOLDED),
    "linear": (lambda: Behind(nn.Linear(6, 8), nn.BatchNorm1d(8)), (5, 6), FOLDED),
    "no_affine": (lambda: Behind(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False)), IMAGE, FOLDED),
    "channels_last": (lambda: last(Behind(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))), IMAGE, FOLDED),
    "large_epsilon": (lambda: Behind(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, eps=3.7)), IMAGE, FOLDED),
    "double": (lambda: Behind(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).double(), IMAGE, FOLDED),
    "bfloat16": (lambda: Behind(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).bfloat16(), IMAGE, FOLDED),
    "functional": (Functional, IMAGE, {"batch_norm": "w"}),
    "looped": (Looped, FOUR, {"blocks.0.norm": "blocks.0.conv", "blocks.1.norm": "blocks.1.conv"}),
    "twice": (Twice, FOUR, {"block.norm": "block.conv"}),
    "both": (
        Both,
        FOUR,
        {"norm": "norm-shared", "one": "norm-shared", "two": "norm-shared", "three": "norm-shared", "four": "norm-shared"},
    ),
    "tied": (Tied, FOUR, {"a": "norm-weight", "b": "norm-weight", "c": "norm-computed", "d": "norm-computed"}),
    "computed": (Computed, IMAGE, {"batch_norm": "norm-computed"}),
    "computed_weight": (Quantized, IMAGE, {"batch_norm": "norm-weight"}),
    "before": (lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)), FOUR, {"0": "norm-before-layer"}),
    "behind_relu": (lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)), FOUR, {"2": "norm-no-layer"}),
    "positions": (lambda: Behind(nn.Linear(6, 8), nn.BatchNorm1d(5)), (2, 5, 6), {"norm": "norm-axis"}),
    "negative": (negative, IMAGE, {"norm": "norm-not-finite"}),
    "no_statistics": (
        lambda: Behind(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
        IMAGE,
        {"norm": "norm-trains"},
    ),
    "trains": (lambda: Behind(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), IMAGE, {"norm": "norm-trains"}),
    "branch": (Branch, FOUR, SHARED),
}
# Their names are not listed: every batch norm is to be folded.
DEEP = {real_size.mobilenet_v2: 52, real_size.resnet18: 20}


def save(folder, name, form, model, x):
    if form == "trace":
        made = torch.jit.trace(model, (x,), check_trace=False)
    else:
        made = torch.jit.script(model)
    made.save(str(folder / f"{name}.{form}.pt"))


def make(folder):
    told = {}
    for name, (build, shape, folds) in MODELS.items():
        torch.manual_seed(SEED)
        model = build()
        model = model if name == "negative" else shaped(model)
        if name == "trains":
            model.train()
        x = torch.randn(shape).to(next(model.parameters()).dtype)
        forms = ["script"] if name == "branch" else ["script", "trace"]
        for form in forms:
            save(folder, name, form, model, x)
        traced = {norm: TRACED.get(norm, what) for norm, what in folds.items()}
        told[name] = {form: traced if form == "trace" else folds for form in forms}
        torch.save(x, folder / f"{name}.input")
    for build, count in DEEP.items():
        torch.manual_seed(SEED)
        name, model, x = build.__name__, shaped(build()), torch.randn(2, 3, 96, 96)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        for form in ["script", "trace"]:
            save(folder, name, form, model, x)
        told[name] = {"script": count, "trace": count}
        torch.save(x, folder / f"{name}.input")
    print(json.dumps(told))


def distance(float_, other):
    float_, other = float_.double(), other.double()
    off = (float_ - other).abs().max() / float_.abs().max()
    noise = ((float_ - other) ** 2).sum()
    return off.item(), (10 * torch.log10((float_**2).sum() / noise)).item() if noise > 0 else 999.0


def check(cases):
    told = []
    for case in cases:
        x = torch.load(case["input"])
        model, folded = torch.jit.load(case["model"]), torch.jit.load(case["folded"])
        with torch.no_grad():
            before, after = model(x), folded(x)
        # As PyTorch writes it again, and as it freezes it.
        path = case["folded"] + ".again"
        folded.save(path)
        frozen = torch.jit.freeze(torch.jit.load(path).eval())
        with torch.no_grad():
            again, constant = torch.jit.load(path)(x), frozen(x)
        assert torch.equal(after, again), case
        told.append([distance(before, after), distance(before, constant)])
    print(json.dumps(told))


def neutral():
    """A neutralised batch norm adds, bit for bit: for many ε, with and without β."""
    torch.manual_seed(SEED)
    x, shift = torch.randn(3, 64, 5, 5) * 10, torch.randn(64)
    for epsilon in [1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1.001e-5, 3e-3, 1e-2, 0.1]:
        variance = torch.full((64,), 1.0) - torch.tensor(epsilon, dtype=torch.float32)
        ones, zeros = torch.ones(64), torch.zeros(64)
        expected = x + shift.view(1, -1, 1, 1)
        with_beta = F.batch_norm(x, zeros, variance, ones, shift, False, 0.1, epsilon)
        without = F.batch_norm(x, -shift, variance, None, None, False, 0.1, epsilon)
        assert torch.equal(with_beta, expected), f"with a bias, epsilon {epsilon}"
        assert torch.equal(without, expected), f"without a bias, epsilon {epsilon}"


if __name__ == "__main__":
    if sys.argv[1] == "make":
        neutral()
        make(pathlib.Path(sys.argv[2]))
    else:
        check(json.load(sys.stdin))
