"""Print the version of a framework: `version.py TensorFlow` or `version.py Torch`."""

import importlib
import sys

print(importlib.import_module(sys.argv[1].lower()).__version__)
