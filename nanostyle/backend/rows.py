"""Pictures and feature maps of which rows are read when they are needed, so that none has to fit into memory.

What is kept between two passes lies in a temporary file. The system removes it when the program ends, in whatever way.
"""

import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from nanostyle.backend.ordered import side_by_side
from nanostyle.backend.types import Array, R


class Rows(Protocol):
    """A picture or a feature map of which rows can be had: all that a pass needs of its input."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""

    def read(self, start: int, stop: int) -> Array:
        """The rows from `start` up to `stop`, `(stop - start, W, C)`, float32."""


@dataclass(frozen=True)
class ArrayRows:
    """The rows of an array `(H, W, C)`: float32, or bytes that stand for 0..1."""

    array: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        H, W, C = self.array.shape
        return H, W, C

    def read(self, start: int, stop: int) -> Array:
        """The rows as float32."""
        return _floats(self.array[start:stop])


@dataclass(frozen=True)
class Computed:
    """Rows that a function of their range computes whenever they are read."""

    shape: tuple[int, int, int]
    compute: Callable[[int, int], Array]

    def read(self, start: int, stop: int) -> Array:
        """The rows, computed now."""
        return self.compute(start, stop)


def combined(function: Callable[..., Array], *sources: Rows) -> Computed:
    """A `function` of the rows of several pictures of one height, pixel by pixel, as three channels."""
    H, W, C = sources[0].shape
    return Computed((H, W, C), lambda start, stop: function(*(rows.read(start, stop) for rows in sources)))


def cropped(rows: Rows, top: int, left: int, height: int, width: int) -> Rows:
    """A part of a picture."""
    if rows.shape[:2] == (height, width):
        return rows
    columns = slice(left, left + width)
    shape = height, width, rows.shape[2]
    return Computed(shape, lambda start, stop: rows.read(top + start, top + stop)[:, columns])


class Banding(NamedTuple):
    """How many rows are worked on as a band, and how many bands at once.

    While one of them is read or written, and where a band has too little for all threads, the others compute.
    """

    rows: int
    at_once: int


_AT_ONCE = 3
_EACH = 240  # bytes that a pixel takes in the last layer of a network, and in what is done with its result


def banding(width: int, memory: float, *, each: float = _EACH, least: int = 16, most: int = 64) -> Banding:
    """Bands of a picture of that width, of which a pixel takes `each` so many bytes, within `memory` bytes.

    They do not depend on the number of threads: nor does a result.
    """
    row = width * each
    rows = min(max(least, int(memory / (_AT_ONCE * row)) // 4 * 4), most)
    return Banding(rows, min(max(1, int(memory / (rows * row))), _AT_ONCE))


def usual_banding(width: int) -> Banding:
    """Bands of a picture of that width within what `keeping` allows."""
    room = _room.get()
    return banding(width, USUAL if room is None else room.budget)


def each_band(work: Callable[[int, int], R], height: int, how: Banding) -> Generator[R, None, None]:
    """The results of `work(start, stop)` for the bands of a picture, from above, several worked on at once."""
    return side_by_side(lambda band: work(*band), bands(height, how.rows), how.at_once)


def bands(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """From the first row to the last, an even number at a time."""
    rows = max(2, rows // 2 * 2)
    return ((start, min(start + rows, height)) for start in range(0, height, rows))


def _floats(rows: Array) -> Array:
    if rows.dtype == np.uint8:
        rows = rows.astype(np.float32) / np.float32(255)
    return np.asarray(rows, np.float32)


class _Room:
    """Where rows are kept: so many bytes in memory, the rest in files of one folder.

    A file that is free is used again. Its pages are in the system's cache, and writing to them is several times faster
    than writing to new ones.
    """

    def __init__(self, folder: Path | None, memory: int) -> None:
        self.folder, self.budget, self._memory = folder, memory, memory
        self._free: list[IO[bytes]] | None = []
        self._returned: deque[int] = deque()  # by the garbage collector, at any moment and in any thread

    def file(self) -> IO[bytes]:
        """A file that is free, the one used last first, or a new one."""
        if self._free:
            return self._free.pop()
        try:
            return tempfile.TemporaryFile(prefix="nanostyle-", dir=self.folder, buffering=0)
        except OSError as error:
            raise self.failed(error) from error

    def give_back(self, file: IO[bytes]) -> None:
        """Take a file that is not needed any more."""
        if self._free is None:
            file.close()
        else:
            self._free.append(file)

    def has_memory(self, size: int) -> bool:
        """Whether so many bytes are left; they are then taken."""
        while self._returned:
            self._memory += self._returned.popleft()
        if size > self._memory:
            return False
        self._memory -= size
        return True

    def give_back_memory(self, size: int) -> None:
        """Take memory that is not needed any more."""
        self._returned.append(size)

    def close(self) -> None:
        """Close the free files now, and the others when they come back."""
        for file in self._free or ():
            file.close()
        self._free = None

    def failed(self, error: OSError) -> OSError:
        """The error, saying what could not be done and where."""
        where = self.folder or tempfile.gettempdir()
        text = f"cannot keep a temporary file in {where}: {error.strerror or error}; make room there, or"
        return OSError(error.errno, f"{text} allow more memory")


_room: ContextVar[_Room | None] = ContextVar("room", default=None)
_folder: ContextVar[Path | None] = ContextVar("folder", default=None)

MAPS_PART = 0.3
"""The part of a pass's memory that may go to what is kept, and that as much again may go to bands."""

