"""Layers with parameters. Plain classes: the constructor makes the parameters, the call applies the op.

A layer is a row of the papers' tables: convolution, normalization and activation together, so that a norm can
take its statistics from the convolution's epilogue. Parameters are `Tensor` attributes, running averages are
array attributes; `parameters` and `buffers` find them by walking attributes and lists, and what they call them
(`residual1/conv1/weight`) is what the model file calls them.
"""

from typing import Any

import numpy as np

from nanostyle.autograd import ops
from nanostyle.autograd.tensor import Tensor
from nanostyle.nn.norms import Norm, _parameter

DEVIATION = 0.01
"""Weights start as N(0, 0.01) (Dumoulin 2017, table 1): a norm follows nearly everywhere, so the scale only sets
how fast Adam turns the kernels; and in Johnson's last layer, which has none, the tanh starts unsaturated."""


def _kernel(rng: np.random.Generator, *shape: int) -> Tensor:
    return _parameter(rng.standard_normal(shape, np.float32) * np.float32(DEVIATION))


# --- convolution ------------------------------------------------------------------------------------------


def _takes_bias_out(norm: Norm | None) -> bool:
    """Whether what is added to a whole channel of a picture makes no difference: its own mean is subtracted."""
    return norm is not None and norm.takes_moments


def _bias(M: int, norm: Norm | None) -> Tensor:
    """Zeros `(M,)`; where they make no difference they are kept for the papers' tables and files, and not trained."""
    bias = _parameter(np.zeros(M))
    bias.requires_grad = not _takes_bias_out(norm)
    return bias


class Conv2d:
    """Convolution of K x K, C to M channels, mirror-padded to keep the size; then `norm`, then ReLU if asked for.

    `upsample` enlarges the picture first (nearest neighbor): the resize-convolution of Odena 2016, which has no
    checkerboard. `stride` divides the size.
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
    ) -> None:
        self.weight = _kernel(rng, K, K, C, M)
        self.bias = _bias(M, norm) if bias else None
        self.norm = norm
        self._relu, self._stride, self._upsample = relu, stride, upsample

    def __call__(self, x: Any, residual: Any = None, *, style: Any = None, training: bool = False) -> Tensor:
        """The layer's result for `x (N, H, W, C)`; the norm adds `residual` before the ReLU."""
        moments = _takes_bias_out(self.norm)
        y = ops.conv2d(
            x,
            self.weight,
            None if _takes_bias_out(self.norm) else self.bias,
            stride=self._stride,
            pad=self.weight.shape[0] // 2,
            mode="reflect",
            upsample=self._upsample,
            relu=self._relu and self.norm is None,
            moments=moments,
        )
        if self.norm is None:
            return y
        y, known = y if moments else (y, None)
        return self.norm(y, residual, relu=self._relu, moments=known, style=style, training=training)


class ConvTranspose2d:
    """Fractionally strided convolution of 3 x 3, C to M channels, to twice the size (Johnson 2016); then `norm`.

    A checkerboard is possible: 3 does not divide by 2, so the kernels overlap unevenly.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        C: int,
        M: int,
        *,
        bias: bool = True,
        norm: Norm | None = None,
        relu: bool = False,
    ) -> None:
        self.weight = _kernel(rng, 3, 3, C, M)
        self.bias = _bias(M, norm) if bias else None
        self.norm = norm
        self._relu = relu

    def __call__(self, x: Any, *, style: Any = None, training: bool = False) -> Tensor:
        """The layer's result `(N, 2H, 2W, M)` for `x (N, H, W, C)`."""
        bias = None if _takes_bias_out(self.norm) else self.bias
        y = ops.conv_transpose2d(x, self.weight, bias, stride=2, pad=1, output_pad=1)
        if self.norm is not None:
            return self.norm(y, relu=self._relu, style=style, training=training)
        return ops.relu(y) if self._relu else y


class Residual:
    """Two convolutions of 3 x 3 and the input added to their result; no ReLU after the sum (Gross 2016)."""

    def __init__(self, rng: np.random.Generator, C: int, *, bias: bool, norms: tuple[Norm, Norm]) -> None:
        first, second = norms
        self.conv1 = Conv2d(rng, 3, C, C, bias=bias, norm=first, relu=True)
        self.conv2 = Conv2d(rng, 3, C, C, bias=bias, norm=second)

    def __call__(self, x: Any, *, styles: tuple[Any, Any] = (None, None), training: bool = False) -> Tensor:
        """The block's result, of the shape of `x`; `styles` are those of the two norms."""
        y = self.conv1(x, style=styles[0], training=training)
        return self.conv2(y, x, style=styles[1], training=training)


# --- without pixels ---------------------------------------------------------------------------------------


class Linear:
    """`x @ weight · 10/√C + bias`, from C numbers to M; without `bias` nothing is added.

    Adam moves every weight by the same step, so without the division the result would move the faster the more inputs
    there are (the equalised rate of Karras 2018, section 4.1); without the 10, what it says of each style would be
    learned later than the kernels that it steers (style prediction, 400 steps: a tenth less of all the loss with it).
    The result starts with `deviation` times that of the inputs.
    """

    def __init__(self, rng: np.random.Generator, C: int, M: int, *, deviation: float = 1.0, bias: bool = True) -> None:
        self._gain = 10 * C**-0.5
        self.weight = _parameter(rng.standard_normal((C, M), np.float32) * np.float32(deviation / 10))
        self.bias = _parameter(np.zeros(M)) if bias else None

    def __call__(self, x: Any) -> Tensor:
        """The layer's result `(N, M)` for `x (N, C)`."""
        y = ops.matmul(x, self.weight) * self._gain
        return y if self.bias is None else y + self.bias
