"""Memory that is used again: an allocator of NumPy buffers, behind `memory.empty`.

Fresh memory costs a page fault per 4 KiB (measured: 4 MiB fresh 1.6 ms, used again 0.15 ms), and a step of these
networks makes hundreds of MB of arrays. So slabs of memory are kept and lent out in pieces: the smallest free piece
that is large enough (best fit, Knuth 1997, section 2.5), cut to size; what comes back joins its free neighbors.
Steps of one kind need no fresh memory from the third or fourth on, and a tenth more than what is in use at one time.
"""

import bisect
import itertools
import threading
from collections import deque

import numpy as np
import numpy.typing as npt

# Below this the system's allocator is as fast as ours, and no piece is cut to be smaller.
SMALL = 1 << 16

# Pieces begin at a cache line: passes over arrays that straddle the lines run a fifth slower (measured).
LINE = 64


def aligned(size: int) -> npt.NDArray[np.uint8]:
    """Fresh memory of `size` bytes that begins at a cache line."""
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % LINE
    return memory[start : start + size]


class _Piece:
    """A piece of a slab, between its neighbors; `entry` is its place among the free pieces while it is free."""

    __slots__ = ("after", "before", "entry", "size", "slab", "start")

    def __init__(self, slab: npt.NDArray[np.uint8], start: int, size: int) -> None:
        self.slab, self.start, self.size = slab, start, size
        self.before: _Piece | None = None
        self.after: _Piece | None = None
        self.entry: tuple[int, int, _Piece] | None = None

    @property
    def is_slab(self) -> bool:
        return self.before is None and self.after is None

    def cut(self, size: int) -> "_Piece":
        """Keep the first `size` bytes; the rest becomes the next piece."""
        rest = _Piece(self.slab, self.start + size, self.size - size)
        rest.before, rest.after, self.size = self, self.after, size
        if rest.after:
            rest.after.before = rest
        self.after = rest
        return rest

    def join(self) -> None:
        """Take in the next piece."""
        assert self.after
        self.size += self.after.size
        self.after = self.after.after
        if self.after:
            self.after.before = self


class _Loan:
    """A piece in use: when the last array that looks into it dies, it goes back."""

    def __init__(self, piece: _Piece, returned: deque[_Piece]) -> None:
        self._piece, self._returned = piece, returned
        self.__array_interface__ = piece.slab[piece.start : piece.start + piece.size].__array_interface__

    def __del__(self) -> None:
        # The garbage collector may run this at any moment, in any thread, in the middle of `take` too. So it
        # takes no lock and counts nothing: an append is one step under the interpreter's lock.
        self._returned.append(self._piece)


class Arena:
    """Lends memory out.

    Before fresh memory is asked for, free slabs are let go until what is held will be at most 9/8 of the most that
    was in use at one time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._returned: deque[_Piece] = deque()
        # (bytes, -age, piece), sorted: among pieces of one size the latest returned, warm in the cache, is first.
        self._free: list[tuple[int, int, _Piece]] = []
        self._age = itertools.count()
        self.held = self.in_use = self.peak = 0

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """Memory of at least `size` bytes, uninitialized; it comes back by itself."""
        size = -(-size // LINE) * LINE
        with self._lock:
            self._collect()
            i = bisect.bisect_left(self._free, (size,))
            piece = self._remove(self._free[i][2]) if i < len(self._free) else self._slab(size)
            if piece.size - size >= SMALL:
                self._insert(piece.cut(size))
            self.in_use += piece.size
            self.peak = max(self.peak, self.in_use)
            return np.asarray(_Loan(piece, self._returned))

    def clear(self) -> None:
        """Let all free slabs go, and forget how much was in use before."""
        with self._lock:
            self._collect()
            for piece in self._free_slabs():
                self._drop(piece)
            self.peak = self.in_use

    def _slab(self, size: int) -> _Piece:
        self.peak = max(self.peak, self.in_use + size)
        for oldest in self._free_slabs():
            if self.held + size <= self.peak + self.peak // 8:
                break
            self._drop(oldest)
        self.held += size
        return _Piece(aligned(size), 0, size)

    def _free_slabs(self) -> list[_Piece]:
        """The slabs of which no piece is in use, those longest idle first."""
        return [piece for _, _, piece in sorted(self._free, key=lambda entry: -entry[1]) if piece.is_slab]

    def _drop(self, piece: _Piece) -> None:
        self.held -= self._remove(piece).size

    def _collect(self) -> None:
        """Make what was returned free, each piece joined with its free neighbors."""
        while self._returned:
            piece = self._returned.popleft()
            self.in_use -= piece.size
            if piece.after and piece.after.entry:
                self._remove(piece.after)
                piece.join()
            if piece.before and piece.before.entry:
                piece = self._remove(piece.before)
                piece.join()
            self._insert(piece)

    def _insert(self, piece: _Piece) -> None:
        piece.entry = (piece.size, -next(self._age), piece)
        bisect.insort(self._free, piece.entry)

    def _remove(self, piece: _Piece) -> _Piece:
        assert piece.entry
        size, age, _ = piece.entry
        del self._free[bisect.bisect_left(self._free, (size, age))]
        piece.entry = None
        return piece
