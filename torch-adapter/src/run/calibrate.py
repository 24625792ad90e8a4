"""Run data through an archive that observes, and save it with what it has seen.

Fed on standard input by torch-adapter, and not meant for anything else: `python3 - REQUEST ARCHIVE DATA OUT STATE`.
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

OBSERVERS = ("ObserveMinMax", "ObserveEma", "ObserveHistogram")
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

    def __init__(self, path, arguments):
        self.files = [path]
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if name.endswith((".npz", ".npy")))
            if not names:
                raise refuse(path, "the folder holds no .npz and no .npy", "a folder of what `numpy.savez` or `numpy.save` write")
            self.files = [os.path.join(path, name) for name in names]
        self.path, self.arguments = path, arguments
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
        names = self.names(self.files[0])
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
                there = ", ".join(f"`{name}`" for name in names[:SHOWN])
                raise refuse(
                    self.files[0],
                    f"there is no array for the argument `{argument}` of `forward`; there are {there}",
                    "name the arrays after the arguments, `numpy.savez(file, x=array)`, or give them in their order, "
                    "`numpy.savez(file, first, second)`; what is the same in every run is given as `--feed NAME=VALUE`",
                )
        if not chosen:
            raise Stop("request", "`forward` takes nothing that data could be", help="give an archive whose `forward` takes tensors")
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
    """An archive with its arguments."""

    def __init__(self, path, feeds):
        try:
            self.model = torch.jit.load(path, map_location="cpu")
        except RuntimeError as error:
            raise Stop("torch", words(error), action="load the archive") from None
        self.model.eval()
        if not hasattr(self.model, "forward"):
            raise Stop("request", "the archive has no method `forward`", help="give an archive that can be called")
        floats = (tensor.dtype for tensor in self.model.parameters() if tensor.is_floating_point())
        self.float = next(floats, torch.float32)
        self.fixed, self.arguments, named = {}, [], dict(feeds)
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
        except RuntimeError as error:
            shapes = ", ".join(f"`{name}` {array.dtype}{list(array.shape)}" for name, array in batch.items())
            raise Stop("torch", words(error), action=f"run the archive on {samples} ({shapes})") from None


def words(error):
    """The line of an error that says what is wrong, the last one of a trace."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    said = [line for line in lines if "Error: " in line]
    return said[-1] if said else (lines[-1] if lines else type(error).__name__)


class Calibration:
    """An archive that observes, and the state of its observers."""

    def __init__(self, model, batch):
        modules = dict(model.named_modules())
        self.observers = [module for module in modules.values() if module.original_name in OBSERVERS]
        self.source = next(module.source for module in modules.values() if module.original_name == "Observed")
        self.buffers = [tensor for observer in self.observers for _, tensor in sorted(observer.named_buffers())]
        self.ends = [(observer.min, observer.max) for observer in self.observers]
        moving = any(observer.original_name == "ObserveEma" for observer in self.observers)
        self.batch = batch if moving else None
        self.done = 0

    def check(self, samples):
        """Whether every number was finite; where nothing was seen yet, the smallest value is infinite and the largest is less."""
        lows = torch.stack([low for low, _ in self.ends])
        widths = torch.stack([high for _, high in self.ends]) - lows
        if not bool((widths < float("inf")).all()):
            at = int((~(widths < float("inf"))).nonzero()[0])
            site = json.loads(self.observers[at].site)
            raise Stop("infinite", f"{site['tensor']} ({site['kind']} of {site['op']}; {samples})")

    def save(self, path):
        told = {"source": self.source, "samples": self.done, "batch": self.batch}
        arrays = {str(number): tensor.numpy() for number, tensor in enumerate(self.buffers)}
        new = path + ".new"
        try:
            with open(new, "wb") as file:
                numpy.savez(file, run=numpy.array(json.dumps(told)), **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)
        except OSError as error:
            try:
                os.unlink(new)
            except OSError:
                pass
            raise Stop("io", error.strerror or str(error), action="write", path=path) from None

    def resume(self, path, available):
        def differs(message):
            return Stop("resume", message, path=path)

        try:
            with numpy.load(path, allow_pickle=False) as file:
                told = json.loads(str(file["run"]))
                source, batch, samples = told["source"], told["batch"], int(told["samples"])
                if source != self.source:
                    raise differs("it was made with another model, config or way of counting")
                if batch != self.batch:
                    raise differs(f"a moving average was made in batches of {batch} samples, and these are of {self.batch}")
                if samples > available:
                    raise differs(f"it was made from {samples} samples, and the data holds {available}")
                arrays = [file[str(number)] for number in range(len(self.buffers))]
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise differs(f"the state cannot be read: {words(error)}") from None
        if any(tuple(tensor.shape) != array.shape for tensor, array in zip(self.buffers, arrays)):
            raise differs("the state cannot be read: its numbers are of another shape")
        for tensor, array in zip(self.buffers, arrays):
            tensor.copy_(torch.from_numpy(array))
        self.done = samples


def check_finite(batch, first):
    for name, array in batch.items():
        if array.dtype.kind == "f" and not numpy.isfinite(array).all():
            at = [int(index) for index in numpy.argwhere(~numpy.isfinite(array))[0]]
            what = array[tuple(at)]
            at[0] += first
            yield name, f"`{name}` has {what} at {at}"


def calibrate(request, tell, archive, path, out, state):
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    runner = Runner(archive, request["feeds"])
    data = Data(path, runner.arguments)
    calibration = Calibration(runner.model, request["batch"])
    if request["resume"]:
        calibration.resume(state, data.samples)
        data.skip(calibration.done)
    tell(samples=data.samples, done=calibration.done)
    saved = time.monotonic()
    begun = calibration.done
    with torch.no_grad():
        while True:
            count, batch = data.next(request["batch"])
            if not count:
                break
            samples = f"samples {calibration.done} to {calibration.done + count - 1}"
            for _, message in check_finite(batch, calibration.done):
                if state and calibration.done > begun:
                    calibration.save(state)
                raise refuse(data.path, message, "NaN and infinity would spoil every statistic behind them: leave such samples out")
            runner.run(batch, samples)
            calibration.check(samples)
            calibration.done += count
            tell(done=calibration.done)
            if state and time.monotonic() - saved >= request["save_every"]:
                calibration.save(state)
                saved = time.monotonic()
    if state:
        calibration.save(state)
    try:
        torch.jit.save(runner.model, out)
    except (RuntimeError, OSError) as error:
        raise Stop("io", words(error), action="write", path=out) from None
    tell(finished=calibration.done, torch=torch.__version__)


def main():
    # What the model prints goes where it does not look like ours.
    stream = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def tell(**told):
        stream.write(json.dumps(told) + "\n")
        stream.flush()

    request = json.loads(sys.argv[1])
    try:
        calibrate(request, tell, *sys.argv[2:])
    except Stop as stop:
        tell(**stop.told)
    except MemoryError:
        tell(error="torch", message="there is not enough memory", action="run the archive")


import numpy  # noqa: E402
import torch  # noqa: E402

main()
