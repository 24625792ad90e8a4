#!/usr/bin/env python3
"""Train the digits net in PyTorch and save it: digits_script.pt, digits_traced.pt and digits_torch.json.

The layers are those of make_digits.py, with batch normalization left in: convolutions, depthwise convolutions, ReLU6 and two linear
layers on 8 x 8 grey images. It trains on the 512 images of digits_train_512.npz, which make_digits.py wrote, and is tested on
digits_test.npz. The traced archive is traced in eval mode: its batch norm stays as it is, whatever trains it further.

    python make_digits_torch.py [--out examples] [--epochs 120] [--seed 7]

Everything is seeded and runs on one thread: the same machine and the same PyTorch give the same files.
"""

import argparse
import json
import os
import pathlib
import sys

import numpy as np
import torch
from torch import Tensor, nn

HIDDEN = 32


def layer(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class Digits(nn.Module):
    """[N, 1, 8, 8] in 0..1 to ten logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = layer(1, 12, 3)
        self.dw1 = layer(12, 12, 3, groups=12)
        self.pw1 = layer(12, 16, 1)
        self.dw2 = layer(16, 16, 3, stride=2, groups=16)
        self.pw2 = layer(16, 24, 1)
        self.dense1 = nn.Linear(4 * 4 * 24, HIDDEN)
        self.relu = nn.ReLU6()
        self.dense2 = nn.Linear(HIDDEN, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.pw2(self.dw2(self.pw1(self.dw1(self.conv1(image)))))
        return self.dense2(self.relu(self.dense1(torch.flatten(x, 1))))


def load(path):
    """(images [N, 1, 8, 8], labels [N]); the files hold images as [N, 8, 8, 1]."""
    with np.load(path) as data:
        return torch.from_numpy(data["image"]).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(data["label"])


def shifted(images, rng):
    """Every image moved by up to one pixel in each direction."""
    moves = rng.integers(-1, 2, size=(len(images), 2))
    return torch.stack([torch.roll(image, tuple(int(m) for m in move), (1, 2)) for image, move in zip(images, moves)])


def train(model, images, labels, epochs, seed, rate=5e-3):
    """Adam with a cosine schedule on shifted images, in batches of 64."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate)
    steps = epochs * (len(labels) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(epochs):
        moved = shifted(images, rng)
        order = torch.from_numpy(rng.permutation(len(labels)))
        for batch in order.split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(moved[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model, images, labels):
    """Percent of the images whose largest logit is the label's."""
    with torch.no_grad():
        return 100.0 * float((model(images).argmax(1) == labels).float().mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--out", type=pathlib.Path, default=here.parent, help="folder that gets models/")
    parser.add_argument("--data", type=pathlib.Path, default=here.parent / "data", help="folder with the images")
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    images, labels = load(args.data / "digits_train_512.npz")
    test_images, test_labels = load(args.data / "digits_test.npz")
    model = train(Digits(), images, labels, args.epochs, args.seed)

    models = args.out / "models"
    models.mkdir(parents=True, exist_ok=True)
    script, traced = torch.jit.script(model), torch.jit.trace(model, images[:1])
    script.save(str(models / "digits_script.pt"))
    traced.save(str(models / "digits_traced.pt"))
    record = {
        "made_by": pathlib.Path(__file__).name,
        "seed": args.seed,
        "epochs": args.epochs,
        "train_images": len(labels),
        "test_images": len(test_labels),
        "test_accuracy_percent": round(accuracy(script, test_images, test_labels), 2),
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__},
    }
    assert accuracy(traced, test_images, test_labels) == accuracy(script, test_images, test_labels)
    (models / "digits_torch.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    # torch orders some attributes by the hashes of their names.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    main()
