"""ONNX files: the arrays in them, the graph's operators in order, and what the file says of itself.

Field numbers are those of onnx.proto (ModelProto, GraphProto, NodeProto, TensorProto).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from nanostyle.errors import quoted
from nanostyle.io.foreign.entry import Entry
from nanostyle.io.foreign.protobuf import Field, by_number, floats, wholes

_MODEL_GRAPH, _MODEL_FACTS = 7, 14
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_KIND, _NODE_DOMAIN = 1, 4, 7
_TENSOR_SIDES, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_BYTES = 1, 2, 4, 8, 9
_TENSOR_ELSEWHERE = (13, 14)

# Of the data types (TensorProto.DataType), those whose numbers are read.
_TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}


@dataclass(frozen=True)
class Node:
    """A node of a graph: its operator, and the names of its inputs."""

    kind: str
    inputs: tuple[str, ...]


class OnnxFile(dict[str, Entry]):
    """What an ONNX file holds: its constants by name.

    Attributes
    ----------
    nodes : tuple of Node
        Those of the graph, in order.
    facts : dict
        What the file says of itself: its metadata.
    """

    def __init__(self, entries: Mapping[str, Entry], nodes: Iterable[Node], facts: Mapping[str, str]) -> None:
        super().__init__(entries)
        self.nodes, self.facts = tuple(nodes), dict(facts)


def onnx_file(data: memoryview) -> OnnxFile:
    """What `data`, the contents of an ONNX file, holds.

    Raises
    ------
    ValueError
        It is damaged, or keeps its numbers in another file.
    """
    model = by_number(data)
    if len(model.get(_MODEL_GRAPH, [])) != 1:
        raise ValueError("it has no graph; it is damaged, or no ONNX file")
    graph = by_number(model[_MODEL_GRAPH][0].bytes)
    facts = [by_number(field.bytes) for field in model.get(_MODEL_FACTS, [])]
    return OnnxFile(
        dict(map(_entry, graph.get(_GRAPH_INITIALIZER, []))),
        map(_node, graph.get(_GRAPH_NODE, [])),
        {fact[1][0].text: fact[2][0].text for fact in facts if 1 in fact and 2 in fact},
    )


def _node(field: Field) -> Node:
    found = by_number(field.bytes)
    if any(field.text not in ("", "ai.onnx") for field in found.get(_NODE_DOMAIN, [])):
        raise ValueError(f"its graph uses operators of {quoted(found[_NODE_DOMAIN][0].text)}, which are not known")
    return Node(found[_NODE_KIND][0].text, tuple(field.text for field in found.get(_NODE_INPUT, [])))


def _entry(field: Field) -> tuple[str, Entry]:
    found = by_number(field.bytes)
    name = found[_TENSOR_NAME][0].text
    if _TENSOR_ELSEWHERE[0] in found or wholes(found.get(_TENSOR_ELSEWHERE[1], [])) not in ([], [0]):
        raise ValueError(f"{quoted(name)} keeps its numbers in another file; save it as one file")
    shape = tuple(wholes(found.get(_TENSOR_SIDES, [])))
    code = _TYPES.get(found[_TENSOR_TYPE][0].whole)
    if code is None or len(shape) > 32 or not all(0 <= side < 2**63 for side in shape):
        raise ValueError(f"{quoted(name)} is of a type that is not read, or its shape is none")
    dtype = np.dtype(code)
    if _TENSOR_BYTES in found:
        raw = found[_TENSOR_BYTES][0].bytes
    elif code == "<f4":
        raw = memoryview(floats(found.get(_TENSOR_FLOATS, [])).tobytes())
    else:  # small constants of a graph, such as shapes: no weights
        return name, Entry(shape, dtype, partial(_refuse, name))
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{quoted(name)} has not the size that its shape asks for; the file is damaged")
    return name, Entry(shape, dtype, lambda: np.frombuffer(raw, dtype).reshape(shape))


def _refuse(name: str) -> np.ndarray:
    raise ValueError(f"{quoted(name)} is not stored as plain bytes")
