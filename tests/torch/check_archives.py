"""Load every archive that our adapter wrote into PyTorch, and run, train, save, copy and freeze it there.

    python check_archives.py MODELS < cases.json

A case names the source archive and the written one, how it was made, and an .npz with the weights that it must have. Prints one line
per case; the first thing that is not as it should be ends the script with its story.
"""

import copy
import io
import json
import pathlib
import sys
import warnings

import numpy
import torch

warnings.filterwarnings("ignore")
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "models"))

import make_torch  # noqa: E402
import reader  # noqa: E402

PASSES = 4
# Parameters in a branch that the seeded inputs do not take.
NOT_REACHED = {"flow": 2}


def same(a, b):
    """Equal bit for bit."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def run(module, name, grad=False):
    """The model's output on its seeded inputs, or None where this build of torch has no kernel for its types."""
    torch.manual_seed(0)
    try:
        with torch.set_grad_enabled(grad):
            return module(*make_torch.inputs(name))
    except RuntimeError as error:
        if "not implemented for" in str(error):
            return None
        raise


def reload(module):
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def decoded(tensors, name, settings):
    """The values of a packed weight, as its text decodes them."""
    codes = tensors[name].to(torch.float32)
    scale, zero_point = tensors.get(f"{name}_scale"), tensors.get(f"{name}_zero_point")
    if settings["quantizer"] == "dorefa":
        return None
    return (codes if zero_point is None else codes - zero_point) * scale


def check_weights(case, module):
    """The weights in PyTorch are those of quant-math, bit for bit."""
    expected = numpy.load(case["expected"])
    loaded = {**reader.tensors(case["output"]), **module.state_dict()}
    for site in case["weights"]:
        name, settings = site["tensor"], site["settings"]
        if site["copied"]:
            # Its values stand elsewhere; check_weights.py looks at such weights.
            assert loaded[name].is_floating_point(), name
            continue
        wanted = torch.from_numpy(expected[name])
        found = loaded[name]
        if case["emit"] == "packed":
            assert found.dtype == torch.int8, (name, found.dtype)
            if name.startswith("CONSTANTS."):
                # Their scales are further constants; the outputs, which must equal those of `baked`, tell whether they are right.
                continue
            found = decoded(loaded, name, settings)
            if found is None:
                continue
            assert same(found, wanted), name
        else:
            assert same(found, wanted.to(found.dtype)), name


def trainable(module):
    return [p for p in module.parameters() if p.requires_grad]


def gradients(module, name):
    """How many parameters get a gradient in a training pass."""
    module.train()
    for parameter in module.parameters():
        parameter.grad = None
    output = run(module, name, grad=True)
    if output is None or not output.requires_grad:
        return None
    output.float().pow(2).sum().backward()
    return sum(p.grad is not None for p in module.parameters())


def check_loss(module, name):
    """Training lowers a loss of a thawed model."""
    module.train()
    wanted = torch.zeros_like(run(module, name)) + 0.5
    way = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(12):
        way.zero_grad()
        loss = (run(module, name, grad=True) - wanted).float().pow(2).mean()
        loss.backward()
        way.step()
        losses.append(loss.item())
    assert min(losses) < losses[0], f"the loss does not fall: {losses}"


def can_be_copied(source, name):
    """Torch's own deep copy of a model whose weights are views of one buffer does not run, quantized or not."""
    try:
        return run(copy.deepcopy(source), name) is not None
    except RuntimeError:
        return False


def check_training(case, module):
    name = case["model"]
    before = {key: value.clone() for key, value in module.state_dict().items()}
    module.eval()
    first = run(module, name)
    if first is None:
        return
    run(module, name)
    for key, value in module.state_dict().items():
        assert same(value, before[key]), f"evaluation changed {key}"
    found = [gradients(module, name) for _ in range(PASSES)]
    source = torch.jit.load(case["source"])
    frozen = not hasattr(source, "training")
    learnt = [value for key, value in module.named_parameters() if key.endswith(".step")]
    # What nothing reaches has no step that is learnt, either.
    idle = sum(value.grad is None for value in learnt)
    if frozen:
        wanted = len(trainable(module)) - (NOT_REACHED[name] + idle if name in NOT_REACHED else 0)
    else:
        wanted = gradients(source, name)
        wanted = (wanted or 0) + len(learnt) - idle if learnt else wanted
    assert found[-1] == wanted, f"{found[-1]} parameters get a gradient, {wanted} should"
    # The weights of `views` are parts of one buffer, which is no parameter.
    assert wanted or name == "views" or not case["weights"], "there is nothing to train"
    if frozen and wanted:
        check_loss(torch.jit.load(case["output"]), name)
    steps = [key for key in module.state_dict() if key.endswith(".step")]
    assert case["quantizer"] == "dorefa" or not case["weights"] or steps, "no steps in the state"
    module.eval()
    trained = run(module, name)
    again = reload(module)
    assert list(again.state_dict()) == list(module.state_dict())
    assert same(run(again, name), trained), "saved and loaded again it differs"
    if can_be_copied(source, name):
        assert same(run(copy.deepcopy(module), name), trained), "the deep copy differs"
    # With its numeric optimizations torch folds batch norms into weights, which changes values; without them it keeps every bit.
    exact = torch.jit.freeze(reload(module), optimize_numerics=False)
    assert same(run(exact, name), trained), "frozen by torch it differs"
    assert bool(torch.isfinite(run(torch.jit.freeze(module), name)).all()), "frozen by torch it is not finite"
    for key, value in module.state_dict().items():
        if case["quantizer"] == "lsq":
            # Set by the first pass, unless nothing runs the site or gives it but zeros.
            assert not key.endswith(".step") or bool((value >= 0).all()), (key, value)
        elif key.endswith(".step"):
            # Every pass counts once, however often the code runs the site; never for one that nothing runs.
            assert int(value) in (0, PASSES), (key, value)


def check(case, outputs):
    source, module = torch.jit.load(case["source"]), torch.jit.load(case["output"])
    name = case["model"]
    if case["emit"] in ("baked", "packed"):
        check_weights(case, module)
    wanted, found = run(source, name), run(module, name)
    assert (wanted is None) == (found is None)
    if found is not None:
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        assert bool(torch.isfinite(found).all()), "the output is not finite"
        assert same(run(reload(module), name), found), "saved and loaded again it differs"
        key = (case["source"], case["config"])
        if case["emit"] == "baked":
            outputs[key] = found
        elif case["emit"] == "packed" and key in outputs and not case["partial"]:
            assert same(found, outputs[key]), "packed and baked differ"
    if case["emit"] == "training":
        check_training(case, module)


def main():
    cases = json.load(sys.stdin)
    outputs = {}
    for case in cases:
        try:
            check(case, outputs)
        except Exception as error:
            story = f"{case['output']} ({case['config']}, {case['emit']}): {type(error).__name__}: {error}"
            raise SystemExit(story) from error
    print(f"{len(cases)} archives")


if __name__ == "__main__":
    main()
