"""The ops that TensorFlow registers, a line for each, as tf-rewriter/src/graphdef/types/ops.txt has them: run it to make that file anew.

    Op|inputs|outputs        Op!|inputs|outputs for an op with state

Inputs are types, outputs name:type. A type is `=float`, or the name of the attribute that holds it; `N*T` stands for as many as the attribute N says,
`*Tin` for a list of types, `&` for a reference.
"""

import ctypes
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2, types_pb2


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


def registered():
    library = ctypes.CDLL(str(pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"))
    library.TF_GetAllOpList.restype = ctypes.POINTER(Buffer)
    buffer = library.TF_GetAllOpList().contents
    return op_def_pb2.OpList.FromString(ctypes.string_at(buffer.data, buffer.length)).op


def type_of(argument):
    if argument.type_list_attr:
        return "*" + argument.type_list_attr
    if argument.type:
        text = "=" + types_pb2.DataType.Name(argument.type).removeprefix("DT_").lower()
    else:
        text = argument.type_attr
    if argument.is_ref:
        text = "&" + text
    return f"{argument.number_attr}*{text}" if argument.number_attr else text


def line(op):
    inputs = " ".join(type_of(argument) for argument in op.input_arg)
    outputs = " ".join(f"{argument.name}:{type_of(argument)}" for argument in op.output_arg)
    return f"{op.name}{'!' if op.is_stateful else ''}|{inputs}|{outputs}"


for op in sorted(registered(), key=lambda op: op.name.encode()):
    print(line(op))
