"""Normalization layers."""

from typing import Any

import numpy as np

from nanostyle.autograd import ops
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.types import Array

Rows = tuple[Any, Any]
"""Gamma and beta `(N, C)` (or `(1, C)`), given at call time: tensors or arrays."""


def _parameter(values: Array) -> Tensor:
    return Tensor(values.astype(np.float32, copy=False), requires_grad=True)


# --- normalization ----------------------------------------------------------------------------------------
#
# All are called in one way: x (N, H, W, C), what is added before the ReLU, and what they may need to know.
#
#     kind            its name in the description of a network
#     takes_statistics   whether it can use the statistics of the convolution's epilogue: each picture has its own
#     styled          whether gamma and beta depend on the style
#
# and `spent` says that nobody reads x afterwards.


class InstanceNorm:
    """`gamma·(x - μ)/σ + beta` with each picture's own μ and σ; `gamma`, `beta` `(C,)` (Ulyanov 2016).

    >>> x = np.random.default_rng(0).random((2, 8, 8, 3))
    >>> y = InstanceNorm(3)(x, relu=False, training=False).data
    >>> bool(np.abs(y.mean(axis=(1, 2))).max() < 1e-6)
    True
    """

    kind = "instance"
    takes_statistics = True
    styled = False

    def __init__(self, C: int) -> None:
        self.channels = C
        self.gamma = _parameter(np.ones(C))
        self.beta = _parameter(np.zeros(C))

    def __call__(
        self,
        x: Any,
        residual: Any = None,
        *,
        relu: bool,
        statistics: Any = None,
        style: Any = None,
        training: bool,
        spent: bool = False,
    ) -> Tensor:
        """Normalize `x`; `style` and `training` make no difference."""
        return ops.instance_norm(x, self.gamma, self.beta, residual, relu=relu, statistics=statistics, spent=spent)


class PredictedNorm:
    """Instance norm without parameters of its own: gamma and beta come with every call (Ghiasi 2017).

    >>> x = np.random.default_rng(0).random((2, 8, 8, 3))
    >>> y = PredictedNorm(3)(x, relu=False, style=(np.ones((1, 3)), np.full((1, 3), 5.0)), training=False).data
    >>> y.mean(axis=(1, 2)).round(3).tolist()
    [[5.0, 5.0, 5.0], [5.0, 5.0, 5.0]]
    """

    kind = "predicted"
    takes_statistics = True
    styled = True

    def __init__(self, C: int) -> None:
        self.channels = C

    def __call__(
        self,
        x: Any,
        residual: Any = None,
        *,
        relu: bool,
        statistics: Any = None,
        style: Rows,
        training: bool,
        spent: bool = False,
    ) -> Tensor:
        """Normalize `x` with `style` = gamma, beta, one row per picture or one for all."""
        gamma, beta = style
        return ops.cin(x, gamma, beta, residual, relu=relu, statistics=statistics, spent=spent)


class ConditionalInstanceNorm:
    """Instance norm with a row of gamma and beta `(S, C)` for each of S styles (Dumoulin 2017, equation 5).

    >>> norm = ConditionalInstanceNorm(3, styles=2)
    >>> norm.beta.data[1] = 5
    >>> x = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    >>> norm(x, relu=False, style=np.array([1]), training=False).data.mean(axis=(1, 2)).round(3).tolist()
    [[5.0, 5.0, 5.0]]
    """

    kind = "conditional"
    takes_statistics = True
    styled = True

    def __init__(self, C: int, styles: int) -> None:
        self.channels = C
        self.gamma = _parameter(np.ones((styles, C)))
        self.beta = _parameter(np.zeros((styles, C)))

    def __call__(
        self,
        x: Any,
        residual: Any = None,
        *,
        relu: bool,
        statistics: Any = None,
        style: Any,
        training: bool,
        spent: bool = False,
    ) -> Tensor:
        """Normalize `x`; `style` is `(N,)` whole numbers, a mix `(N, S)`, or rows as for `PredictedNorm`."""
        gamma, beta, style = (*style, None) if isinstance(style, tuple) else (self.gamma, self.beta, style)
        return ops.cin(x, gamma, beta, residual, style=style, relu=relu, statistics=statistics, spent=spent)


class BatchNorm:
    """`gamma·(x - μ)/σ + beta` with the batch's μ and σ in training and running averages in use (Ioffe 2015).

    The averages move by a tenth of the way at each training call, as is the custom.

    >>> norm = BatchNorm(3)
    >>> norm(np.ones((2, 8, 8, 3), np.float32), relu=False, training=True).data.max().item()
    0.0
    >>> bool(np.allclose(norm.running_mean, 0.1))
    True
    """

    kind = "batch"
    takes_statistics = False
    styled = False
    momentum = 0.1

    def __init__(self, C: int) -> None:
        self.channels = C
        self.gamma = _parameter(np.ones(C))
        self.beta = _parameter(np.zeros(C))
        self.running_mean = np.zeros(C, np.float32)
        self.running_variance = np.ones(C, np.float32)

    def __call__(
        self,
        x: Any,
        residual: Any = None,
        *,
        relu: bool,
        statistics: Any = None,
        style: Any = None,
        training: bool,
        spent: bool = False,
    ) -> Tensor:
        """Normalize `x`; `statistics`, `style` and `spent` make no difference."""
        fused = relu and residual is None
        y: Tensor
        if training:
            y, batch = ops.batch_norm(x, self.gamma, self.beta, relu=fused)
            for running, new in zip((self.running_mean, self.running_variance), batch, strict=True):
                running += self.momentum * (new - running)
        else:
            running_statistics = self.running_mean, self.running_variance
            y = ops.batch_norm(x, self.gamma, self.beta, running=running_statistics, relu=fused)
        if residual is not None:
            y = ops.relu(y + residual) if relu else y + residual
        return y


Norm = InstanceNorm | ConditionalInstanceNorm | PredictedNorm | BatchNorm
