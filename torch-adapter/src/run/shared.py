"""Data, and archives that it runs through: what the scripts share that torch-adapter feeds to Python.

A script stands behind this text on standard input, `python3 - REQUEST PATH...`, and is not meant for anything else.
What happens is told on standard output, one JSON object a line.
"""

import json
import os
import sys
import time
import zipfile

if sys.path and sys.path[0] == "":
    # Nothing of the current folder stands in for a package.
    del sys.path[0]

import numpy  # noqa: E402
import torch  # noqa: E402

# Archives are read in pieces of so many bytes where samples are passed over.
PIECE = 1 << 20
SHOWN = 20


class Stop(Exception):
    """What ends the run, as it is told."""

    def __init__(self, kind, message, **more):
        super().__init__(message)
        self.told = {"error": kind, "message": message, **more}


def refuse(path, message, expected):
    return Stop("data", message, path=path, help=expected)


class Array:
    """An array of a file, read from the first sample to the last."""

    def __init__(self, name, path, stream):
        self.name, self.path, self.stream = name, path, stream
        head = numpy.lib.format
        try:
            version = head.read_magic(stream)
            read = head.read_array_header_1_0 if version == (1, 0) else head.read_array_header_2_0
            shape, fortran, self.dtype = read(stream)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise refuse(path, f"`{name}`: {error}", "expected what `numpy.savez` or `numpy.save` write") from None
        if self.dtype.kind not in "fiub":
            raise refuse(
                path,
                f"`{name}` has elements of type `{self.dtype}`, which is not read",
                "use float16 to float64, int8 to int64, uint8 or bool",
            )
        if not shape:
            raise refuse(
                path,
                f"`{name}` is a single number, expected an array with the sample as outermost dimension",
                "give it a first dimension of one element per sample, or give it as `--feed NAME=VALUE`",
            )
        if fortran and len(shape) > 1:
            raise refuse(path, f"`{name}` is in Fortran's order", "save `numpy.ascontiguousarray(array)`")
        self.shape, self.samples, self.left = shape[1:], shape[0], shape[0]
        self.sample_bytes = self.dtype.itemsize
        for size in self.shape:
            self.sample_bytes *= size
        if self.sample_bytes == 0:
            raise refuse(path, f"`{name}` has samples without elements", "give arrays without a dimension of 0")

    def take(self, length, into):
        """Read `length` bytes to the end of `into`."""
        while length:
            try:
                piece = self.stream.read(min(length, PIECE))
            except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
                raise refuse(self.path, f"`{self.name}`: {error}", "the file is damaged") from None
            if not piece:
                raise refuse(self.path, f"`{self.name}` ends too early", "the file is damaged or was cut off")
            length -= len(piece)
            if into is not None:
                into += piece

    def read(self, samples):
        self.left -= samples
        into = bytearray()
        self.take(samples * self.sample_bytes, into)
        found = numpy.frombuffer(into, self.dtype).reshape((samples, *self.shape))
        return found.astype(self.dtype.newbyteorder("="), copy=False)

    def skip(self, samples):
        self.left -= samples
        self.take(samples * self.sample_bytes, None)


