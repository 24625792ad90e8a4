#!/usr/bin/env python3
"""Train the digits net in PyTorch and save it: digits_script.pt, digits_traced.pt and digits_torch.json.

The net of digits.pb: a convolution, two depthwise and pointwise pairs with ReLU6 and two linear layers on 8 x 8 grey images. It is
trained with batch normalization, which is then folded into the convolutions. Both archives hold the same trainable float32 weights.

    python make_digits_torch.py [--out examples/models] [--epochs 60] [--seed 7]

Plain PyTorch and NumPy; reads the images that make_digits.py wrote beside the models. Everything is seeded and runs on one thread:
the same machine and the same versions give the same weights. Another CPU may sum in another order and end in other last bits.
"""

import argparse
import json
import os
import pathlib
import sys

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import fusion

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent


class Layer(nn.Module):
    """A convolution and ReLU6, with batch norm between them while the net is trained in float."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu6 = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu6(self.bn(self.conv(x)))


class FoldedLayer(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.conv = fusion.fuse_conv_bn_eval(layer.conv, layer.bn)
        self.relu6 = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu6(self.conv(x))


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Layer(1, 12, 3)
        self.dw1 = Layer(12, 12, 3, groups=12)
        self.pw1 = Layer(12, 16, 1)
        self.dw2 = Layer(16, 16, 3, stride=2, groups=16)
        self.pw2 = Layer(16, 24, 1)
        self.dense1 = nn.Linear(24 * 4 * 4, 32)
        self.relu6 = nn.ReLU6()
        self.dense2 = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.pw2(self.dw2(self.pw1(self.dw1(self.conv1(image)))))
        return self.dense2(self.relu6(self.dense1(torch.flatten(x, 1))))

    def fold(self) -> "Digits":
        """This net with each batch norm inside its convolution."""
        self.eval()
        for name, layer in list(self.named_children()):
            if isinstance(layer, Layer):
                setattr(self, name, FoldedLayer(layer))
        return self


def load(name):
    """Images as [N, 1, 8, 8] and labels."""
    data = np.load(EXAMPLES / "data" / name)
    return torch.from_numpy(data["image"]).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(data["label"])


def train(model, images, labels, epochs):
    """Adam with a cosine schedule on images that are each shifted by up to one pixel."""
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(64):
            shifts = torch.randint(-1, 2, (len(batch), 2)).tolist()
            moved = torch.stack([image.roll(shift, (1, 2)) for image, shift in zip(images[batch], shifts)])
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(moved), labels[batch]).backward()
            optimizer.step()
        schedule.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=EXAMPLES / "models", help="folder that gets the archives")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = Digits()
    train(model, *load("digits_train.npz"), args.epochs)
    model.fold()
    images, labels = load("digits_test.npz")
    record = {
        "made_by": pathlib.Path(__file__).name,
        "seed": args.seed,
        "epochs": args.epochs,
        "test_images": len(labels),
        "test_accuracy_percent": {},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__},
    }
    for form, module in [("script", torch.jit.script(model)), ("traced", torch.jit.trace(model, images[:2]))]:
        module.train()  # The archive is for training; whoever evaluates calls eval().
        module.save(str(args.out / f"digits_{form}.pt"))
        with torch.no_grad():
            right = (module(images).argmax(1) == labels).float().mean().item()
        record["test_accuracy_percent"][form] = round(100 * right, 2)
    (args.out / "digits_torch.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    # torch orders some attributes by the hashes of their names.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    main()
