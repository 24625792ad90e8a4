"""What archives give on data, batch by batch: DATA ARCHIVE [REFERENCE]."""


def tensors(value, name="output"):
    """Every tensor of what `forward` gives, by its place there: `output`, `output.0`, `output.boxes`."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, (bool, int, float)):
        yield name, torch.tensor(value)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from tensors(part, f"{name}.{key}")
    elif isinstance(value, (tuple, list)):
        keys = getattr(value, "_fields", range(len(value)))
        for key, part in zip(keys, value):
            yield from tensors(part, f"{name}.{key}")
    elif value is not None:
        raise Stop(
            "request",
            f"`{name}` of the archive is of type `{type(value).__name__}`, which cannot be compared",
            help="give an archive whose `forward` gives tensors, numbers, or tuples, lists and dictionaries of them",
        )


def plain(name, tensor):
    """A tensor as float32, and whether it was made of floating-point numbers."""
    if tensor.is_complex():
        raise Stop(
            "request",
            f"`{name}` of the archive has complex numbers, which cannot be compared",
            help="let `forward` give `torch.view_as_real(x)`",
        )
    tensor = tensor.dequantize() if tensor.is_quantized else tensor.to_dense() if tensor.is_sparse else tensor
    is_float = tensor.is_floating_point()
    # Whole numbers are rounded once, too, where they are too long for a float32: a float64 holds what classes and indices are.
    array = (tensor if is_float else tensor.double()).to(torch.float32).cpu().contiguous().numpy()
    return array, is_float


class Model:
    """An archive, fed by the names that another has for the same arguments."""

    def __init__(self, path, request, who, like=None):
        self.runner = Runner(path, request, who)
        own = [name for name, _ in self.runner.arguments]
        names = own if like is None else [name for name, _ in like]
        if len(own) != len(names):
            raise Stop(
                "request",
                f"the archives have different inputs: {listed(names)} and {listed(own)}",
                help="compare two forms of one model",
            )
        self.names = dict(zip(names, own))

    def run(self, batch, samples):
        value = self.runner.run({self.names[name]: array for name, array in batch.items()}, samples)
        return {name: plain(name, tensor) for name, tensor in tensors(value)}


def evaluate(request, tell, path, archive, against=None):
    model = Model(archive, request, "archive")
    reference = against and Model(against, request, "reference", model.runner.arguments)
    data = Data(path, model.runner.arguments, request["labels"])
    tell(samples=data.samples)
    done = 0
    while True:
        count, batch = data.next(request["batch"])
        if not count:
            break
        message = not_finite(batch, done)
        if message:
            raise refuse(data.path, message, "NaN and infinity would spoil every number behind them: leave such samples out")
        labels = None if request["labels"] is None else batch.pop(request["labels"]).astype("<f8")
        samples = f"samples {done} to {done + count - 1}"
        own = model.run(batch, samples)
        other = reference.run(batch, samples) if reference else {}
        told, arrays = [], [] if labels is None else [labels]
        for name, (array, is_float) in own.items():
            beside = other.get(name, (None, None))[0]
            if reference and beside is None:
                raise Stop(
                    "request",
                    f"the reference gives no `{name}`, which the archive gives; it gives {listed(list(other))}",
                    help="compare two forms of one model",
                )
            arrays += [array] if beside is None else [array, beside]
            shapes = {"shape": array.shape, "reference": None if beside is None else beside.shape}
            told.append({"name": name, "is_float": is_float, **shapes})
        done += count
        tell(arrays, done=done, batch={"count": count, "labels": None if labels is None else labels.shape, "outputs": told})
    tell(finished=done, torch=torch.__version__)


main(evaluate)
