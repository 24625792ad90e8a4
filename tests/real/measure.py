"""What both frameworks' scripts share: the forms that are measured, the tool's calls, and what is told of each model."""

import json
import pathlib
import subprocess
import sys

import numpy as np

# What a column of the table says, the quantizer's settings, and the form of the output.
FORMS = [
    ("auto 8", {"quant_bits": 8}, "packed"),
    ("tensor 8", {"quant_bits": 8, "per_channel": False}, "packed"),
    ("channel 8", {"quant_bits": 8, "per_channel": True}, "packed"),
    ("channel 4", {"quant_bits": 4, "per_channel": True}, "packed"),
    ("baked", {"quant_bits": 8}, "baked"),
]


def sqnr_db(reference, found):
    """Signal to quantization noise of all outputs together; None where they are equal."""
    signal = sum(float(np.sum(np.square(r.astype(np.float64)))) for r in reference)
    noise = sum(float(np.sum(np.square(r.astype(np.float64) - f))) for r, f in zip(reference, found, strict=True))
    return None if noise == 0 else 10 * np.log10(signal / noise) if signal else float("-inf")


def tool(*arguments):
    """The tool's answer, as JSON."""
    done = subprocess.run([*map(str, arguments), "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return json.loads(done.stdout)


def measured(program, name, note, path, run, decide, folder, model=(), reference=None):
    """A row: the model at `path` in every form, compared on what `run` gives; `decide` is what a user takes from the outputs.

    Where `path` was frozen by the tool, `model` is what the tool is given in its place, and `reference` what the framework computes of that."""
    found = run(path)
    if reference is None:
        reference = found
    elif (decibel := sqnr_db(reference, found)) is not None and decibel < 100:
        sys.exit(f"{name}: frozen, it computes something else ({decibel:.1f} dB)")
    float_bytes = pathlib.Path(path).stat().st_size
    row = {"model": name, "note": note, "bytes": float_bytes, "forms": {}}
    for form, settings, emit in FORMS:
        config = folder / "config.json"
        config.write_text(json.dumps([{"op_types": ["default"], "quant_types": ["weight"], **settings}]))
        out = folder / f"{form.replace(' ', '_')}{pathlib.Path(path).suffix}"
        report = tool(program, "compress", *(model or [path]), "-o", out, "-Q", "naive", "--config", config, "--emit", emit)
        found = run(out)
        weights = [site for site in report["sites"] if site["kind"] == "weight"]
        row["forms"][form] = {
            "sites": sum("quantize" in site["decision"] for site in weights),
            "of": len(weights),
            "sqnr_db": sqnr_db(reference, found),
            "bytes": out.stat().st_size,
            "kept": None if decide is None else float(np.mean(decide(reference) == decide(found))),
        }
        if form == "baked":
            first = run(folder / f"auto_8{pathlib.Path(path).suffix}")
            row["packed is baked"] = all(np.array_equal(a, b) for a, b in zip(first, found, strict=True))
    print(json.dumps(row), flush=True)


def voices(rate, seconds):
    """A sound that has the marks of speech: voiced syllables with moving formants, pauses, hisses, over soft noise."""
    rng = np.random.default_rng(7)
    sound = 0.002 * rng.standard_normal(rate * seconds)
    at = rate // 2
    while at < len(sound) - rate:
        length = int(rate * rng.uniform(0.15, 0.35))
        time = np.arange(length) / rate
        pitch = rng.uniform(95, 220) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        first, second, third = rng.uniform(300, 800), rng.uniform(900, 2200), rng.uniform(2300, 3000)
        voice = np.zeros(length)
        for harmonic in range(1, 30):
            frequency = harmonic * pitch.mean()
            gain = sum(1 / (1 + ((frequency - centre) / 90) ** 2) for centre in (first, second, third)) / harmonic**0.3
            voice += gain * np.sin(harmonic * phase)
        envelope = np.minimum(1, np.minimum(time, time[::-1]) / 0.03)
        sound[at : at + length] += 0.25 * envelope * voice / np.abs(voice).max()
        at += length
        if rng.random() < 0.3:
            hiss = int(rate * 0.08)
            sound[at : at + hiss] += 0.03 * np.diff(rng.standard_normal(hiss + 1))
            at += hiss
        at += int(rate * (rng.uniform(0.02, 0.1) if rng.random() < 0.8 else rng.uniform(0.5, 1.0)))
    return sound.astype(np.float32)


def chords(rate, seconds):
    """Notes with harmonics that begin and die away."""
    rng = np.random.default_rng(8)
    sound = 0.001 * rng.standard_normal(rate * seconds)
    for start in np.arange(0, seconds - 1, 0.5):
        time = np.arange(rate) / rate
        for key in rng.choice(np.arange(40, 80), 3, replace=False):
            pitch = 440 * 2 ** ((key - 69) / 12)
            note = sum(np.sin(2 * np.pi * pitch * n * time) / n**1.5 for n in range(1, 8))
            begin = int(start * rate)
            sound[begin : begin + rate] += 0.1 * note * np.exp(-3 * time)
    return sound.astype(np.float32)


def pictures(count, height, width, channels):
    """Smooth shapes with edges, from 0 to 1, as images of things are: neighbours are alike."""
    rng = np.random.default_rng(9)
    y, x = np.mgrid[0:1 : height * 1j, 0:1 : width * 1j]
    images = np.empty((count, height, width, channels), np.float32)
    for image in images:
        image[:] = rng.uniform(0.2, 0.8, channels)
        for _ in range(12):
            centre_y, centre_x, a, b = *rng.uniform(0, 1, 2), *rng.uniform(0.05, 0.4, 2)
            inside = ((y - centre_y) / a) ** 2 + ((x - centre_x) / b) ** 2 < 1
            image[inside] = 0.5 * image[inside] + 0.5 * rng.uniform(0, 1, channels)
        image += 0.1 * np.sin(2 * np.pi * (rng.uniform(0, 6) * x + rng.uniform(0, 6) * y))[..., None]
        image += 0.02 * rng.standard_normal(image.shape)
    return np.clip(images, 0, 1)
