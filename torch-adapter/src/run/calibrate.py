"""Run data through an archive that observes, and save it with what it has seen: ARCHIVE DATA OUT STATE."""

OBSERVERS = ("ObserveMinMax", "ObserveEma", "ObserveHistogram")


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


def calibrate(request, tell, archive, path, out, state):
    runner = Runner(archive, request)
    data = Data(path, runner.arguments)
    calibration = Calibration(runner.model, request["batch"])
    if request["resume"]:
        calibration.resume(state, data.samples)
        data.skip(calibration.done)
    tell(samples=data.samples, done=calibration.done)
    saved = time.monotonic()
    begun = calibration.done
    while True:
        count, batch = data.next(request["batch"])
        if not count:
            break
        samples = f"samples {calibration.done} to {calibration.done + count - 1}"
        message = not_finite(batch, calibration.done)
        if message:
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


main(calibrate)
