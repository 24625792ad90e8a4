"""Weights that are read in pieces, turned, by several readers, through `Optional` or from a scripted class: every form of output against eager
PyTorch with the quantized weight put in by hand.

    python check_weights.py make FOLDER                 writes FOLDER/NAME.FORM.pt
    python check_weights.py train < cases.json          a training pass for each archive, saved as the case says
    python check_weights.py check < cases.json          compares what each archive computes with the reference, bit for bit
"""

import collections
import json
import pathlib
import sys
import warnings
import zipfile
from typing import List, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

warnings.filterwarnings("ignore")
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import reader  # noqa: E402


def symmetric(weight, axis, bias=None):
    """8 bits on the symmetric narrow grid: per tensor, or per index of `axis`, where a channel beside a bias has a least scale."""
    if axis is None:
        scale = weight.abs().max() / 127
    else:
        width = weight.abs().amax([dim for dim in range(weight.dim()) if dim != axis], keepdim=True)
        scale = torch.maximum(width, least_width(width, bias, 127)) / 127
    return torch.clamp(torch.round(weight / scale), -127, 127) * scale


def affine(weight, axis, bias=None):
    """8 bits on the whole grid, per index of `axis`."""
    others = [dim for dim in range(weight.dim()) if dim != axis]
    low, high = weight.amin(others, keepdim=True).clamp(max=0), weight.amax(others, keepdim=True).clamp(min=0)
    high = torch.maximum(high, low + least_width(high - low, bias, 255))
    scale = (high - low) / 255
    zero_point = torch.clamp(-torch.round(low / scale), 0, 255)
    return (torch.clamp(torch.round(weight / scale) + zero_point, 0, 255) - zero_point) * scale


def learned(weight, axis, *_):
    """LSQ, 8 bits, with the step that a first pass sets and no optimizer changes: 2·E|w| / √127; a channel of zeros stays."""
    size = weight.abs().mean() if axis is None else weight.abs().transpose(0, axis).flatten(1).mean(1)
    step = size * (2.0 / torch.tensor(127.0).sqrt())
    shape = [] if axis is None else [-1 if dim == axis else 1 for dim in range(weight.dim())]
    step = torch.where(step > 0, step, torch.ones_like(step)).view(shape)
    return torch.clamp(torch.round(weight * (1.0 / step)), -128, 127) * step


def least_width(width, bias, steps):
    if bias is None:
        return torch.zeros_like(width)
    # Groups share the channels of a transposed convolution's weight.
    size = bias.abs().reshape(-1, width.numel()).amax(0).reshape(width.shape)
    return torch.minimum(size * (steps / 65536), width.max() / 256)


class Pieces(nn.Module):
    """Chunks of very different size, halves, and slices."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Parameter(torch.cat([torch.randn(8, 8) * size for size in (0.1, 1.0, 10.0)]))
        self.two = nn.Parameter(torch.stack([torch.randn(6, 8), torch.randn(6, 8) * 20]))
        self.cut = nn.Parameter(torch.cat([torch.randn(3, 8), torch.randn(4, 8) * 7]))

    def forward(self, x):
        q, k, v = self.qkv.chunk(3, 0)
        a, b = F.linear(x, self.two[0]), F.linear(x, self.two[1])
        return F.linear(x, q), F.linear(x, k), F.linear(x, v), a, b, F.linear(x, self.cut[:3]), F.linear(x, self.cut[3:])

    def reference(self, x, put):
        q, k, v = put(self.qkv, 0).chunk(3, 0)
        two, cut = put(self.two, 1), put(self.cut, 0)
        return (*(F.linear(x, w) for w in (q, k, v, two[0], two[1])), F.linear(x, cut[:3]), F.linear(x, cut[3:]))


class Turned(nn.Module):
    """A weight behind `t`, `transpose`, `permute` and `mT`."""

    def __init__(self):
        super().__init__()
        sizes = torch.tensor([0.1, 1.0, 10.0, 30.0, 100.0])
        for name in ("a", "d"):
            self.register_parameter(name, nn.Parameter(torch.randn(8, 5) * sizes))
        for name in ("b", "c", "e"):
            self.register_parameter(name, nn.Parameter(torch.randn(5, 8) * sizes[:, None]))

    def forward(self, x):
        first, second = F.linear(x, self.a.t()), x @ self.b.t()
        return first, second, x @ self.c.transpose(0, 1), F.linear(x, self.d.mT), x @ self.e.permute(1, 0)

    def reference(self, x, put):
        first, second = F.linear(x, put(self.a, 1).t()), x @ put(self.b, 0).t()
        return first, second, x @ put(self.c, 0).transpose(0, 1), F.linear(x, put(self.d, 1).mT), x @ put(self.e, 0).permute(1, 0)


class Tied(nn.Module):
    """A decoder whose weight is the embedding's too, which the config excludes."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(8, 8)
        self.decode = nn.Linear(8, 8, bias=False)
        self.decode.weight = self.embed.weight

    def forward(self, x):
        embedded = self.embed(torch.arange(8))
        return self.decode(x), embedded, self.decode(embedded)

    def reference(self, x, put):
        weight = put(self.embed.weight, 0)
        return F.linear(x, weight), self.embed.weight, F.linear(self.embed.weight, weight)


