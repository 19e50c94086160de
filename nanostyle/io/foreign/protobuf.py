"""Protocol Buffers on the wire, as far as `.onnx` and TensorFlow's `.pb` need it.

A message is a run of fields: a key (number and wire type) and a value. Source: protobuf.dev, "Encoding". Nothing is
copied: what a field holds is a window into the file.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_MOST_FIELDS = 1_000_000
"""Of one message: a network has some thousand nodes."""


class Field(NamedTuple):
    """A field of a message: its number, and its value: a whole number, or bytes."""

    number: int
    value: int | memoryview

    @property
    def bytes(self) -> memoryview:
        """The value, which must be bytes: text, numbers in a row, or a message."""
        if isinstance(self.value, int):
            raise ValueError(f"field {self.number} is a number where bytes are expected; the file is damaged")
        return self.value

    @property
    def whole(self) -> int:
        """The value, which must be a whole number."""
        if not isinstance(self.value, int):
            raise ValueError(f"field {self.number} is bytes where a number is expected; the file is damaged")
        return self.value

    @property
    def text(self) -> str:
        """The value, which must be text."""
        return bytes(self.bytes).decode()


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message, in order.

    >>> [field.number for field in fields(memoryview(bytes([8, 3, 18, 1, 65])))]
    [1, 2]

    Raises
    ------
    ValueError
        It ends early, or is no message.
    """
    position = 0
    for _ in range(_MOST_FIELDS):
        if position == len(message):
            return
        key, position = _varint(message, position)
        wire = key & 7
        value: int | memoryview
        if wire == 0:
            value, position = _varint(message, position)
        elif wire in (1, 2, 5):
            length = {1: 8, 5: 4}.get(wire, 0)
            if wire == 2:
                length, position = _varint(message, position)
            if length > len(message) - position:
                raise ValueError("it is cut short, or damaged: a field reaches beyond the end")
            value = message[position : position + length]
            position += length
        else:
            raise ValueError(f"it is damaged: a field has the wire type {wire}")
        yield Field(key >> 3, value)
    raise ValueError(f"a message has more than {_MOST_FIELDS} fields; it is no network")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("it is cut short: a number has no end")
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), position
    raise ValueError("it is damaged: a number of more than 64 bits")


def wholes(found: list[Field]) -> list[int]:
    """The whole numbers of a repeated field, each by itself or many in a row; signed, of 64 bits."""
    values = []
    for field in found:
        if isinstance(field.value, int):
            values.append(field.value)
        else:
            position = 0
            while position < len(field.value):
                value, position = _varint(field.value, position)
                values.append(value)
    return [value - 2**64 if value >= 2**63 else value for value in values]


def floats(found: list[Field]) -> np.ndarray:
    """The float32 numbers of a repeated field, each by itself or many in a row."""
    return np.frombuffer(b"".join(field.bytes for field in found), "<f4")


def by_number(message: memoryview) -> dict[int, list[Field]]:
    """The fields of a message by their numbers."""
    found: dict[int, list[Field]] = {}
    for field in fields(message):
        found.setdefault(field.number, []).append(field)
    return found
