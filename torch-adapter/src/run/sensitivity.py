"""What an archive gives with its weights in float and quantized, batch by batch: DATA ARCHIVE EXCHANGE VALUES.

EXCHANGE says how each tensor is reached that takes other values, and where in VALUES they lie.
"""

# Runs after which the executor of TorchScript has made of an archive what it goes on to run for such inputs.
SETTLED = 2
MADE = {"aten::softmax": "Softmax", "aten::log_softmax": "LogSoftmax", "aten::sigmoid": "Sigmoid"}
SAME = ("aten::to", "aten::detach", "aten::contiguous", "aten::clone", "aten::type_as")


class Exchange:
    """Tensors of a loaded archive, and the values that they can have: of each the float ones first, then those of each step."""

    def __init__(self, model, holders, values):
        bytes_of = numpy.memmap(values, numpy.uint8, "c")
        self.holders = []
        for holder in holders:
            tensor = model
            for step in holder["way"]:
                tensor = getattr(tensor, step) if isinstance(step, str) else tensor[step[0]]
            kind = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[holder["item"]]
            # Its elements as they lie in memory, which they fill without gaps.
            memory = tensor.detach().as_strided((tensor.numel(),), (1,), tensor.storage_offset()).view(kind)
            sets = [torch.from_numpy(bytes_of[at : at + holder["len"]]).view(kind) for at in holder["at"]]
            self.holders.append((memory, sets))

    def put(self, holder, step):
        """Give a tensor the values of a step; 0 is float."""
        memory, sets = self.holders[holder]
        memory.copy_(sets[step])

    def put_all(self, step):
        for holder in range(len(self.holders)):
            self.put(holder, step)


def makers(graph):
    """By the names of the outputs: the op that makes each, and the dimension that it works along."""
    found = {}

    def look(value, name):
        node = value.node()
        while node.kind() in SAME:
            node = next(node.inputs()).node()
        inputs = list(node.inputs())
        if node.kind() in ("prim::TupleConstruct", "prim::ListConstruct"):
            # Those of a named tuple have other names, and no op is said to make them.
            for at, part in enumerate(inputs):
                look(part, f"{name}.{at}")
        elif node.kind() == "prim::DictConstruct":
            for key, part in zip(inputs[::2], inputs[1::2]):
                look(part, f"{name}.{key.toIValue()}")
        elif node.kind() in MADE:
            found[name] = MADE[node.kind()], None if len(inputs) < 2 else inputs[1].toIValue()

    for value in graph.outputs():
        look(value, "output")
    return found


def made_by(makers, name, array):
    """The op that makes an output, where it works along the last dimension."""
    op, dimension = makers.get(name, (None, None))
    return op if dimension in (None, -1, array.ndim - 1) else None


def differs(own, other):
    """Whether outputs are farther off than other orders of sums make them: a ten-thousandth of the largest number."""
    own, other = own.astype("<f8"), other.astype("<f8")
    same = (own == other) | (numpy.isnan(own) & numpy.isnan(other))
    gap = numpy.abs(numpy.where(same, 0.0, own - other))
    return own.size > 0 and not gap.max() <= 1e-4 * numpy.abs(numpy.where(numpy.isfinite(other), other, 0.0)).max()


def sensitivity(request, tell, path, archive, exchange, values):
    with open(exchange, encoding="utf-8") as file:
        told = json.load(file)
    model = Model(archive, request, "archive")
    exchange = Exchange(model.runner.model, told["holders"], values)
    data = Data(path, model.runner.arguments, request["labels"])
    tell(samples=data.samples, torch=torch.__version__)
    makes = makers(model.runner.model.inlined_graph)
    sites, readers = told["sites"], [told["sites"].count(holder) for holder in range(len(told["holders"]))]
    done, settled = 0, set()
    while True:
        count, batch = data.next(request["batch"])
        if not count:
            break
        message = not_finite(batch, done)
        if message:
            raise refuse(data.path, message, "NaN and infinity would spoil every number behind them: leave such samples out")
        labels = None if request["labels"] is None else batch.pop(request["labels"]).astype("<f8")
        samples = f"samples {done} to {done + count - 1}"
        shapes = json.dumps([(name, array.shape) for name, array in batch.items()])

        def send(labels=None):
            outputs = model.run(batch, samples)
            arrays = [] if labels is None else [labels]
            outputs_told = []
            for name, (array, is_float) in outputs.items():
                arrays.append(array)
                made = made_by(makes, name, array)
                outputs_told.append({"name": name, "is_float": is_float, "shape": array.shape, "made_by": made})
            shape = None if labels is None else labels.shape
            tell(arrays, batch={"count": count, "labels": shape, "outputs": outputs_told})
            return outputs

        if shapes not in settled:
            settled.add(shapes)
            for _ in range(SETTLED):
                before = model.run(batch, samples)
            again = model.run(batch, samples)
            for name, (array, _) in again.items():
                if name not in before or before[name][0].shape != array.shape or differs(before[name][0], array):
                    raise Stop(
                        "request",
                        f"the archive gives another `{name}` when it runs on {samples} again: it keeps a state, or draws numbers",
                        help="give an archive whose `forward` depends on its arguments alone",
                    )
        send(labels)
        for step in range(1, len(told["bits"]) + 1):
            exchange.put_all(step)
            send()
            for holder in sites if told["all_but"] else []:
                # What several sites share stays quantized for the others.
                alone = readers[holder] == 1
                if alone:
                    exchange.put(holder, 0)
                send()
                if alone:
                    exchange.put(holder, step)
            exchange.put_all(0)
            for holder in sites:
                exchange.put(holder, step)
                send()
                exchange.put(holder, 0)
        done += count
        tell(done=done)
    tell(finished=done)


main(sensitivity)
