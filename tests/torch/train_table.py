#!/usr/bin/env python3
"""What training does for the accuracy of quantized archives, with examples/train_archive.py: python train_table.py FOLDER [--epochs N]

train_table.json names the float archive, the rows, the seeds and one budget for all. For each row FOLDER holds two archives that
torch-adapter made of the float one: NAME.training.pt and, where the quantizer has that form, NAME.baked.pt. The float archive is trained like the rows. Each trained archive
is saved as FOLDER/NAME.trained.SEED.pt, and the saved one is what is counted. Prints JSON:

    { "samples": test images, "rows": { NAME: { "baked": percent or null, "trained": [percent, one per seed] } } }

where the row "float" has the accuracy before training as "baked".
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "examples"))

import torch
import train_archive


def score(path):
    return train_archive.accuracy(torch.jit.load(str(path)).eval())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, help="instead of the table's own")
    args = parser.parse_args()
    table = json.loads((ROOT / "tests/torch/train_table.json").read_text())
    epochs = args.epochs or table["epochs"]

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    scores = {}
    archives = {"float": (ROOT / table["archive"], ROOT / table["archive"])}
    archives |= {row["name"]: tuple(args.folder / f"{row['name']}.{form}.pt" for form in ("training", "baked")) for row in table["rows"]}
    for name, (training, baked) in archives.items():
        trained = []
        for seed in table["seeds"]:
            path = args.folder / f"{name}.trained.{seed}.pt"
            train_archive.train(str(training), epochs, table["learning_rate"], seed).save(str(path))
            trained.append(score(path))
        scores[name] = {"baked": score(baked) if baked.exists() else None, "trained": trained}
        print(f"{name}: {scores[name]}", file=sys.stderr, flush=True)
    print(json.dumps({"samples": len(train_archive.load("digits_test.npz")[1]), "rows": scores}))


if __name__ == "__main__":
    main()