class Data:
    """Samples of several arrays, from one file or, in the order of their names, those of a folder."""

    def __init__(self, path, arguments, labels=None):
        self.files = [path]
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if name.endswith((".npz", ".npy")))
            if not names:
                raise refuse(path, "the folder holds no .npz and no .npy", "a folder of what `numpy.savez` or `numpy.save` write")
            self.files = [os.path.join(path, name) for name in names]
        self.path, self.arguments, self.labels = path, arguments, labels
        self.of_argument = self.chosen()
        self.samples, self.sizes, known = 0, [], None
        for position in range(len(self.files)):
            arrays = self.open(position)
            kinds = {array.name: (array.dtype, array.shape) for array in arrays}
            counts = {array.samples for array in arrays}
            if len(counts) > 1:
                told = ", ".join(f"`{array.name}` {array.samples}" for array in arrays)
                raise refuse(
                    self.files[position],
                    f"the arrays have different numbers of samples: {told}",
                    "the outermost dimension counts the samples; what is the same in every run is given as `--feed NAME=VALUE`",
                )
            if known is not None and kinds != known:
                raise refuse(
                    self.files[position],
                    "the samples are of another type or shape than in the file before",
                    "the parts of a data set have one element type and shape",
                )
            known = kinds
            self.sizes.append(counts.pop())
            self.samples += self.sizes[-1]
        if not self.samples:
            raise refuse(path, "there are no samples", "give at least one")
        self.position, self.arrays = 0, []

    def names(self, file):
        if file.endswith(".npy"):
            return [os.path.basename(file)[:-4]]
        try:
            with zipfile.ZipFile(file) as archive:
                names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
            if not names:
                raise refuse(file, "it holds no arrays", "expected what `numpy.savez` writes")
            return names
        except (OSError, zipfile.BadZipFile) as error:
            raise refuse(file, f"cannot be read: {error}", "expected a .npz, a .npy or a folder of them") from None

    def chosen(self):
        """Which array is which argument: by its name, by its position (`arr_0`, …), or as the only one there is."""
        there = self.names(self.files[0])
        names = [name for name in there if name != self.labels]
        chosen = {}
        for position, (argument, needed) in enumerate(self.arguments):
            if argument in names:
                chosen[argument] = argument
            elif f"arr_{position}" in names:
                chosen[argument] = f"arr_{position}"
            elif needed:
                if len(names) == 1 and [name for name, needed in self.arguments if needed] == [argument]:
                    chosen[argument] = names[0]
                    continue
                raise refuse(
                    self.files[0],
                    f"there is no array for the argument `{argument}` of `forward`; there are {listed(names)}",
                    "name the arrays after the arguments, `numpy.savez(file, x=array)`, or give them in their order, "
                    "`numpy.savez(file, first, second)`; what is the same in every run is given as `--feed NAME=VALUE`",
                )
        if not chosen:
            raise Stop("request", "`forward` takes nothing that data could be", help="give an archive whose `forward` takes tensors")
        if self.labels is not None:
            if self.labels not in there:
                raise refuse(
                    self.files[0],
                    f"there is no array `{self.labels}` with labels; there are {listed(there)}",
                    "labels are a further array of the data, with the right class of each sample: `numpy.savez(file, x=array, label=classes)`",
                )
            if self.labels in chosen:
                raise refuse(
                    self.files[0],
                    f"the labels `{self.labels}` are called like an argument of `forward`",
                    "name them otherwise: `numpy.savez(file, x=array, label=classes)`",
                )
            chosen[self.labels] = self.labels
        return chosen

    def open(self, position):
        file = self.files[position]
        arrays = []
        try:
            if file.endswith(".npy"):
                if len(self.of_argument) != 1:
                    raise refuse(file, "a .npy file holds one array, and `forward` takes several", "put the arrays into a .npz")
                return [Array(argument, file, open(file, "rb")) for argument in self.of_argument]
            archive = zipfile.ZipFile(file)
            for argument, name in self.of_argument.items():
                arrays.append(Array(argument, file, archive.open(name + ".npy")))
        except KeyError:
            raise refuse(file, f"there is no array `{name}`", "the parts of a data set have the same arrays") from None
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise refuse(file, f"cannot be read: {error}", "expected a .npz, a .npy or a folder of them") from None
        return arrays

    def forward(self):
        """The arrays that have samples left."""
        while not self.arrays or not self.arrays[0].left:
            if self.position == len(self.files):
                return []
            self.arrays = self.open(self.position)
            self.position += 1
        return self.arrays

    def next(self, most):
        """The next `most` samples by argument, fewer at the end; a batch reaches over the end of a file."""
        parts, samples = {}, 0
        while samples < most:
            arrays = self.forward()
            if not arrays:
                break
            now = min(arrays[0].left, most - samples)
            for array in arrays:
                parts.setdefault(array.name, []).append(array.read(now))
            samples += now
        joined = {name: found[0] if len(found) == 1 else numpy.concatenate(found) for name, found in parts.items()}
        return samples, joined

    def skip(self, samples):
        while samples:
            arrays = self.forward()
            now = min(arrays[0].left, samples)
            for array in arrays:
                array.skip(now)
            samples -= now


