"""The transformer network on a picture that does not fit into memory: layer by layer, a band of rows at a time.

The result is that of the picture in one piece, to rounding. An instance norm needs the statistics of the whole picture,
so a layer's result is gone over once for its statistics before the next layer can begin. What is cheap to compute again
and large to keep, the first layers and the last but one, is computed anew at every pass; the rest lies in a temporary
file.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nanostyle.autograd import ops
from nanostyle.autograd.ops.norm import EPS, normalize_forward, scale_and_shift, statistics_of
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend import halfway
from nanostyle.backend.rows import MAPS_PART, Banding, Computed, Kept, Rows, banding, cropped, each_band
from nanostyle.backend.types import Array
from nanostyle.nets.contrast import Contrast, logit
from nanostyle.nets.cost import layer_in_bands
from nanostyle.nets.transformer import ACTIVATIONS, Layer, TransformerNet
from nanostyle.nn.norms import BatchNorm, InstanceNorm
from nanostyle.nn.norms import Rows as StyleRows

# A layer is kept if what computes it again takes more multiplications than this for each number kept: about the time
# that writing and reading a number takes. A map of more bytes than `_LARGE` does not stay in the system's cache.
_WORTH_KEEPING, _WORTH_A_DISK, _LARGE = 250, 500, 6 << 30

_LEAST_ROWS, _MOST_ROWS = 32, 1 << 20

Style = Mapping[str, StyleRows]


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
    >>> from nanostyle.backend.rows import ArrayRows
    >>> from nanostyle.nets.transformer_config import transformer_config
    >>> net = TransformerNet(transformer_config("johnson", width=0.1), np.random.default_rng(0))
    >>> photo = np.random.default_rng(1).random((50, 37, 3), np.float32)
    >>> rows = BandedTransformer(net, memory=1 << 20)(ArrayRows(photo), {})
    >>> np.allclose(rows.read(0, 50), net(photo[None]).data[0], atol=1e-5)
    True
    """

    def __init__(self, net: TransformerNet, memory: int) -> None:
        self.net, self.memory = net, memory
        self._untold = 0.0  # multiplications for a pixel that nobody was told of

    def __call__(self, photo: Rows, style: Style) -> Rows:
        """The network's output for `photo`, as rows that can be read in any order.

        `style` holds gamma and beta `(1, C)` of the styled layers, as `TransformerNet.blend` gives them.
        """
        return self.several(photo, [style])[0]

    def several(self, photo: Rows, styles: Sequence[Style]) -> list[Rows]:
        """The output in each of `styles`; what does not depend on the style is computed once."""
        H, W, _ = photo.shape
        x = _whole_quarters(photo)
        outputs = self._walk(self.net.layers, x, x, styles, 0.0, 0.0)
        return [cropped(y, 0, 0, H, W) for y in outputs]

    def contrast(self, photo: Rows) -> Contrast:
        """The `contrast` of a photo, for `TransformerNet.blend`."""
        statistics = _Statistics()
        H, W, _ = photo.shape
        for part in each_band(lambda *band: _Counted.of(logit(photo.read(*band))), H, banding(W, self.memory)):
            statistics.add(part)
        mean, variance = statistics.joined()
        return np.sqrt(variance), mean

    def _bands(self, layer: Layer, width: int, each: float) -> Banding:
        """The bands of a layer's map of that width, where a pixel of the picture takes `each` so many bytes."""
        scale, memory = layer.scale_out, MAPS_PART * self.memory
        how = banding(width, memory, each=each * scale**2, least=max(8, _LEAST_ROWS // scale), most=_MOST_ROWS)
        # With the two rows around them that a convolution of 3 x 3 takes, these are whole tiles of Winograd's.
        return how._replace(rows=how.rows + 2)

    def _walk(
        self, layers: Sequence[Layer], x: Rows, residual: Rows, styles: Sequence[Style], work: float, each: float
    ) -> list[Rows]:
        """The output of `layers` for `x` in each style.

        `residual` is what the residual block begun before keeps; `work` are the multiplications for a pixel since the
        last map that was kept, and `each` the bytes that they take.
        """
        for i, layer in enumerate(layers):
            each = max(each, layer_in_bands(layer))
            band = self._bands(layer, x.shape[1] * layer.scale // layer.scale_out, each)
            if layer.block == "first":
                residual = x
            added = residual if layer.block == "last" else None
            self._untold += layer.macs * len(styles)
            raw, statistics = self._measured(x, layer, work + layer.macs, band)
            work, each = (0.0, 0.0) if isinstance(raw, Kept) else (work + layer.macs, each)
            branches = [_finished(raw, layer, _scale(layer, style, statistics), added) for style in styles]
            x = branches[0]
            if len(styles) > 1 and layer.name in dict(self.net.styled_layers):
                rest = layers[i + 1 :]
                parted = zip(branches, styles, strict=True)
                return [self._walk(rest, y, residual, [style], work, each)[0] for y, style in parted]
            if added is not None and isinstance(raw, Kept):
                # It is read twice, and else would read all blocks before it each time.
                x = _in_place(raw, x, band)
        return [x] * len(styles)

    def _measured(self, x: Rows, layer: Layer, work: float, band: Banding) -> tuple[Rows, "_Statistics | None"]:
        """The convolution of a layer, kept where that is worth it, and its statistics where its norm needs them."""
        raw: Rows = _convolved(x, layer)
        scale = layer.scale_out
        limit = _WORTH_KEEPING if 4 * prod(raw.shape) < _LARGE else _WORTH_A_DISK
        result = Kept(raw.shape) if work > limit * raw.shape[2] / scale**2 else None
        norm = layer.convolution.norm
        statistics = _Statistics() if norm is not None and norm.takes_statistics else None

        def gone_over(start: int, stop: int) -> tuple[int, _Counted | None]:
            part = raw.read(start, stop)
            if result is not None:
                result.write(start, part)
            return stop - start, None if statistics is None else _Counted.of(part)

        if result is not None or statistics is not None:
            for count, counted in each_band(gone_over, raw.shape[0], band):
                if statistics is not None and counted is not None:
                    statistics.add(counted)
                halfway.tell(count * raw.shape[1] * scale**2 * self._untold / self.net.macs)
            self._untold = 0.0
        return raw if result is None else result, statistics


class _Counted(NamedTuple):
    """The statistics of some rows: how many pixels, mean and variance of every channel."""

    pixels: int
    mean: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]

    @classmethod
    def of(cls, rows: Array) -> "_Counted":
        """Those of `rows (h, W, C)`."""
        mean, variance = (m[0].astype(np.float64) for m in statistics_of(rows[None]))
        return cls(rows.shape[0] * rows.shape[1], mean, variance)


class _Statistics:
    """Mean and variance of every channel, joined from bands (Chan 1979) in float64."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(1), np.zeros(1)

    def add(self, counted: _Counted) -> None:
        """Count further rows in."""
        n, mean, variance = counted
        total = self.count + n
        apart = mean - self.mean
        self.squares = self.squares + variance * n + apart**2 * (self.count * n / total)
        self.mean = self.mean + apart * (n / total)
        self.count = total

    def joined(self) -> tuple[Array, Array]:
        """Mean and variance `(1, C)`, float32."""
        return self.mean[None].astype(np.float32), (self.squares / self.count)[None].astype(np.float32)


def _scale(layer: Layer, style: Style, statistics: _Statistics | None) -> tuple[Array, Array] | None:
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


def _in_place(raw: Kept, rows: Rows, band: Banding) -> Kept:
    """`rows`, which are computed from `raw` row by row, in the place of `raw`."""
    deque(each_band(lambda start, stop: raw.write(start, rows.read(start, stop)), raw.shape[0], band), maxlen=0)
    return raw


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
