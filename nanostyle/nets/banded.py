"""The transformer network on a picture that does not fit into memory: layer by layer, a band of rows at a time.

The result is that of the picture in one piece, to rounding. An instance norm needs the statistics of the whole picture,
so a layer's result is gone over once for its statistics before the next layer can begin. What is cheap to compute again
and large to keep, the first layers and the last but one, is computed anew at every pass; the rest lies in a temporary
file.
"""

import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Protocol

import numpy as np

from nanostyle.autograd import ops
from nanostyle.autograd.ops.norm import EPS, normalize_forward, scale_and_shift, statistics_of
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend import halfway
from nanostyle.backend.types import Array
from nanostyle.nets.contrast import Contrast, logit
from nanostyle.nets.cost import transformer_pass
from nanostyle.nets.transformer import ACTIVATIONS, Layer, TransformerNet
from nanostyle.nn.norms import BatchNorm, InstanceNorm
from nanostyle.nn.norms import Rows as StyleRows

# A layer is kept if what computes it again takes more multiplications than this for each number kept: about the time
# that writing and reading a number takes.
_WORTH_KEEPING = 1000

# The part of the memory that a band's work may take, and that one kept map may take before it goes to a file.
_BAND_PART, _MAP_PART = 0.5, 0.1

_LEAST_ROWS = 32


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
        rows = self.array[start:stop]
        if rows.dtype == np.uint8:
            rows = rows.astype(np.float32) / np.float32(255)
        return np.asarray(rows, np.float32)


@dataclass(frozen=True)
class Computed:
    """Rows that a function of their range computes whenever they are read."""

    shape: tuple[int, int, int]
    compute: Callable[[int, int], Array]

    def read(self, start: int, stop: int) -> Array:
        """The rows, computed now."""
        return self.compute(start, stop)


class Kept:
    """Rows that are written once, from the first to the last, and read often: in memory, or in a temporary file."""

    def __init__(self, shape: tuple[int, int, int], in_memory: bool) -> None:
        self.shape = shape
        self._row = shape[1] * shape[2]
        self._array = np.empty(shape, np.float32) if in_memory else None
        self._file: IO[bytes] | None = None
        if not in_memory:
            self._file = tempfile.TemporaryFile(prefix="nanostyle-")  # noqa: SIM115  (open as long as this object lives)
            weakref.finalize(self, self._file.close)

    def write(self, start: int, rows: Array) -> None:
        """Keep `rows` as those from `start` on."""
        if self._array is not None:
            self._array[start : start + len(rows)] = rows
        elif self._file is not None:
            self._file.seek(4 * start * self._row)
            self._file.write(np.ascontiguousarray(rows, np.float32).data)

    def read(self, start: int, stop: int) -> Array:
        """The rows as they were written."""
        if self._file is None:
            return self._array[start:stop]  # type: ignore[index]
        rows = np.empty((stop - start, *self.shape[1:]), np.float32)
        self._file.seek(4 * start * self._row)
        self._file.readinto(rows.data.cast("B"))  # type: ignore[attr-defined]
        return rows


