"""What archives give, as arrays with names: for the scripts that compare it."""


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