class Others(nn.Module):
    """A layer whose weight a penalty and a product of tensors read too, which are no layers."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return self.fc(x), self.fc.weight.pow(2).sum(), torch.tensordot(x, self.fc.weight, dims=([1], [1]))

    def reference(self, x, put):
        return F.linear(x, put(self.fc.weight, 0), self.fc.bias), *self(x)[1:]


class Axes(nn.Module):
    """One weight for calls that want its channels along different axes."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 4, 3, 3) * torch.tensor([0.1, 1.0, 10.0, 40.0])[:, None, None, None])
        self.square = nn.Parameter(torch.randn(8, 8) * torch.arange(1.0, 9.0))

    def forward(self, x):
        image = x[:2].reshape(1, 4, 2, 2)
        both = F.conv2d(image, self.kernel, padding=1), F.conv_transpose2d(image, self.kernel)
        return both[0], both[1], F.linear(x, self.square), x @ self.square

    def reference(self, x, put):
        image = x[:2].reshape(1, 4, 2, 2)
        both = F.conv2d(image, put(self.kernel, 0), padding=1), F.conv_transpose2d(image, put(self.kernel, 1))
        return both[0], both[1], F.linear(x, put(self.square, 0)), x @ put(self.square, 1)


class Tiny(nn.Module):
    """Channels of zeros and others that are all but zero, beside biases."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.up = nn.ConvTranspose2d(4, 6, 2, groups=2)
        self.fc = nn.Linear(8, 6)
        sizes = torch.tensor([1.0, 0.0, 1e-9, 1e-5, 1e-3, 1.0])
        with torch.no_grad():
            self.conv.weight.mul_(sizes[:, None, None, None])
            self.depthwise.weight.mul_(sizes[:4, None, None, None])
            self.up.weight.mul_(sizes[None, :3, None, None])
            self.fc.weight.mul_(sizes[:, None])

    def forward(self, x):
        image = x.reshape(1, 4, 4, 4)
        return self.conv(image), self.depthwise(image), self.up(image), self.fc(x)

    def reference(self, x, put):
        image = x.reshape(1, 4, 4, 4)
        conv = F.conv2d(image, put(self.conv.weight, 0, self.conv.bias), self.conv.bias)
        depthwise = F.conv2d(image, put(self.depthwise.weight, 0, self.depthwise.bias), self.depthwise.bias, groups=4)
        up = F.conv_transpose2d(image, put(self.up.weight, 1, self.up.bias), self.up.bias, groups=2)
        return conv, depthwise, up, F.linear(x, put(self.fc.weight, 0, self.fc.bias), self.fc.bias)


@torch.jit.script
class Box:
    def __init__(self, weight: Tensor):
        self.weight = weight

    def apply(self, x: Tensor):
        return torch.nn.functional.linear(x, self.weight)


class Held(nn.Module):
    """A weight that is a field of a scripted class, one that may be `None`, and a buffer that may be."""

    maybe: Optional[Tensor]
    buffer: Optional[Tensor]

    def __init__(self):
        super().__init__()
        self.box = Box(torch.randn(8, 8))
        self.maybe = torch.randn(8, 8)
        self.register_buffer("buffer", torch.randn(8, 8))

    def forward(self, x):
        x = self.box.apply(x)
        maybe = self.maybe
        if maybe is not None:
            x = F.linear(x, maybe)
        buffer = self.buffer
        if buffer is not None:
            x = F.linear(x, buffer)
        return (x,)

    def reference(self, x, put):
        for weight in (self.box.weight, self.maybe, self.buffer):
            x = F.linear(x, put(weight, 0))
        return (x,)


class Often(nn.Module):
    """A layer that runs once in a pass, and one that runs as often as there are inputs."""

    def __init__(self):
        super().__init__()
        self.once = nn.Linear(8, 8)
        self.head = nn.Linear(8, 8)

    def forward(self, xs: List[Tensor]):
        y = self.once(xs[0])
        for x in xs:
            y = y + self.head(x)
        return y


class Normal(nn.Module):
    """Fresh biases and scales, which `torch.jit.freeze` makes one constant with the running statistics."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.first, self.second = nn.BatchNorm1d(8), nn.BatchNorm1d(8)

    def forward(self, x):
        return self.second(self.b(torch.relu(self.first(torch.relu(self.a(x))))))


CLASSES = {"pieces": Pieces, "turned": Turned, "tied": Tied, "others": Others, "axes": Axes, "held": Held, "tiny": Tiny}


def build(kind):
    torch.manual_seed(5)
    return kind().eval()


def batch():
    torch.manual_seed(6)
    return torch.randn(8, 8)


