"""Train archives of ours step by step beside an eager straight-through reference, and compare gradients, ranges and outputs exactly.

    python check_training.py make FOLDER        writes FOLDER/net.script.pt, net.trace.pt and net.freeze.pt
    python check_training.py check < cases.json

The reference is the same net as plain modules. Its quantizers are autograd functions written out below; its ranges are those of
`torch.ao.quantization.MovingAverageMinMaxObserver`, `MinMaxObserver` and `PerChannelMinMaxObserver`, its steps are parameters. It shares the
weights' first values with the archive, and nothing else.
"""

import collections
import copy
import io
import json
import pathlib
import sys

import torch
from torch import nn
from torch.ao.quantization import MinMaxObserver, MovingAverageMinMaxObserver, PerChannelMinMaxObserver
from torch.nn.utils.stateless import functional_call

SEED = 20
# Torch specializes a graph after its second run, and its gradient after that: the comparison goes on well beyond.
STEPS = 8


def net():
    """No ReLU6: at exactly 0, where a quantized input of it often is, torch's own gradient of it is 1 in TorchScript and 0 outside."""
    torch.manual_seed(SEED)
    layers = [
        ("conv", nn.Conv2d(3, 8, 3, padding=1)),
        ("act", nn.ReLU()),
        ("depthwise", nn.Conv2d(8, 8, 3, groups=8, bias=False)),
        ("up", nn.ConvTranspose2d(8, 6, 2, stride=2)),
        ("relu", nn.ReLU()),
        ("pool", nn.AvgPool2d(4)),
        ("flat", nn.Flatten()),
        ("fc", nn.Linear(24, 12)),
        ("last", nn.Linear(12, 5, bias=False)),
    ]
    return nn.Sequential(collections.OrderedDict(layers))


def batch(step):
    """Inputs whose range grows and shrinks, so that the moving average lags behind both ways."""
    torch.manual_seed(1000 + step)
    return torch.randn(4, 3, 6, 6) * (1.0 + 0.5 * ((step * 3) % 4)) + 0.25 * step, torch.randn(4, 5)


class FakeQuant(torch.autograd.Function):
    """Quantize and dequantize; the gradient passes where the code lies on the grid."""

    @staticmethod
    def forward(ctx, x, scale, zero_point, low, high):
        code = torch.round(x * (1.0 / scale)) + zero_point
        ctx.save_for_backward((code >= low) & (code <= high))
        return (code.clamp(low, high) - zero_point) * scale

    @staticmethod
    def backward(ctx, gradient):
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None, None, None


class Round(torch.autograd.Function):
    """Round to nearest even; the gradient passes."""

    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Sign(torch.autograd.Function):
    """One bit: the mean of the absolute values with the weight's sign; the gradient passes."""

    @staticmethod
    def forward(ctx, x):
        size = x.abs().mean()
        return torch.where(x < 0, -size, size)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class LearnedStep(torch.autograd.Function):
    """LSQ: the values of torch's fake-quantization; equations 3 and 5 of Esser et al. 2020 (arXiv:1902.08153), and section 2.2."""

    @staticmethod
    def forward(ctx, x, step, low, high, scale):
        code = torch.round(x * (1.0 / step)).clamp(low, high)
        ratio = x / step
        inside = (ratio >= low) & (ratio <= high)
        ctx.save_for_backward(inside, torch.where(inside, code - ratio, code))
        ctx.step, ctx.scale = step.shape, scale
        return code * step

    @staticmethod
    def backward(ctx, gradient):
        inside, slope = ctx.saved_tensors
        return gradient * inside, (gradient * slope).sum_to_size(ctx.step) * ctx.scale, None, None, None


class LsqSite(nn.Module):
    """A quantizer of the reference that learns its step."""

    def __init__(self, kind, settings, channels):
        super().__init__()
        self.kind, self.settings, self.axis = kind, settings, settings.get("channel_axis")
        bits = settings["bits"]
        self.low, self.high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if settings["symmetric"] else (0, 2**bits - 1)
        self.step = nn.Parameter(torch.zeros(() if self.axis is None else channels))

    def forward(self, x):
        root = torch.tensor(float(self.high)).sqrt()
        if self.axis is None:
            count, shape = x.numel() if self.kind == "weight" else x[0].numel(), []
        else:
            count, shape = x.numel() // x.shape[self.axis], [-1 if axis == self.axis else 1 for axis in range(x.dim())]
        if self.training:
            with torch.no_grad():
                size = x.abs().mean() if self.axis is None else x.abs().transpose(0, self.axis).flatten(1).mean(1)
                # Section 2.1: of the weight, or of the first batch; and again where training has left the steps that there can be.
                self.step.copy_(torch.where(self.step > 0, self.step, size * (2.0 / root)))
        if not self.step.gt(0).all():
            return x
        return LearnedStep.apply(x, self.step.view(shape), self.low, self.high, 1.0 / torch.tensor(float(count * self.high)).sqrt())