class BandedTransformer:
    """A transformer network that works on rows.

    Parameters
    ----------
    net
        The network, on the CPU.
    memory
        The bytes that its work may take, about; pictures themselves not counted.

    Examples
    --------
    >>> from nanostyle.nets.transformer_config import transformer_config
    >>> net = TransformerNet(transformer_config("johnson", width=0.1), np.random.default_rng(0))
    >>> photo = np.random.default_rng(1).random((50, 37, 3), np.float32)
    >>> rows = BandedTransformer(net, memory=1 << 20)(ArrayRows(photo), {})
    >>> np.allclose(rows.read(0, 50), net(photo[None]).data[0], atol=1e-5)
    True
    """

    def __init__(self, net: TransformerNet, memory: int) -> None:
        self.net, self.memory = net, memory

    def __call__(self, photo: Rows, style: Mapping[str, StyleRows]) -> Rows:
        """The network's output for `photo`, as rows that can be read in any order.

        `style` holds gamma and beta `(1, C)` of the styled layers, as `TransformerNet.blend` gives them.
        """
        H, W, _ = photo.shape
        x: Rows = _whole_quarters(photo)
        band = self._band(x.shape[1])
        kept: Rows = x
        work = 0.0  # multiplications for a pixel since the last map that was kept
        for layer in self.net.layers:
            if layer.block == "first":
                kept = x
            work += layer.macs
            x, is_kept = self._layer(x, layer, style, kept if layer.block == "last" else None, work, band)
            work = 0.0 if is_kept else work
        return Computed((H, W, 3), lambda start, stop: x.read(start, stop)[:, :W])

    def contrast(self, photo: Rows) -> Contrast:
        """The `contrast` of a photo, for `TransformerNet.blend`."""
        statistics = _Statistics()
        for start, stop in _bands(photo.shape[0], self._band(photo.shape[1])):
            statistics.add(logit(photo.read(start, stop)))
        mean, variance = statistics.joined()
        return np.sqrt(variance), mean

    def _band(self, width: int) -> int:
        """The rows of the picture whose work takes the memory that there is."""
        rows = int(_BAND_PART * self.memory / (width * transformer_pass(self.net)))
        return max(_LEAST_ROWS, rows // 4 * 4)

    def _layer(
        self, x: Rows, layer: Layer, style: Mapping[str, StyleRows], residual: Rows | None, work: float, band: int
    ) -> tuple[Rows, bool]:
        """The result of one layer, and whether its convolution lies in memory or on the disk now."""
        raw: Rows = _convolved(x, layer)
        rows, scale = max(8, int(band / layer.scale_out)), layer.scale_out
        keep = work > _WORTH_KEEPING * raw.shape[2] / scale**2
        kept = Kept(raw.shape, 4 * float(np.prod(raw.shape)) < _MAP_PART * self.memory) if keep else None
        norm = layer.convolution.norm
        statistics = _Statistics() if norm is not None and norm.takes_statistics else None
        if kept is not None or statistics is not None:
            for start, stop in _bands(raw.shape[0], rows):
                part = raw.read(start, stop)
                if kept is not None:
                    kept.write(start, part)
                if statistics is not None:
                    statistics.add(part)
                pixels = len(part) * raw.shape[1] * scale**2
                halfway.tell(pixels * layer.macs / self.net.macs)
        source: Rows = raw if kept is None else kept
        return _finished(source, layer, _scale(layer, style, statistics), residual), keep


class _Statistics:
    """Mean and variance of every channel, joined from bands (Chan 1979) in float64."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(1), np.zeros(1)

    def add(self, rows: Array) -> None:
        """Count these rows `(h, W, C)` in."""
        n = rows.shape[0] * rows.shape[1]
        mean, variance = (m[0].astype(np.float64) for m in statistics_of(rows[None]))
        total = self.count + n
        apart = mean - self.mean
        self.squares = self.squares + variance * n + apart**2 * (self.count * n / total)
        self.mean = self.mean + apart * (n / total)
        self.count = total

    def joined(self) -> tuple[Array, Array]:
        """Mean and variance `(1, C)`, float32."""
        return self.mean[None].astype(np.float32), (self.squares / self.count)[None].astype(np.float32)


def _scale(layer: Layer, style: Mapping[str, StyleRows], statistics: _Statistics | None) -> tuple[Array, Array] | None:
    """What normalizes the layer's convolution, as `x·scale + shift`; None where there is no norm."""
    norm = layer.convolution.norm
    if norm is None:
        return None
    if isinstance(norm, BatchNorm):
        mean, variance = norm.running_mean[None], norm.running_variance[None]
        gamma, beta = norm.gamma.data[None], norm.beta.data[None]
        rstd = 1 / np.sqrt(variance + np.float32(EPS))
        return gamma * rstd, beta - gamma * rstd * mean
    if isinstance(norm, InstanceNorm):
        gamma, beta = norm.gamma.data[None], norm.beta.data[None]
    else:
        gamma, beta = (np.asarray(getattr(part, "data", part)) for part in style[layer.name])
    assert statistics is not None
    _, _, scale, shift = scale_and_shift(statistics.joined(), gamma, beta, eps=EPS)
    return scale, shift


def _finished(raw: Rows, layer: Layer, scale: tuple[Array, Array] | None, residual: Rows | None) -> Rows:
    """The layer's result: its convolution normalized, what was kept added, ReLU and activation."""
    relu = layer.convolution.relu

    def compute(start: int, stop: int) -> Array:
        y = raw.read(start, stop)[None]
        if scale is not None:
            added = None if residual is None else residual.read(start, stop)[None]
            y = normalize_forward(y, *scale, added, relu=relu)
        elif relu:
            y = np.maximum(y, 0)
        if layer.activation:
            with no_grad():
                y = ACTIVATIONS[layer.activation](Tensor(y)).data
        result: Array = y[0]
        return result

    return Computed(raw.shape, compute)


def _convolved(x: Rows, layer: Layer) -> Rows:
    """The layer's convolution of `x`, without norm and ReLU.

    A band is computed with `halo` rows of its input more on each side, whose own results, spoiled by the border, are
    cut off; at the top and the bottom of the picture the border is the real one.
    """
    convolution = layer.convolution
    H, W, _ = x.shape
    up = convolution.stride if convolution.transposed else convolution.upsample
    down = 1 if convolution.transposed else convolution.stride
    halo = down * -(-(convolution.kernel // 2) // (up * down)) if up == 1 else -(-(convolution.kernel // 2) // up)
    shape = H * up // down, W * up // down, convolution.channels[1]

    def compute(start: int, stop: int) -> Array:
        # Rows of the input under these rows of the result, from a multiple of the stride on.
        first, last = start * down // up, -(-stop * down // up)
        top, bottom = max(0, first - halo), min(H, last + halo)
        with no_grad():
            y = convolution.convolve(Tensor(x.read(top, bottom)[None])).data[0]
        offset = start - top * up // down
        result: Array = y[offset : offset + stop - start]
        return result

    return Computed(shape, compute)


def _whole_quarters(photo: Rows) -> Rows:
    """The photo, mirrored at the bottom and the right until 4 divides its sides."""
    H, W, C = photo.shape
    bottom, right = -H % 4, -W % 4
    if not bottom and not right:
        return photo

    def compute(start: int, stop: int) -> Array:
        rows = photo.read(min(start, H), min(stop, H))
        if stop > H:
            # The mirror's rows, as `ops.pad` has them: it may reach back further than this band.
            below = max(0, H - 1 - bottom)
            mirrored = ops.pad(photo.read(below, H)[None], pad=(0, bottom, 0, 0), mode="reflect").data[0]
            last = mirrored[H - below :][max(start - H, 0) : stop - H]
            rows = last if start >= H else np.concatenate([rows, last])
        return ops.pad(rows[None], pad=(0, 0, 0, right), mode="reflect").data[0] if right else rows

    return Computed((H + bottom, W + right, C), compute)


def _bands(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """From the first row to the last, an even number at a time."""
    rows = max(2, rows // 2 * 2)
    return ((start, min(start + rows, height)) for start in range(0, height, rows))
