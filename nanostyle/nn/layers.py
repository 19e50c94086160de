"""Layers with parameters. Plain classes: the constructor makes the parameters, the call applies the op.

A layer is a row of the papers' tables: convolution, normalization and activation together, so that a norm can
take its statistics from the convolution's epilogue. Parameters are `Tensor` attributes, running averages are
array attributes; `parameters` and `buffers` find them by walking attributes and lists, and what they call them
(`residual1/conv1/weight`) is what the model file calls them.
"""

from typing import Any, Literal

import numpy as np

from nanostyle.autograd import ops
from nanostyle.autograd.tensor import Tensor
from nanostyle.nn.norms import Norm, _parameter

DEVIATION = 0.01
"""Weights start as N(0, 0.01) (Dumoulin 2017, table 1): a norm follows nearly everywhere, so the scale only sets
how fast Adam turns the kernels; and in Johnson's last layer, which has none, the tanh starts unsaturated."""


class NoDraws(np.random.Generator):
    """In place of a generator, for a network whose parameters are set next: normal numbers are zeros.

    >>> NoDraws().standard_normal((1, 2), np.float32).tolist()
    [[0.0, 0.0]]
    """

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Zeros."""
        return np.zeros(size, dtype)


def _kernel(rng: np.random.Generator, *shape: int) -> Tensor:
    return _parameter(rng.standard_normal(shape, np.float32) * np.float32(DEVIATION))


# --- convolution ------------------------------------------------------------------------------------------


def _takes_bias_out(norm: Norm | None) -> bool:
    """Whether what is added to a whole channel of a picture makes no difference: its own mean is subtracted."""
    return norm is not None and norm.takes_statistics


def _bias(M: int, norm: Norm | None) -> Tensor:
    """Zeros `(M,)`; where they make no difference they are kept for the papers' tables and files, and not trained."""
    bias = _parameter(np.zeros(M))
    bias.requires_grad = not _takes_bias_out(norm)
    return bias


Padding = Literal["reflect", "same"]
"""What is around the input: its mirror image, or zeros as TensorFlow's `SAME` has them."""


def same_padding(K: int, stride: int) -> tuple[int, int]:
    """The zeros before and behind an axis of TensorFlow's `SAME` padding, where `stride` divides the axis.

    >>> same_padding(3, 1), same_padding(3, 2)
    ((1, 1), (0, 1))
    """
    total = max(K - stride, 0)
    return total // 2, total - total // 2


class Convolution:
    """What the two kinds of convolution have in common: all that a walk over a network needs to know of a layer.

    Attributes
    ----------
    weight, bias : Tensor
        `(K, K, C, M)` and `(M,)`; the bias may be None.
    norm : Norm or None
        What follows the convolution.
    relu : bool
        Whether a ReLU follows the norm.
    stride : int
        What the layer divides the size by; or multiplies it by, if it is transposed.
    upsample : int
        By how much the layer enlarges its input before it convolves (nearest neighbor).
    padding : str
        `reflect` or `same`.
    transposed : bool
        Whether this is the convolution's transpose.
    """

    transposed = False

    def __init__(
        self,
        weight: Tensor,
        *,
        bias: bool,
        norm: Norm | None,
        relu: bool,
        padding: Padding,
        stride: int = 1,
        upsample: int = 1,
    ) -> None:
        self.weight = weight
        self.bias = _bias(weight.shape[3], norm) if bias else None
        self.norm, self.relu = norm, relu
        self.stride, self.upsample, self.padding = stride, upsample, padding

    @property
    def kernel(self) -> int:
        """The side K of the kernel."""
        return self.weight.shape[0]

    @property
    def channels(self) -> tuple[int, int]:
        """The numbers of channels, in and out."""
        return self.weight.shape[2], self.weight.shape[3]

    @property
    def _trained_bias(self) -> Tensor | None:
        """The bias, if it makes a difference."""
        return None if _takes_bias_out(self.norm) else self.bias


