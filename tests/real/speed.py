"""Time and memory of whole commands, side by side. Arguments: tf-rewriter, Python with TensorFlow, Python with OpenVINO, the models' folder, a folder
to work in, and which of COMPARED to run.

Prints a row a line, as JSON. Needs no package: a process starts small where the one that starts it is small, and peak memory begins with that.
Commands that are compared run in turns, so that all meet the same machine. Of each, the least of the runs counts: what else the machine does makes
a command slower, never faster.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

PROGRAM, TENSORFLOW, OPENVINO = sys.argv[1:4]
MODELS, WORK = (pathlib.Path(argument) for argument in sys.argv[4:6])

READ_MODEL = "import sys, openvino; openvino.Core().read_model(sys.argv[1])"
CONVERT = """
import sys
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
loaded = tf.saved_model.load(sys.argv[1])
frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
open(sys.argv[2], "wb").write(frozen.graph.as_graph_def().SerializeToString())
"""
COPY = 'cp -r "$1" "$2" && find "$2" -type f -exec sync {} +'


def own_memory(process, most):
    """The most memory that was the process's own and no mapped file, looked at again and again."""
    try:
        while process.returncode is None:
            for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    most[0] = max(most[0], int(line.split()[1]) << 10)
            time.sleep(0.002)
    except (FileNotFoundError, ProcessLookupError):
        pass


def run(command, watch):
    """Runs to the end; seconds, seconds of the processor, and peak memory in bytes."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    most = [0]
    start = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        if watch:
            threading.Thread(target=own_memory, args=(process, most), daemon=True).start()
        told = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {told.decode()}")
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss << 10, "own": most[0] or None}


def cleared(path):
    """`path`, where nothing is."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    return path


def compared(work, place, commands, runs, watch=False):
    """A row for each of `commands`: (name, what makes its command line of where it writes, how many of the turns it takes part in)."""
    out = WORK / place
    found = {name: [] for name, _, _ in commands}
    for turn in range(runs):
        for name, make, most in commands:
            if turn < most:
                found[name].append({**run(make(cleared(out)), watch), "bytes": size(out)})
    cleared(out)
    for name, runs_of in found.items():
        least = {key: min((run[key] for run in runs_of if run[key] is not None), default=None) for key in runs_of[0]}
        print(json.dumps({"work": work, "name": name, "runs": len(runs_of), **least}), flush=True)


def size(path):
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path] * path.is_file()
    return sum(file.stat().st_size for file in files)


def freeze():
    model = MODELS / "resnet50_export"
    commands = [
        ("`tf-rewriter freeze`", lambda out: [PROGRAM, "freeze", model, "-o", out, "--quiet"], 9),
        ("OpenVINO `read_model`", lambda _: [OPENVINO, "-c", READ_MODEL, model], 9),
        ("`convert_variables_to_constants_v2`", lambda out: [TENSORFLOW, "-c", CONVERT, model, out], 3),
    ]
    compared("freeze", "frozen.pb", commands, 9)


def baked():
    model = MODELS / "resnet50_export"
    commands = [
        ("`tf-rewriter compress --emit baked`", lambda out: [PROGRAM, "compress", model, "-o", out, "-Q", "naive", "--emit", "baked", "--quiet"], 9),
        ("`cp -r` and `sync` of the files", lambda out: ["sh", "-c", COPY, "sh", model, out], 9),
    ]
    compared("baked", "model", commands, 9)


def large():
    model = MODELS / "big_saved_model"
    command = lambda out: [PROGRAM, "compress", model, "-o", out, "-Q", "naive", "--emit", "packed", "--quiet"]
    compared("large", "model", [("`tf-rewriter compress --emit packed`", command, 3)], 3, watch=True)


COMPARED = {"freeze": freeze, "baked": baked, "large": large}

WORK.mkdir(parents=True, exist_ok=True)
for which in sys.argv[6:]:
    COMPARED[which]()
