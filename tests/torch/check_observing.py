"""That archives which observe give what their sources give, in either mode, and save what they saw.

    python check_observing.py SOURCES FOLDER     runs FOLDER/<name>.pt beside SOURCES/<name>.pt, writes FOLDER/<name>.seen
"""

import pathlib
import sys
import warnings

import torch

warnings.filterwarnings("ignore")
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "models"))

import make_torch  # noqa: E402


def run(model, name):
    """The model's output on its seeded inputs, or None where this build of torch has no kernel for its types."""
    torch.manual_seed(0)
    try:
        with torch.no_grad():
            return model(*make_torch.inputs(name))
    except RuntimeError as error:
        if "not implemented for" in str(error):
            return None
        raise


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for part in value for tensor in tensors(part)] if isinstance(value, (tuple, list)) else []


def main():
    sources, folder = map(pathlib.Path, sys.argv[1:])
    count = 0
    for path in sorted(folder.glob("*.pt")):
        for training in (True, False):
            source, observing = (torch.jit.load(str(file)).train(training) for file in (sources / path.name, path))
            expected, found = (run(model, path.name.split(".")[0]) for model in (source, observing))
            if expected is None:
                continue
            for a, b in zip(tensors(expected), tensors(found), strict=True):
                assert torch.equal(a.nan_to_num(), b.nan_to_num()), path.name
            for name, tensor in source.state_dict().items():
                assert torch.equal(tensor, observing.state_dict()[name]), (path.name, name)
            if not training:
                observing.save(str(path.with_suffix(".seen")))
                count += 1
    print(count, "archives")


main()
