"""Frozen TensorFlow graphs (`.pb`): the arrays of their constants.

Field numbers are those of graph.proto, node_def.proto, attr_value.proto, tensor.proto and tensor_shape.proto.
"""

import math
from functools import partial

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry
from nanostyle.io.foreign.protobuf import Field, by_number, floats, wholes

_GRAPH_NODE = 1
_NODE_NAME, _NODE_KIND, _NODE_ATTRIBUTE = 1, 2, 5
_TENSOR_TYPE, _TENSOR_SHAPE, _TENSOR_BYTES, _TENSOR_FLOATS = 1, 2, 4, 5
_VALUE_TENSOR = 8

# Of the data types (types.proto), those whose numbers are read. DT_QINT8 and DT_QUINT8 are bytes.
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 11: "i1", 12: "u1", 19: "<f2"}


def graph_entries(data: memoryview) -> dict[str, Entry]:
    """The constants of the graph in `data`, by the names of their nodes.

    Raises
    ------
    ValueError
        It is damaged, or no graph.
    """
    entries = {}
    for field in by_number(data).get(_GRAPH_NODE, []):
        node = by_number(field.bytes)
        if _NODE_NAME not in node or _NODE_KIND not in node:
            raise ValueError("a node has no name or no operator; it is damaged, or no TensorFlow graph")
        if node[_NODE_KIND][0].text == "Const":
            name = node[_NODE_NAME][0].text
            entry = _entry(name, node.get(_NODE_ATTRIBUTE, []))
            if entry is not None:
                entries[name] = entry
    return entries


def _entry(name: str, attributes: list[Field]) -> Entry | None:
    """The tensor in a constant's attribute `value`; None where it is of a type that no weights have."""
    values = {key[1][0].text: key[2][0].bytes for key in (by_number(field.bytes) for field in attributes)}
    tensor = by_number(by_number(values["value"])[_VALUE_TENSOR][0].bytes)
    code = _TYPES.get(tensor[_TENSOR_TYPE][0].whole) if _TENSOR_TYPE in tensor else None
    if code is None:
        return None
    sides = by_number(tensor[_TENSOR_SHAPE][0].bytes).get(2, []) if _TENSOR_SHAPE in tensor else []
    shape = tuple(size for side in sides for size in wholes(by_number(side.bytes).get(1, [])) or [0])
    if len(shape) > 32 or not all(0 <= side < 2**63 for side in shape):
        raise ValueError(f"the shape of {quoted(name)} is none; the file is damaged")
    dtype = np.dtype(code)
    if _TENSOR_BYTES in tensor:
        raw = tensor[_TENSOR_BYTES][0].bytes
        if len(raw) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{quoted(name)} has not the size that its shape asks for; the file is damaged")
        return Entry(shape, dtype, lambda: np.frombuffer(raw, dtype).reshape(shape))
    if code == "<f4" and _TENSOR_FLOATS in tensor and math.prod(shape) == 1:
        return Entry(shape, dtype, partial(_number, tensor[_TENSOR_FLOATS], shape))
    return None  # a constant of the graph's own arithmetic, such as a shape


def _number(found: list[Field], shape: tuple[int, ...]) -> np.ndarray:
    return floats(found)[:1].reshape(shape)
