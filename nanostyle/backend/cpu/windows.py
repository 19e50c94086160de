"""Feature maps as a convolution on the CPU reads them: window by window, with a border beyond their edges."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nanostyle.backend.cpu.blocking import contiguous
from nanostyle.backend.geometry import PadMode, border_index
from nanostyle.backend.memory import scratch
from nanostyle.backend.types import Array

# How far beyond the feature map a window may begin or end: more than any padding and tile that `winograd` meets.
_REACH = 64


def strided(root: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of the contiguous float32 array `root`; `offset` and `strides` count elements, not bytes.

    Unlike `as_strided` it is checked against the bounds of `root`, and it is several times faster to make.
    """
    return np.ndarray(shape, np.float32, root, 4 * offset, [4 * s for s in strides])


class Patch:
    """A rectangle of pixels inside the contiguous array `root`; `pitch` elements lie between its rows."""

    __slots__ = ("channels", "offset", "pitch", "root")

    def __init__(self, root: Array, offset: int, pitch: int, channels: int) -> None:
        self.root, self.offset, self.pitch, self.channels = root, offset, pitch, channels

    def tiles(self, rows: int, columns: int, size: int, step: int) -> Array:
        """In each of `rows` pixel rows, `columns` tiles of `size` pixels, `step` apart: `(rows, columns, size, C)`."""
        C = self.channels
        return strided(self.root, self.offset, (rows, columns, size, C), (self.pitch, step * C, C, 1))

    def lines(self, height: int, width: int) -> Array:
        """The pixel rows, each as one line: `(height, width·C)`."""
        return strided(self.root, self.offset, (height, width * self.channels), (self.pitch, 1))

    def matrix(self, height: int, width: int) -> Array:
        """All pixels as rows `(height·width, C)`: for a patch without a gap between its lines."""
        return strided(self.root, self.offset, (height * width, self.channels), (self.channels, 1))


def patch(x: Array, n: int, top: int, left: int) -> Patch:
    """The patch of contiguous feature maps `x (N, H, W, C)` that begins at pixel `(top, left)` of map `n`."""
    _, H, W, C = x.shape
    return Patch(x, ((n * H + top) * W + left) * C, W * C, C)


@lru_cache(64)  # a step asks for the same few hundreds of times
def _border(n: int, mode: PadMode) -> npt.NDArray[np.intp] | None:
    """For each position from -_REACH on, the row (or column), of n of them, whose pixels stand there."""
    return None if mode == "zero" else border_index(n, _REACH, _REACH, mode)


class PaddedMap:
    """Feature maps `(N, H, W, C)` with an endless border: of zeros, or of the pixels that `mode` repeats there.

    `mask`, of the same shape, is the output of a ReLU: where it is not above 0, the feature map reads as 0.
    """

    def __init__(self, x: Array, *, mode: PadMode = "zero", mask: Array | None = None) -> None:
        self.x = contiguous(x)
        self.mask = mask
        self.shape = x.shape
        self._rows, self._columns = (_border(n, mode) for n in x.shape[1:3])

    def window(self, n: int, top: int, left: int, height: int, width: int, name: str = "window") -> Patch:
        """The pixels of map `n` from `(top, left)` on: in place where that can be, else copied to scratch.

        The patch is good until this thread asks for its next window of the same `name`, from any feature map.
        """
        _, H, W, C = self.shape
        # The part of the window that lies inside the feature map, in the window's coordinates.
        first, last = _clip(-top, height), _clip(H - top, height)
        begin, end = _clip(-left, width), _clip(W - left, width)
        if self.mask is None and last - first == height and end - begin == width:
            return patch(self.x, n, top, left)

        window = scratch(name, (height, width, C))
        inside = (n, slice(top + first, top + last), slice(left + begin, left + end))
        self._read(inside, window[first:last, begin:end])
        if self._rows is None or self._columns is None:
            window[:first] = window[last:] = window[:, :begin] = window[:, end:] = 0
            return Patch(window, 0, width * C, C)
        rows = self._rows[top + _REACH : top + height + _REACH]
        columns = self._columns[left + _REACH : left + width + _REACH]
        for some in (slice(0, first), slice(last, height)):
            if some.start < some.stop:
                window[some, begin:end] = self.x[n, rows[some], inside[2]]
        for some in (slice(0, begin), slice(end, width)):
            if some.start < some.stop:
                window[:, some] = self.x[n, rows[:, None], columns[some]]
        return Patch(window, 0, width * C, C)

    def _read(self, where: tuple[int, slice, slice], out: Array) -> None:
        if self.mask is None:
            out[...] = self.x[where]
        else:
            positive = np.greater(self.mask[where], 0, out=scratch("positive", out.shape, np.bool_))
            np.copyto(out, positive)  # a product with bool takes longer than this and a product with float32
            np.multiply(self.x[where], out, out=out)


def _clip(position: int, length: int) -> int:
    return min(max(position, 0), length)