class Site(nn.Module):
    """One quantizer of the reference."""

    def __init__(self, kind, settings):
        super().__init__()
        self.kind, self.settings, self.step = kind, settings, 0
        bits, symmetric = settings["bits"], settings["symmetric"]
        self.low, self.high = (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
        self.axis = settings.get("channel_axis")
        if settings["quantizer"] == "qat":
            scheme = "symmetric" if symmetric else "affine"
            shared = dict(dtype=torch.qint8 if symmetric else torch.quint8, quant_min=self.low, quant_max=self.high)
            if kind != "weight":
                shared |= dict(averaging_constant=1.0 - settings["ema_decay"], qscheme=getattr(torch, f"per_tensor_{scheme}"))
                self.observer = MovingAverageMinMaxObserver(**shared)
            elif self.axis is None:
                self.observer = lambda: MinMaxObserver(qscheme=getattr(torch, f"per_tensor_{scheme}"), **shared)
            else:
                self.observer = lambda: PerChannelMinMaxObserver(ch_axis=self.axis, qscheme=getattr(torch, f"per_channel_{scheme}"), **shared)

    def dorefa(self, x):
        levels = 2 ** self.settings["bits"] - 1
        if self.kind != "weight":
            return Round.apply(x.clamp(0, 1) * levels) / levels
        if levels == 1:
            return Sign.apply(x)
        squashed = torch.tanh(x)
        unit = squashed / (2 * squashed.abs().max()) + 0.5
        return 2 * (Round.apply(unit * levels) / levels) - 1

    def forward(self, x):
        if self.settings["quantizer"] == "dorefa":
            return self.dorefa(x)
        begun = self.step >= self.settings["quant_start_step"]
        observer = self.observer if self.kind != "weight" else self.observer()
        if self.training:
            self.step += 1
        if self.training or self.kind == "weight":
            observer(x.detach())
        if not begun or self.step == 0:
            return x
        scale, zero_point = observer.calculate_qparams()
        if self.axis is None:
            scale, zero_point = scale.squeeze(), zero_point.squeeze()
        else:
            shape = [-1 if axis == self.axis else 1 for axis in range(x.dim())]
            scale, zero_point = scale.view(shape), zero_point.view(shape)
        return FakeQuant.apply(x, scale, zero_point, self.low, self.high)


class Reference(nn.Module):
    """The net with quantizers where the plan says."""

    def __init__(self, module, sites):
        super().__init__()
        self.net = module
        self.sites = nn.ModuleDict({f"{site['op']}/{site['kind']}": self.site(site) for site in sites})

    def site(self, site):
        kind, settings = site["kind"], site["settings"]
        if settings["quantizer"] != "lsq":
            return Site(kind, settings)
        weight = getattr(getattr(self.net, site["op"]), "weight", None)
        return LsqSite(kind, settings, weight.shape[settings["channel_axis"]] if "channel_axis" in settings else None)

    def wanted(self):
        """The parameters by their names in the archive."""
        named = dict(self.net.named_parameters())
        for key, site in self.sites.items():
            if isinstance(site, LsqSite):
                named[f"{key.replace('/', '.')}_quantizer.step"] = site.step
        return named

    def at(self, name, kind, x):
        key = f"{name}/{kind}"
        return self.sites[key](x) if key in self.sites else x

    def forward(self, x):
        for name, layer in self.net.named_children():
            parameters = dict(layer.named_parameters())
            x = self.at(name, "input", x)
            if "weight" in parameters:
                parameters["weight"] = self.at(name, "weight", parameters["weight"])
            x = self.at(name, "output", functional_call(layer, parameters, (x,)))
        return x


def exactly(what, found, wanted):
    assert found.shape == wanted.shape and found.dtype == wanted.dtype, (what, found.shape, wanted.shape, found.dtype, wanted.dtype)
    assert torch.equal(found, wanted), f"{what}: differs by up to {(found - wanted).abs().max().item()}"


def backward(model, x, target):
    model.zero_grad()
    output = model(x)
    nn.functional.mse_loss(output, target).backward()
    return output.detach()


def check_ranges(archive, reference):
    """The archive's buffers are the observers' ranges; how many ranges there were."""
    state = archive.state_dict()
    found = 0
    for key, site in reference.sites.items():
        op, kind = key.split("/")
        if site.settings["quantizer"] != "qat":
            continue
        assert int(state[f"{op}.{kind}_quantizer.step"]) == site.step, key
        if kind != "weight":
            exactly(f"lower end of {key}", state[f"{op}.{kind}_quantizer.min"], site.observer.min_val)
            exactly(f"upper end of {key}", state[f"{op}.{kind}_quantizer.max"], site.observer.max_val)
            found += 1
    learnt = {name for name, _ in archive.named_parameters()}
    names = sum(name.endswith((".min", ".max", ".step")) for name in state if name not in learnt)
    assert names == 2 * found + sum(site.settings["quantizer"] == "qat" for site in reference.sites.values()), list(state)
    return found


def check_eval(archive, reference, x):
    """Evaluation changes no buffer and no output, and is the reference's."""
    archive.eval(), reference.eval()
    with torch.no_grad():
        before = copy.deepcopy(archive.state_dict())
        first = archive(x)
        for _ in range(3):
            exactly("output of a second evaluation", archive(x), first)
        after = archive.state_dict()
        assert list(before) == list(after)
        for name, value in before.items():
            exactly(f"{name} after evaluation", after[name], value)
        exactly("output in evaluation", first, reference(x))
    archive.train(), reference.train()


def check_checkpoint(archive, path, x):
    """Everything that training changed is in the state: loaded into the untrained archive it gives the trained one."""
    fresh = torch.jit.load(path)
    buffer = io.BytesIO()
    torch.save(archive.state_dict(), buffer)
    buffer.seek(0)
    fresh.load_state_dict(torch.load(buffer))
    with torch.no_grad():
        exactly("output after load_state_dict", fresh.eval()(x), archive.eval()(x))


def by_name(archive, reference):
    """The archive's parameters by the names of the reference; those of a frozen archive are numbered in the order of their use."""
    parameters = dict(archive.named_parameters())
    if "conv.weight" in parameters:
        return parameters
    own, steps = ([name for name in parameters if name.endswith(".step") == is_step] for is_step in (False, True))
    found = sorted(own, key=lambda name: int(name[1:])) + steps
    return dict(zip(reference, (parameters[name] for name in found))) if len(found) == len(reference) else parameters


def check(case):
    archive, reference = torch.jit.load(case["archive"]).train(), Reference(net(), case["sites"]).train()
    start = max(site["settings"]["quant_start_step"] for site in case["sites"])
    assert start < STEPS - 2
    wanted = reference.wanted()
    parameters = by_name(archive, wanted)
    assert parameters.keys() == wanted.keys(), (parameters.keys(), wanted.keys())
    for name, value in wanted.items():
        exactly(f"{name} before training", parameters[name].detach(), value.detach())
    steps = [name for name in wanted if name.endswith(".step")]
    first = {}
    ways = [torch.optim.SGD(group.values(), lr=0.02, momentum=0.9) for group in (parameters, wanted)]
    ranges, moved = 0, False
    for step in range(STEPS):
        x, target = batch(step)
        plain = net()
        plain.load_state_dict(reference.net.state_dict())
        float_output = plain(x).detach()
        output = backward(archive, x, target)
        exactly(f"output in step {step}", output, backward(reference, x, target))
        is_float = torch.equal(output, float_output)
        assert is_float == (step < start), f"step {step} is {'float' if is_float else 'quantized'}, quantization starts at {start}"
        for name, parameter in parameters.items():
            exactly(f"{name} in step {step}", parameter.detach(), wanted[name].detach())
            exactly(f"gradient of {name} in step {step}", parameter.grad, wanted[name].grad)
            moved |= bool(parameter.grad.count_nonzero())
        if step == 0:
            first = {name: parameters[name].detach().clone() for name in steps}
        if not case["frozen"]:
            ranges = check_ranges(archive, reference)
        check_eval(archive, reference, batch(100)[0])
        for way in ways:
            way.step()
    assert moved, "every gradient was zero"
    for name in steps:
        assert (first[name] > 0).all() and not torch.equal(parameters[name], first[name]), f"{name} was not learnt"
    assert case["frozen"] or ranges == sum(site["kind"] != "weight" and site["settings"]["quantizer"] == "qat" for site in case["sites"])
    check_checkpoint(archive, case["archive"], batch(100)[0])


def make(folder):
    torch.jit.script(net()).save(str(folder / "net.script.pt"))
    torch.jit.trace(net(), (batch(0)[0],)).save(str(folder / "net.trace.pt"))
    torch.jit.freeze(torch.jit.script(net().eval())).save(str(folder / "net.freeze.pt"))


def main():
    torch.set_num_threads(1)
    if sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]))
        return
    cases = json.load(sys.stdin)
    failed = []
    for case in cases:
        try:
            check(case)
        except AssertionError as error:
            failed.append(f"{case['archive']} ({case['name']}): {error}")
    if failed:
        raise SystemExit("\n".join(failed))
    print(f"{len(cases)} archives")


if __name__ == "__main__":
    main()