USUAL = 64 << 20
"""The bytes that bands may take outside `keeping`."""


@contextmanager
def keeping_in(folder: Path | None) -> Iterator[None]:
    """Inside, temporary files are made in `folder`; else, and if it is None, where the system has them."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


@contextmanager
def keeping(memory: int) -> Iterator[None]:
    """Inside, what is kept takes up to `memory` bytes; the rest lies in temporary files. Bands take as much again.

    Inside such a block another one changes nothing.
    """
    if _room.get() is not None:
        yield
        return
    room = _Room(_folder.get(), memory)
    token = _room.set(room)
    try:
        yield
    finally:
        _room.reset(token)
        room.close()


class Kept:
    """Rows that are written once or more and read often: in memory where there is room for them, else in a file.

    Bytes stand for 0..1, and are read as float32.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: npt.DTypeLike = np.float32) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._row = shape[1] * shape[2] * self.dtype.itemsize
        self._room = room = _room.get() or _lone_room()
        size = shape[0] * self._row
        self._array: Array | None = None
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()  # bands are read and written by several threads, and a file has one place
        if room.has_memory(size):
            self._array = np.empty(shape, self.dtype)
            weakref.finalize(self, room.give_back_memory, size)
        else:
            self._file = room.file()
            weakref.finalize(self, room.give_back, self._file)

    def write(self, start: int, rows: Array) -> None:
        """Keep `rows` as those from `start` on."""
        if self._file is None:
            self._array[start : start + len(rows)] = rows  # type: ignore[index]
            return
        left = np.ascontiguousarray(rows, self.dtype).data.cast("B")
        try:
            with self._lock:
                self._file.seek(start * self._row)
                while len(left):
                    left = left[self._file.write(left) :]
        except OSError as error:
            raise self._room.failed(error) from error

    def read(self, start: int, stop: int) -> Array:
        """The rows as they were written."""
        if self._file is None:
            return _floats(self._array[start:stop])  # type: ignore[index]
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        left = rows.data.cast("B")
        with self._lock:
            self._file.seek(start * self._row)
            while len(left):
                count = self._file.readinto(left)  # type: ignore[attr-defined]
                if not count:
                    raise OSError("a temporary file is shorter than what was written to it")
                left = left[count:]
        return _floats(rows)


def _lone_room() -> _Room:
    """A room that keeps no file for later."""
    room = _Room(_folder.get(), 0)
    room.close()
    return room


def kept(rows: Rows, dtype: npt.DTypeLike = np.float32) -> Kept:
    """The rows, computed now, a band at a time, and kept."""
    result = Kept(rows.shape, dtype)
    H, W, _ = rows.shape
    deque(each_band(lambda start, stop: result.write(start, rows.read(start, stop)), H, usual_banding(W)), maxlen=0)
    return result
