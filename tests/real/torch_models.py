"""Measures TorchScript models that packages ship. Arguments: the packages' folder, torch-adapter, a folder to work in."""

import pathlib
import sys
import types

import numpy as np
import torch

from measure import measured, pictures, voices

PACKAGES, PROGRAM, WORK = (pathlib.Path(argument) for argument in sys.argv[1:4])


def silero():
    """Speech or not, for each window of 32 ms."""
    rate, window = 16000, 512
    sound = torch.from_numpy(voices(rate, 40))
    windows = sound[: len(sound) // window * window].reshape(-1, 1, window)

    def run(path):
        model = torch.jit.load(str(path))
        model.reset_states()
        with torch.no_grad():
            return [np.concatenate([model(chunk, rate).numpy() for chunk in windows])]

    path, note = PACKAGES / "silero_vad/data/silero_vad.jit", "scripted; windows of made speech"
    measured(PROGRAM, "silero-vad 6.2.3 `silero_vad.jit`", note, path, run, lambda y: y[0] > 0.5, WORK)


def facenet():
    """The three nets of the face detector MTCNN, traced here, with the package's weights; the recognizer has none in the package."""
    # Its modules also import what fetches files and what handles boxes; the nets need neither.
    for name in ["facenet_pytorch", "facenet_pytorch.models", "facenet_pytorch.models.utils"]:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(PACKAGES / name.replace(".", "/"))]
    for name in ["requests", "requests.adapters", "facenet_pytorch.models.utils.download", "facenet_pytorch.models.utils.detect_face"]:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["requests.adapters"].HTTPAdapter = None
    sys.modules["facenet_pytorch.models.utils.download"].download_url_to_file = None
    for name in ["detect_face", "extract_face"]:
        setattr(sys.modules["facenet_pytorch.models.utils.detect_face"], name, None)
    from facenet_pytorch.models.inception_resnet_v1 import InceptionResnetV1
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    def traced(name, note, net, size, decide):
        images = torch.from_numpy((pictures(64, size, size, 3).transpose(0, 3, 1, 2) * 255 - 127.5) / 128)
        path = WORK / f"{name.split('`')[1]}.pt"
        with torch.no_grad():
            torch.jit.trace(net.eval(), images[:2]).save(str(path))

        def run(path):
            model = torch.jit.load(str(path))
            with torch.no_grad():
                found = model(images)
            return [y.numpy() for y in (found if isinstance(found, tuple) else (found,))]

        measured(PROGRAM, name, note, path, run, decide, WORK)

    face = lambda y: y[-1][:, 1] > 0.5
    for name, net, size in [("pnet", PNet, 48), ("rnet", RNet, 24), ("onet", ONet, 48)]:
        traced(f"facenet-pytorch 2.6.0 `{name}`", "traced; made pictures", net(), size, face)
    torch.manual_seed(0)
    net = InceptionResnetV1(pretrained=None)
    traced("facenet-pytorch 2.6.0 `InceptionResnetV1`", "traced; **random weights**, the package has none", net, 96, None)


torch.set_num_threads(1)
silero()
facenet()