def make(folder):
    for name, kind in CLASSES.items():
        torch.jit.script(build(kind)).save(str(folder / f"{name}.script.pt"))
        if kind is not Held:
            torch.jit.trace(build(kind), batch()).save(str(folder / f"{name}.trace.pt"))
    torch.jit.freeze(torch.jit.script(build(Tiny))).save(str(folder / "tiny.frozen.pt"))
    torch.jit.script(build(Often)).save(str(folder / "often.pt"))
    torch.jit.freeze(torch.jit.script(build(Normal))).save(str(folder / "normal.pt"))
    # As it would come from a GPU: only the names of the devices differ.
    source = folder / "others.script.pt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(folder / "cuda.pt", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("/data.pkl"):
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            new.writestr(name, data)


def step(module, *inputs):
    """A training pass with gradients of everything that it computes from parameters."""
    outputs = module.train()(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    losses = [output.pow(2).sum() for output in outputs if output.requires_grad]
    if losses:
        sum(losses).backward()


def train(case):
    module = torch.jit.load(case["path"])
    step(module, batch())
    module.eval().save(case["trained"])


def exactly(found, wanted, what):
    assert len(found) == len(wanted), what
    for number, (one, other) in enumerate(zip(found, wanted)):
        assert torch.equal(one, other), f"{what}: output {number} differs by {(one - other).abs().max().item()}"


def check(case, frozen):
    name, what = case["name"], f"{case['path']} ({case['quantizer']}, {case['emit']}, per channel: {case['per_channel']})"
    source = build(CLASSES[name])
    module = torch.jit.load(case["path"]).eval()
    with torch.no_grad():
        found = module(batch())
        if case["quantizer"] == "dorefa":
            # What it rescales has no reference here; all that is made of one archive must agree.
            key = case["group"]
            exactly(found, frozen.setdefault(key, found), what)
            assert not all(torch.equal(one, other) for one, other in zip(found, source(batch()))), f"{what}: still float"
            return
        per_channel = affine if case["affine"] else symmetric
        if case["quantizer"] == "lsq":
            if case["emit"] == "training" and not case["path"].endswith(".trained.pt"):
                exactly(found, source(batch()), f"{what}: not trained, it is float")
                return
            per_channel = learned
        per_tensor = learned if case["quantizer"] == "lsq" else symmetric
        put = per_channel if case["per_channel"] else (lambda weight, *_: per_tensor(weight, None))
        exactly(found, source.reference(batch(), put), what)
        if case["emit"] in ("packed", "inference", "baked") and name != "held" and ".frozen." not in case["group"]:
            # A scripted class's fields and the constants of a frozen model keep their type, float or quantized. Everything was rounded to 24 bits at most twice, and a sum
            # has at most 36 products; 2^-17 of the largest output is beyond that.
            double = module.double()(batch().double())
            for one, other in zip(double, found):
                room = other.abs().max().item() * 2**-17
                assert one.dtype == torch.float64 and (one - other).abs().max().item() <= room, f"{what}: in double precision"


def check_steps(path):
    module = torch.jit.load(path)
    inputs = [torch.randn(2, 8) for _ in range(5)]
    for _ in range(3):
        step(module, inputs)
    steps = {name: int(value) for name, value in module.state_dict().items() if name.endswith("step")}
    assert len(steps) == 4 and set(steps.values()) == {3}, steps
    # A part that is trained alone has no passes but its calls.
    head = torch.jit.load(path).head
    for _ in range(2):
        step(head, inputs[0])
    assert int(head.state_dict()["output_quantizer.step"]) == 2
    torch._C._jit_set_profiling_executor(False)
    step(torch.jit.load(path), inputs)
    torch._C._jit_set_profiling_executor(True)


def check_pooled(path):
    module = torch.jit.load(path)
    shapes = [tuple(value.shape) for _, value in module.named_parameters()]
    # Two matrices; scale and bias of each normalization, although all scales and all biases were one constant.
    assert sorted(shapes) == [(8,)] * 4 + [(8, 8)] * 2, shapes
    step(module, batch())
    assert all(value.grad is not None for value in module.parameters())


class Devices(reader.Reader):
    def __init__(self, *arguments):
        self.found = collections.Counter()
        super().__init__(*arguments)

    def persistent_load(self, key):
        self.found[key[3]] += 1
        return super().persistent_load(key)


def check_device(path):
    with zipfile.ZipFile(path) as archive:
        devices = Devices(archive, archive.namelist()[0].split("/")[0], "data")
        devices.load()
    assert set(devices.found) == {"cuda:0"} and devices.found["cuda:0"] > 2, (path, devices.found)


def main():
    torch.set_num_threads(1)
    if sys.argv[1] == "make":
        return make(pathlib.Path(sys.argv[2]))
    told = json.load(sys.stdin)
    if sys.argv[1] == "train":
        for case in told:
            train(case)
        return
    failed, frozen = [], {}
    checks = [(check, (case, frozen)) for case in told["cases"]]
    checks += [(check_steps, (told["often"],)), (check_pooled, (told["normal"],))]
    checks += [(check_device, (path,)) for path in told["cuda"]]
    for call, arguments in checks:
        try:
            call(*arguments)
        except Exception as error:
            failed.append(f"{call.__name__}: {type(error).__name__}: {str(error)[-400:]} {arguments[0] if call is check else ''}")
    if failed:
        raise SystemExit("\n".join(failed))
    print(f"{len(checks)} checks")


if __name__ == "__main__":
    main()
