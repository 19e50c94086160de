"""An unpickler that admits tensors and nothing else.

A pickle is a program: Python's own unpickler imports what it names and calls it. This one is a stack machine of
the few opcodes that `torch.save` writes (the format: CPython's `pickletools`). It imports nothing and calls nothing
of the file's choosing; a name outside `_ADMITTED` is refused; sizes are checked against the bytes there are.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Any, BinaryIO

import numpy as np

from nanostyle.errors import quoted

# A state dict takes about 25 opcodes a tensor; beyond this a file is not one, and would only cost time.
MAX_OPCODES = 1_000_000
MAX_BYTES = 64 << 20
MAX_NAME = 1024


class PickleError(ValueError):
    """The pickle is damaged, or holds more than tensors in lists, tuples and dicts."""


@dataclass(frozen=True)
class Storage:
    """A flat run of `count` numbers, kept elsewhere in the file under `key`."""

    key: str
    dtype: np.dtype[Any]
    count: int

    @property
    def nbytes(self) -> int:
        """What the numbers take in the file."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class TensorView:
    """A tensor as torch pickles it: a window into a storage; `offset` and `strides` count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """The tensor, contiguous, cut out of the numbers of its storage."""
        steps = [stride * numbers.itemsize for stride in self.strides]
        window = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps, writeable=False)
        return np.array(window, order="C")


def load(file: BinaryIO, storages: dict[str, Storage] | None = None) -> object:
    """Read the one pickle that starts at the file's position; tensors come as `TensorView`, OrderedDicts as dicts.

    Each storage that it refers to is entered into `storages`, by its key.

    Raises
    ------
    PickleError
        The pickle names something that is no part of a tensor, uses other opcodes than `torch.save`, or ends early.
    """
    return _Machine(file, {} if storages is None else storages).run()


# --- names that a pickle may use

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def _tensor(*parts: object) -> TensorView:
    """`_rebuild_tensor[_v2](storage, offset, shape, strides, …)`; the rest (requires_grad, hooks) is of no use."""
    match parts:
        case (Storage() as storage, int() as offset, tuple() as shape, tuple() as strides, *_):
            if all(isinstance(n, int) and 0 <= n < 2**63 for n in (offset, *shape, *strides)):
                view = TensorView(storage, offset, shape, strides)
                _check_window(view)
                return view
    raise PickleError("a tensor has no storage, or its offset, shape or strides are not whole numbers")


def _check_window(view: TensorView) -> None:
    """No tensor reaches outside its storage, nor is larger than it (as a stride of 0 could make it)."""
    if len(view.shape) != len(view.strides) or len(view.shape) > 32:
        raise PickleError(f"a tensor has {len(view.shape)} sides and {len(view.strides)} strides")
    numbers = 1
    for side in view.shape:
        numbers *= side
        if numbers > view.storage.count:
            raise PickleError(f"a tensor is larger than its storage of {view.storage.count} numbers")
    last = view.offset + sum((side - 1) * step for side, step in zip(view.shape, view.strides, strict=True))
    if numbers and last >= view.storage.count:
        raise PickleError(f"a tensor reaches outside its storage of {view.storage.count} numbers")


def _parameter(*parts: object) -> TensorView:
    """`Parameter(tensor)` and `_rebuild_parameter(tensor, …)`: a tensor that is trained is a tensor."""
    match parts:
        case (TensorView() as view, *_):
            return view
    raise PickleError("a parameter holds no tensor")


def _ordered_dict(items: object = (), *_: object) -> dict[Any, Any]:
    """Empty, to be filled later (Python 3), or made from a list of [key, value] (Python 2)."""
    if not isinstance(items, list | tuple) or not all(isinstance(item, list) and len(item) == 2 for item in items):
        raise PickleError("an OrderedDict is not made from keys and values")
    return _filled({}, [part for item in items for part in item])


def _filled(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    """`target` with key, value, key, value … put in. Keys are text or numbers: others can take ages to hash."""
    if len(items) % 2 or not all(isinstance(key, str | int) for key in items[::2]):
        raise PickleError("a dict has keys that are neither text nor whole numbers")
    target.update(zip(items[::2], items[1::2], strict=True))
    return target


_ADMITTED: dict[str, Any] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    **{f"torch.{name}": np.dtype(code) for name, code in _STORAGES.items()},
}


def _named(module: object, name: object) -> Any:
    """The stand-in for `module.name`; nothing is ever imported."""
    full = f"{module}.{name}"
    if full not in _ADMITTED:
        raise PickleError(f"it would import {quoted(full)}, which is no part of a tensor; refused, nothing was run")
    return _ADMITTED[full]


def _storage(reference: object) -> Storage:
    """A persistent id: ("storage", type, key, device, count), and then None in files older than torch 1.6."""
    match reference:
        case ("storage", np.dtype() as dtype, str() as key, str(), int() as count, *rest):
            if 0 <= count < 2**63 and rest in ([], [None]):
                return Storage(key, dtype, count)
    raise PickleError("a reference to data is not in the form that torch writes")


# --- the stack machine


class _Machine:
    """Runs one pickle; `stack` is what stands above the last mark, `below` the stacks under it."""

    def __init__(self, file: BinaryIO, storages: dict[str, Storage]) -> None:
        self.file = file
        self.storages = storages
        position = file.tell()
        self.end = min(file.seek(0, 2), position + MAX_BYTES)
        file.seek(position)
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> object:
        for _ in range(MAX_OPCODES):
            code = self.take(1)
            if code == b".":
                return self.pop()
            if code not in _OPCODES:
                raise PickleError(f"opcode {code!r} has no place in a file of tensors")
            _OPCODES[code](self)
        raise PickleError(f"the pickle runs to more than {MAX_OPCODES} opcodes")

    def take(self, count: int) -> bytes:
        """The next `count` bytes, never asked for beyond the end of the file."""
        if not 0 <= count <= self.end - self.file.tell():
            raise PickleError("it ends in the middle of its pickle")
        return self.file.read(count)

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        line = self.file.readline(MAX_NAME)
        if not line.endswith(b"\n"):
            raise PickleError("a name in the pickle has no end")
        return line[:-1].decode()

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise PickleError("it takes more from the stack than is there")
        return self.stack.pop()

    def pop_many(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        if not self.below:
            raise PickleError("it goes back to a mark that is not there")
        items, self.stack = self.stack, self.below.pop()
        return items

    def top(self, kind: type | UnionType) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise PickleError("it adds to something that is not there, or not of that kind")
        return self.stack[-1]

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def fill(self, items: list[Any]) -> None:
        _filled(self.top(dict), items)

    def remember(self, index: int) -> None:
        self.memo[index] = self.top(object)

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise PickleError("it recalls a value that it never stored")
        self.push(self.memo[index])

    def stack_global(self) -> None:
        module, name = self.pop_many(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("it would import something whose name is not text")
        self.push(_named(module, name))

    def reduce(self) -> None:
        """Call a function; the only callables that can be on the stack are those of `_ADMITTED`."""
        function, arguments = self.pop_many(2)
        if not callable(function) or not isinstance(arguments, tuple):
            raise PickleError("it calls something that makes no tensor")
        self.push(function(*arguments))

    def refer(self) -> None:
        storage = _storage(self.pop())
        if self.storages.setdefault(storage.key, storage) != storage:
            raise PickleError(f"the data {quoted(storage.key)} are referred to in two ways")
        self.push(storage)

    def build(self) -> None:
        """Pass over the attributes of a state dict (its `_metadata`) or of a parameter (its hooks)."""
        self.pop()
        self.top(dict | TensorView)


def _constant(make: Callable[[], object]) -> Callable[[_Machine], None]:
    return lambda m: m.push(make())


def _text(length: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(length)).decode())


def _latin(length: str) -> Callable[[_Machine], None]:
    """Text as Python 2 pickled it."""
    return lambda m: m.push(m.take(m.number(length)).decode("latin-1"))


def _integer(length: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(int.from_bytes(m.take(m.number(length)), "little", signed=True))


_OPCODES: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda m: m.take(1),  # PROTO
    b"\x95": lambda m: m.take(8),  # FRAME
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": _Machine.to_mark,
    b"N": _constant(lambda: None),
    b"\x88": _constant(lambda: True),
    b"\x89": _constant(lambda: False),
    b"}": _constant(dict),
    b"]": _constant(list),
    b")": _constant(tuple),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"G": lambda m: m.push(m.number(">d")),
    b"\x8a": _integer("<B"),
    b"\x8b": _integer("<i"),
    b"\x8c": _text("<B"),
    b"X": _text("<I"),
    b"\x8d": _text("<Q"),
    b"U": _latin("<B"),
    b"T": _latin("<i"),
    b"t": lambda m: m.push(tuple(m.to_mark())),
    b"\x85": lambda m: m.push(tuple(m.pop_many(1))),
    b"\x86": lambda m: m.push(tuple(m.pop_many(2))),
    b"\x87": lambda m: m.push(tuple(m.pop_many(3))),
    b"a": lambda m: m.extend(m.pop_many(1)),
    b"e": lambda m: m.extend(m.to_mark()),
    b"s": lambda m: m.fill(m.pop_many(2)),
    b"u": lambda m: m.fill(m.to_mark()),
    b"q": lambda m: m.remember(m.number("<B")),
    b"r": lambda m: m.remember(m.number("<I")),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"h": lambda m: m.recall(m.number("<B")),
    b"j": lambda m: m.recall(m.number("<I")),
    b"c": lambda m: m.push(_named(m.line(), m.line())),
    b"\x93": _Machine.stack_global,
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"Q": _Machine.refer,
}