class Runner:
    """An archive with its arguments; `who` it is in messages."""

    def __init__(self, path, request, who="archive"):
        self.who = who
        try:
            self.model = torch.jit.load(path, map_location="cpu")
        except MemoryError:
            raise
        except Exception as error:
            raise Stop("torch", words(error), action=f"load the {who}") from None
        self.model.eval()
        if not hasattr(self.model, "forward"):
            raise Stop("request", f"the {who} has no method `forward`", help="give an archive that can be called")
        given = [*self.model.parameters(), *self.model.buffers()]
        floats = (tensor.dtype for tensor in given if tensor.is_floating_point())
        self.float = getattr(torch, request["float"]) if request["float"] else next(floats, torch.float32)
        self.fixed, self.arguments, named = {}, [], dict(request["feeds"])
        for argument in self.model.forward.schema.arguments[1:]:
            kind = str(argument.type)
            is_tensor = kind in ("Tensor", "Optional[Tensor]", "Tensor?")
            if argument.name in named:
                value = named.pop(argument.name)
                self.fixed[argument.name] = self.tensor(numpy.asarray(value)) if is_tensor else value
            elif is_tensor:
                self.arguments.append((argument.name, not argument.has_default_value()))
            elif not argument.has_default_value():
                raise Stop(
                    "request",
                    f"the argument `{argument.name}` of `forward` is no tensor but `{kind}`",
                    help=f"give its value as `--feed {argument.name}=VALUE`",
                )
        if named:
            known = ", ".join(f"`{argument.name}`" for argument in self.model.forward.schema.arguments[1:])
            raise Stop(
                "request",
                f"`forward` has no argument `{next(iter(named))}`; it has {known}",
                help="`--feed NAME=VALUE` names an argument of `forward`",
            )

    def tensor(self, array):
        """As a tensor; numbers that are not whole are of the type of the weights."""
        try:
            found = torch.from_numpy(array)
        except TypeError as error:
            raise Stop("request", words(error), help="use float16 to float64, int8 to int64, uint8 or bool") from None
        return found.to(self.float) if found.is_floating_point() else found

    def run(self, batch, samples):
        try:
            return self.model(**{name: self.tensor(array) for name, array in batch.items()}, **self.fixed)
        except (Stop, MemoryError):
            raise
        except Exception as error:
            # Whatever the archive's own code raises.
            shapes = ", ".join(f"`{name}` {array.dtype}{list(array.shape)}" for name, array in batch.items())
            raise Stop("torch", words(error), action=f"run the {self.who} on {samples} ({shapes})") from None


def listed(names):
    """Names for a message."""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(f"`{name}`" for name in names[:SHOWN]) or "none") + more


def words(error):
    """The line of an error that says what is wrong, the last one of a trace."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    said = [line for line in lines if "Error: " in line]
    return said[-1] if said else (lines[-1] if lines else type(error).__name__)


def not_finite(batch, first):
    """What is no number in a batch whose first sample has that number."""
    for name, array in batch.items():
        if array.dtype.kind == "f" and not numpy.isfinite(array).all():
            at = [int(index) for index in numpy.argwhere(~numpy.isfinite(array))[0]]
            what = array[tuple(at)]
            at[0] += first
            return f"`{name}` has {what} at {at}"
    return None


class Report:
    """What happens, as lines that nothing which the model prints is taken for; `arrays` follow their line as they lie in memory."""

    def __init__(self):
        self.stream = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def __call__(self, arrays=(), **told):
        self.stream.write(json.dumps(told).encode() + b"\n")
        for array in arrays:
            self.stream.write(array.tobytes())
        self.stream.flush()


def main(work):
    tell = Report()
    request = json.loads(sys.argv[1])
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    try:
        with torch.no_grad():
            work(request, tell, *sys.argv[2:])
    except Stop as stop:
        tell(**stop.told)
    except MemoryError:
        tell(error="torch", message="there is not enough memory", action="run the archive")


