"""Convolutional nets of the usual sizes, and what packing them must keep.

    python real_size.py make FOLDER      writes mobilenet_v2, resnet18 and resnet50, float32, as FOLDER/NET.script.pt and FOLDER/NET.freeze.pt
    python real_size.py check FLOAT BAKED PACKED EXPECTED.npz

EXPECTED: the values of every quantized weight

The nets have the layers of Sandler et al. 2018 (MobileNetV2, table 2) and of He et al. 2016 (ResNet-18 and 50, table 1), with seeded weights.
"""

import pathlib
import sys

import numpy
import torch
from torch import nn

sys.dont_write_bytecode = True
import reader


def block(inputs, outputs, kernel=3, stride=1, groups=1, act=nn.ReLU6):
    parts = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([act()] if act else []))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        width = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = block(inputs, width, 1) if expansion > 1 else nn.Identity()
        self.depthwise = block(width, width, stride=stride, groups=width)
        self.project = block(width, outputs, 1, act=None)

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class Basic(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = block(inputs, outputs, stride=stride, act=nn.ReLU)
        self.second = block(outputs, outputs, act=None)
        self.skip = nn.Identity() if inputs == outputs else block(inputs, outputs, 1, stride, act=None)

    def forward(self, x):
        return torch.relu(self.second(self.first(x)) + self.skip(x))


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.reduce = block(inputs, width, 1, act=nn.ReLU)
        self.middle = block(width, width, stride=stride, act=nn.ReLU)
        self.expand = block(width, outputs, 1, act=None)
        self.skip = nn.Identity() if inputs == outputs else block(inputs, outputs, 1, stride, act=None)

    def forward(self, x):
        return torch.relu(self.expand(self.middle(self.reduce(x))) + self.skip(x))


def mobilenet_v2():
    layers, inputs = [block(3, 32, stride=2)], 32
    for expansion, outputs, count, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for index in range(count):
            layers.append(Inverted(inputs, outputs, stride if index == 0 else 1, expansion))
            inputs = outputs
    return nn.Sequential(*layers, block(320, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))


def resnet18():
    layers, inputs = [block(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)], 64
    for outputs, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        layers += [Basic(inputs, outputs, stride), Basic(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def resnet50():
    layers, inputs = [block(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)], 64
    for width, count, stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for index in range(count):
            layers.append(Bottleneck(inputs, width, stride if index == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def make(folder):
    for model in (mobilenet_v2, resnet18, resnet50):
        torch.manual_seed(5)
        scripted = torch.jit.script(model().eval())
        scripted.save(str(folder / f"{model.__name__}.script.pt"))
        torch.jit.freeze(scripted).save(str(folder / f"{model.__name__}.freeze.pt"))


def separated(code, weight):
    """Codes two or four of which share a byte, the first one in its lowest bits."""
    bits = 4 if code.numel() == -(-weight.numel() // 2) else 2
    assert code.numel() == -(-weight.numel() * bits // 8)
    bytes = code.numpy()
    each = numpy.stack([bytes >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)], 1).reshape(-1)
    assert not each[weight.numel() :].any()
    return torch.from_numpy(each[: weight.numel()]).reshape(weight.shape)


def check(source, baked, packed, expected):
    known, state, codes = (reader.tensors(path) for path in (source, baked, packed))
    source, baked, packed = (torch.jit.load(path) for path in (source, baked, packed))
    expected = numpy.load(expected)
    quantized = set(expected.files)
    assert len(quantized) > 20 and all(known[name].numel() for name in quantized)
    left = [name for name, value in known.items() if value.dim() > 1 and name not in quantized]
    assert not left, f"{left} are not quantized"
    for module, tensors in ((baked, state), (packed, codes)):
        for name, value in module.state_dict().items():
            assert torch.equal(value, tensors[name]), f"{name} is another one in torch"
    for name, value in known.items():
        wanted = torch.from_numpy(expected[name]) if name in quantized else value
        assert state[name].dtype == wanted.dtype and torch.equal(state[name], wanted), f"{name} in baked"
        if name in quantized:
            zero = codes.get(f"{name}_zero_point", torch.tensor(0.0))
            code = codes[name]
            if code.dtype == torch.uint8:
                code = separated(code, wanted)
            else:
                assert code.dtype == torch.int8, name
            # The scales of constants are further constants; the outputs below tell whether they are right.
            scale = codes.get(f"{name}_scale")
            assert name.startswith("CONSTANTS.") or torch.equal((code.to(torch.float32) - zero) * scale, wanted), f"{name} in packed"
        else:
            assert torch.equal(codes[name], value), name
    torch.manual_seed(6)
    x = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        outputs = baked(x)
        assert torch.isfinite(outputs).all() and outputs.std() > 0
        assert torch.equal(packed(x), outputs), "packed and baked differ"
        assert not torch.equal(source(x), outputs), "nothing was quantized"


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]))
    else:
        check(*sys.argv[2:])
