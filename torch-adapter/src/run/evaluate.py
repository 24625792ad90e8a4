"""What archives give on data, batch by batch: DATA ARCHIVE [REFERENCE]."""


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
