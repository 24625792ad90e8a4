#!/usr/bin/env python3
"""Train a TorchScript archive on the digits with stock PyTorch: python3 train_archive.py IN.pt OUT.pt [--epochs N --lr R --seed N]

Nothing here knows of quantization: a `--emit training` archive brings its own, and a float archive trains the same way.
"""
import argparse
import pathlib

import numpy as np
import torch

DATA = pathlib.Path(__file__).resolve().parent / "data"


def load(name):
    data = np.load(DATA / name)
    return torch.from_numpy(data["image"]).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(data["label"])


def train(archive, epochs, lr, seed):
    torch.manual_seed(seed)
    images, labels = load("digits_train.npz")
    model = torch.jit.load(archive).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def accuracy(model):
    """Percent of the test images whose largest logit is the label's."""
    images, labels = load("digits_test.npz")
    with torch.no_grad():
        return 100.0 * (model(images).argmax(1) == labels).float().mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", metavar="IN.pt")
    parser.add_argument("out", metavar="OUT.pt")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = train(args.archive, args.epochs, args.lr, args.seed)
    torch.jit.save(model, args.out)
    print(f"{args.out}: {accuracy(model):.2f} % of the test images")