class Conv2d(Convolution):
    """Convolution of K x K, C to M channels, padded to keep the size; then `norm`, then ReLU if asked for.

    `upsample` enlarges the input first (nearest neighbor): the resize-convolution of Odena 2016, which has no
    checkerboard. `stride` divides the size.

    >>> layer = Conv2d(np.random.default_rng(0), 3, 8, 16, stride=2, relu=True)
    >>> layer(np.ones((1, 10, 12, 8), np.float32)).shape
    (1, 5, 6, 16)
    """

    def __init__(
        self,
        rng: np.random.Generator,
        K: int,
        C: int,
        M: int,
        *,
        stride: int = 1,
        upsample: int = 1,
        bias: bool = True,
        norm: Norm | None = None,
        relu: bool = False,
        padding: Padding = "reflect",
    ) -> None:
        weight = _kernel(rng, K, K, C, M)
        super().__init__(weight, bias=bias, norm=norm, relu=relu, padding=padding, stride=stride, upsample=upsample)

    def __call__(self, x: Any, residual: Any = None, *, style: Any = None, training: bool = False) -> Tensor:
        """The layer's result `(N, H', W', M)` for `x (N, H, W, C)`; the norm adds `residual` before the ReLU."""
        statistics = _takes_bias_out(self.norm)
        y = self.convolve(x, relu=self.relu and self.norm is None, statistics=statistics)
        if self.norm is None:
            plain: Tensor = y
            return plain
        y, known = y if statistics else (y, None)
        return self.norm(y, residual, relu=self.relu, statistics=known, style=style, training=training, spent=True)

    def convolve(self, x: Any, *, relu: bool = False, statistics: bool = False) -> Any:
        """The convolution alone; with `statistics`, and those of its result, as `ops.conv2d` has them."""
        pad, mode = self.kernel // 2, "reflect"
        if self.padding == "same":
            before, behind = same_padding(self.kernel, self.stride)
            pad, mode = before, "zero"
            if behind > before:
                x = ops.pad(x, pad=(0, behind - before, 0, behind - before), mode="zero")
        return ops.conv2d(
            x,
            self.weight,
            self._trained_bias,
            stride=self.stride,
            pad=pad,
            mode=mode,
            upsample=self.upsample,
            relu=relu,
            statistics=statistics,
        )


class ConvTranspose2d(Convolution):
    """Fractionally strided convolution of 3 x 3, C to M channels, to twice the size (Johnson 2016); then `norm`.

    A checkerboard is possible: 3 does not divide by 2, so the kernels overlap unevenly.

    >>> layer = ConvTranspose2d(np.random.default_rng(0), 8, 4)
    >>> layer(np.ones((1, 5, 6, 8), np.float32)).shape
    (1, 10, 12, 4)
    """

    transposed = True

    def __init__(
        self,
        rng: np.random.Generator,
        C: int,
        M: int,
        *,
        bias: bool = True,
        norm: Norm | None = None,
        relu: bool = False,
        padding: Padding = "reflect",
    ) -> None:
        super().__init__(_kernel(rng, 3, 3, C, M), bias=bias, norm=norm, relu=relu, padding=padding, stride=2)

    def __call__(self, x: Any, residual: Any = None, *, style: Any = None, training: bool = False) -> Tensor:
        """The layer's result `(N, 2H, 2W, M)` for `x (N, H, W, C)`; the norm adds `residual` before the ReLU."""
        y = self.convolve(x)
        if self.norm is not None:
            return self.norm(y, residual, relu=self.relu, style=style, training=training, spent=True)
        return ops.relu(y) if self.relu else y

    def convolve(self, x: Any) -> Tensor:
        """The convolution alone."""
        if self.padding == "same":  # the transpose of a convolution that has its zeros behind
            y = ops.conv_transpose2d(x, self.weight, self._trained_bias, stride=self.stride)
            return ops.crop(y, top=0, left=0, height=2 * x.shape[1], width=2 * x.shape[2])
        return ops.conv_transpose2d(x, self.weight, self._trained_bias, stride=self.stride, pad=1, output_pad=1)


# --- without pixels ---------------------------------------------------------------------------------------


class Linear:
    """`x @ weight · 10/√C + bias`, from C numbers to M; without `bias` nothing is added.

    Adam moves every weight by the same step, so without the division the result would move the faster the more inputs
    there are (the equalised rate of Karras 2018, section 4.1); without the 10, what it says of each style would be
    learned later than the kernels that it steers (style prediction, 400 steps: a tenth less of all the loss with it).
    The result starts with `deviation` times that of the inputs.

    >>> Linear(np.random.default_rng(0), 100, 7)(np.ones((2, 100), np.float32)).shape
    (2, 7)
    """

    def __init__(self, rng: np.random.Generator, C: int, M: int, *, deviation: float = 1.0, bias: bool = True) -> None:
        self.gain = 10 * C**-0.5
        self.weight = _parameter(rng.standard_normal((C, M), np.float32) * np.float32(deviation / 10))
        self.bias = _parameter(np.zeros(M)) if bias else None

    def __call__(self, x: Any) -> Tensor:
        """The layer's result `(N, M)` for `x (N, C)`."""
        y: Tensor = ops.matmul(x, self.weight) * self.gain
        return y if self.bias is None else y + self.bias
