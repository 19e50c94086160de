"""TensorFlow Lite models: the constants of the graph, 8 bits made into float32, by the names of their tensors.

A model is a FlatBuffer: tables whose fields are found through a list of offsets. Field numbers are those of schema.fbs
(Model, SubGraph, Tensor, QuantizationParameters, Operator, Buffer). Every place is checked against the file's end.
"""

import math
import struct
from functools import partial

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry

MAGIC = b"TFL3"

_MODEL_SUBGRAPHS, _MODEL_BUFFERS = 2, 4
_GRAPH_TENSORS, _GRAPH_OPERATORS = 0, 3
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_NAME, _TENSOR_QUANTIZATION = 0, 1, 2, 3, 4
_QUANTIZATION_SCALE, _QUANTIZATION_ZERO, _QUANTIZATION_AXIS = 2, 3, 6
_OPERATOR_INPUTS = 1

# Of the types (TensorType), those whose numbers are read.
_TYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 9: "i1"}
_MOST_ITEMS = 100_000
"""Of one list: a network has some hundred tensors."""


class TfliteFile(dict[str, Entry]):
    """What a model holds: its constants by name.

    Attributes
    ----------
    inputs : list of tuple of str
        For each operator, in order, the names of the tensors that it takes.
    """

    def __init__(self, entries: dict[str, Entry], inputs: list[tuple[str, ...]]) -> None:
        super().__init__(entries)
        self.inputs = inputs


class _Table:
    """A table of the file: fields by number."""

    def __init__(self, data: memoryview, position: int) -> None:
        self.data, self.position = data, position
        self._offsets = position - self._number("<i", position)
        self._size = self._number("<H", self._offsets)

    def _number(self, form: str, position: int) -> int:
        if not 0 <= position <= len(self.data) - struct.calcsize(form):
            raise ValueError("it is cut short, or damaged: a table lies beyond the end")
        number: int = struct.unpack_from(form, self.data, position)[0]
        return number

    def _place(self, field: int) -> int:
        """Where a field is; 0 if it is left out."""
        at = 4 + 2 * field
        offset = self._number("<H", self._offsets + at) if at + 2 <= self._size else 0
        return self.position + offset if offset else 0

    def number(self, field: int, form: str) -> int:
        """A number; 0 if it is left out."""
        place = self._place(field)
        return self._number(form, place) if place else 0

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        """Where a list begins and how many items of `size` bytes it has."""
        place = self._place(field)
        if not place:
            return 0, 0
        start = place + self._number("<I", place)
        count = self._number("<I", start)
        if start + 4 + count * size > len(self.data):
            raise ValueError("it is cut short, or damaged: a list lies beyond the end")
        return start + 4, count

    def bytes(self, field: int) -> memoryview:
        """A list of bytes."""
        start, count = self._vector(field, 1)
        return self.data[start : start + count]

    def array(self, field: int, form: str) -> np.ndarray:
        """A list of numbers."""
        start, count = self._vector(field, np.dtype(form).itemsize)
        return np.frombuffer(self.data, form, count, start) if count else np.empty(0, form)

    def tables(self, field: int) -> "list[_Table]":
        """A list of tables."""
        start, count = self._vector(field, 4)
        if count > _MOST_ITEMS:
            raise ValueError(f"a list has more than {_MOST_ITEMS} tables; it is no network")
        places = (start + 4 * i for i in range(count))
        return [_Table(self.data, place + self._number("<I", place)) for place in places]

    def table(self, field: int) -> "_Table | None":
        """A table; None if it is left out."""
        place = self._place(field)
        return _Table(self.data, place + self._number("<I", place)) if place else None


def tflite_file(data: memoryview) -> TfliteFile:
    """What `data`, the contents of a model, holds.

    Raises
    ------
    ValueError
        It is damaged, or has more than one graph.
    """
    model = _Table(data, struct.unpack_from("<I", data)[0])
    graphs = model.tables(_MODEL_SUBGRAPHS)
    if len(graphs) != 1:
        raise ValueError(f"it has {len(graphs)} graphs, expected one")
    tensors, buffers = graphs[0].tables(_GRAPH_TENSORS), model.tables(_MODEL_BUFFERS)
    names = [bytes(tensor.bytes(_TENSOR_NAME)).decode() for tensor in tensors]
    entries = {}
    for name, tensor in zip(names, tensors, strict=True):
        raw = buffers[tensor.number(_TENSOR_BUFFER, "<I")].bytes(0)
        if len(raw):
            entries[name] = _entry(name, tensor, raw)
    inputs = [
        tuple(names[i] for i in operator.array(_OPERATOR_INPUTS, "<i4").tolist() if i >= 0)
        for operator in graphs[0].tables(_GRAPH_OPERATORS)
    ]
    return TfliteFile(entries, inputs)


def _entry(name: str, tensor: _Table, raw: memoryview) -> Entry:
    code = _TYPES.get(tensor.number(_TENSOR_TYPE, "<b"))
    shape = tuple(tensor.array(_TENSOR_SHAPE, "<i4").tolist())
    if code is None or len(shape) > 32 or min(shape, default=0) < 0:
        raise ValueError(f"{quoted(name)} is of a type that is not read, or its shape is none")
    dtype = np.dtype(code)
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{quoted(name)} has not the size that its shape asks for; the file is damaged")
    quantization = tensor.table(_TENSOR_QUANTIZATION)
    scale = quantization.array(_QUANTIZATION_SCALE, "<f4") if quantization else np.empty(0, "<f4")
    if quantization is None or not len(scale):
        return Entry(shape, dtype, lambda: np.frombuffer(raw, dtype).reshape(shape))
    zero = quantization.array(_QUANTIZATION_ZERO, "<i8")
    axis = quantization.number(_QUANTIZATION_AXIS, "<i")
    if len(zero) != len(scale) or (len(scale) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scale))):
        raise ValueError(f"{quoted(name)} needs one scale, or one for each channel; the file is damaged")
    read = partial(_as_floats, np.frombuffer(raw, dtype).reshape(shape), scale, zero, axis)
    return Entry(shape, np.dtype(np.float32), read)


def _as_floats(steps: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int) -> np.ndarray:
    """The numbers that the steps stand for: scale · (step - zero), for each channel along `axis`."""
    along: tuple[int, ...] = ()
    if len(scale) > 1:
        along = tuple(len(scale) if i == axis else 1 for i in range(steps.ndim))
    values: np.ndarray = (steps.astype(np.float64) - zero.reshape(along)) * scale.reshape(along)
    return values.astype(np.float32)
