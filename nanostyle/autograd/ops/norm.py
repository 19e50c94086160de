"""Normalization of feature maps `(N, H, W, C)`: instance, conditional instance, and batch norm."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nanostyle.autograd.tensor import (
    Forward,
    Operand,
    Tensor,
    is_recording,
    matmul_forward,
    once,
    op,
    op_with_byproduct,
)
from nanostyle.backend.device import CuPy, module_of
from nanostyle.backend.dispatch import primitive
from nanostyle.backend.types import Array, Statistics

EPS = 1e-5


@primitive
def statistics_of(x: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance `(N, C)` of every channel of every feature map.

    In two passes, the second around the mean: E[x²] - E[x]² would lose the variance of a channel whose mean is
    far from 0.
    """
    mean = x.mean(axis=(1, 2))
    return mean, ((x - mean[:, None, None]) ** 2).mean(axis=(1, 2))


@op
def statistics(x: Array, *, eps: float = EPS) -> Forward:
    """Mean and deviation of every channel of every feature map of `x (N, H, W, C)`, one behind the other: `(N, 2C)`.

    The deviation is sqrt(σ² + eps), as in the norms.
    """
    xp = module_of(x)
    mean, variance = statistics_of(x)
    deviation = xp.sqrt(variance + eps)
    n, C = x.shape[1] * x.shape[2], x.shape[3]

    def dx(g: Array) -> Array:
        scale = g[:, C:] / (n * deviation)
        return normalize_forward(x, scale, g[:, :C] / n - mean * scale, None)

    return xp.concatenate([mean, deviation], axis=1), (dx,)


@primitive
def normalize_forward(
    x: Array, scale: Array, shift: Array, residual: Array | None, *, relu: bool = False, spent: bool = False
) -> Array:
    """`x·scale + shift + residual`, then ReLU if asked for; `scale` and `shift` are `(N, C)`.

    `spent` says that nobody reads `x` afterwards: the result may take its place.
    """
    y = x * scale[:, None, None] + shift[:, None, None]
    if residual is not None:
        y += residual
    return module_of(y).maximum(y, 0, out=y) if relu else y


@primitive
def scale_and_shift(
    statistics: Statistics, gamma: Array, beta: Array, *, eps: float
) -> tuple[Array, Array, Array, Array]:
    """Mean, rstd = 1/sqrt(σ² + eps), and what normalizes as `x·scale + shift`: scale and shift; all are `(N, C)`.

    `statistics` are mean and variance, or what `conv2d_forward` gives in their place. `gamma` and `beta` are `(N, C)`,
    or `(1, C)` for all feature maps. On a CPU, in float32, channels that vary by rounding alone count as constant
    (`cpu/norm.py`).
    """
    mean, variance = statistics if isinstance(statistics, tuple) else statistics.joined()
    rstd = 1 / module_of(mean).sqrt(variance + eps)
    scale = gamma * rstd
    return mean, rstd, scale, beta - scale * mean


@primitive
def normalize_backward(
    g: Array, x: Array, y: Array | None, mean: Array, rstd: Array, gamma: Array, *, need_g: bool
) -> tuple[Array, Array, Array, Array | None]:
    """Gradients of `gamma·(x - mean)·rstd + beta`, where mean and rstd = 1/σ are those of `x` itself.

    `y` is the result where the forward pass ended in a ReLU (`g` counts only where y > 0), else None. `mean`,
    `rstd` and `gamma` are `(N, C)`.

    Returns `dx, dgamma, dbeta, g`: dgamma and dbeta `(N, C)`, per feature map; the masked `g` (the gradient of the
    residual) if `need_g`, else None.
    """
    if y is not None:
        g = g * (y > 0)
    normalized = (x - mean[:, None, None]) * rstd[:, None, None]
    dbeta = g.sum(axis=(1, 2))
    dgamma = (g * normalized).sum(axis=(1, 2))
    n = x.shape[1] * x.shape[2]
    # Each pixel moves the mean and the deviation too: their share is taken off.
    dx = g - (dbeta / n)[:, None, None] - normalized * (dgamma / n)[:, None, None]
    dx *= (gamma * rstd)[:, None, None]
    return dx, dgamma, dbeta, g if need_g else None


def _rows(parameter: Array, style: Array | None) -> Array:
    """The row of gamma or beta for each feature map, `(N, C)`, or `(1, C)` for all. See `cin` for `style`."""
    if parameter.ndim == 1:
        parameter = parameter[None]
    if style is None:
        return parameter
    return parameter[style] if style.ndim == 1 else matmul_forward(style.astype(parameter.dtype), parameter)


def _rows_gradient(g: Array, like: Array, style: Array | None) -> Array:
    """The transpose of `_rows`: the gradients of the feature maps, added up per style."""
    if style is None:
        return g.reshape(like.shape) if g.size == like.size else g.sum(axis=0).reshape(like.shape)
    xp = module_of(g)
    if style.ndim == 1:  # as a matrix product, so that the order of the sum is fixed on every device
        style = style[:, None] == xp.arange(like.shape[0])
    return matmul_forward(style.astype(g.dtype).T, g)


@op
def cin(
    x: Array,
    gamma: Array,
    beta: Array,
    residual: Array | None = None,
    *,
    style: Array | Sequence[int] | None = None,
    relu: bool = False,
    statistics: Statistics | None = None,
    spent: bool = False,
    eps: float = EPS,
) -> Forward:
    """Conditional instance normalization: `gamma[s]·(x - μ)/σ + beta[s] + residual`, then ReLU if asked for.

    μ and σ are those of each channel of each feature map of `x (N, H, W, C)`; `gamma` and `beta` `(S, C)` hold a row
    for each style. `style` says which: `(N,)` whole numbers, one style per feature map; `(N, S)` numbers, a mix of
    styles per feature map; None: one row for all feature maps (`(C,)` or `(1, C)`), or one per feature map (`(N, C)`).
    `statistics` are mean and variance of `x` where they are known already: `conv2d(..., statistics=True)` gives them.
    `spent` says that nobody reads `x` afterwards: where no gradient needs it either, the result may take its place.

    Source: Dumoulin 2017, equation 5; the same σ² + eps as instance norm (Ulyanov 2016).

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    N, C = x.shape[0], x.shape[-1]
    rows = 1 if gamma.ndim == 1 else gamma.shape[0]
    fits = style is not None or rows in (1, N)
    if x.ndim != 4 or gamma.shape != beta.shape or gamma.shape[-1] != C or not fits:
        raise ValueError(
            f"cin: expected x (N, H, W, C), gamma and beta (S, C), and style for each of N pictures,"
            f" got {x.shape}, {gamma.shape}, {beta.shape} and style {style}"
        )
    xp = module_of(x)
    chosen = None if style is None else _chosen_styles(style, N, rows, xp)
    statistics = statistics_of(x) if statistics is None else statistics
    g_rows, b_rows = _rows(gamma, chosen), _rows(beta, chosen)
    mean, rstd, scale, shift = scale_and_shift(statistics, g_rows, b_rows, eps=eps)
    y = normalize_forward(x, scale, shift, residual, relu=relu, spent=spent and not is_recording())
    mask = y if relu else None

    @once
    def backward(g: Array) -> tuple[Array, Array, Array, Array | None]:
        return normalize_backward(
            g, x, mask, mean, rstd, xp.broadcast_to(g_rows, rstd.shape), need_g=residual is not None
        )

    def dresidual(g: Array) -> Array:
        masked = backward(g)[3]
        assert masked is not None  # `need_g`: a residual was given
        return masked

    return y, (
        lambda g: backward(g)[0],
        lambda g: _rows_gradient(backward(g)[1], gamma, chosen),
        lambda g: _rows_gradient(backward(g)[2], beta, chosen),
        dresidual,
    )


def _chosen_styles(style: Array | Sequence[int], N: int, S: int, xp: CuPy) -> Array:
    """`style` as an array of the module `xp`, checked."""
    given = np.asarray(style) if isinstance(style, Sequence) else style
    # Whether numbers on a GPU are in range cannot be seen without waiting for it.
    outside = isinstance(given, np.ndarray) and given.ndim == 1 and N and not 0 <= given.min() <= given.max() < S
    if given.shape not in ((N,), (N, S)) or outside:
        raise ValueError(
            f"cin: expected style as (N,) numbers from 0 to S - 1, or (N, S) shares, for N = {N} pictures and S = {S}"
            f" styles, got shape {given.shape}{f', {given.min()} to {given.max()}' if outside else ''}"
        )
    array: Array = xp.asarray(given)
    return array


def instance_norm(x: Operand, gamma: Operand, beta: Operand, residual: Operand | None = None, **options: Any) -> Tensor:
    """Instance normalization (Ulyanov 2016): `cin` with one style, `gamma` and `beta` `(C,)`."""
    return cin(x, gamma, beta, residual, **options)


@op_with_byproduct
def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    running: tuple[Array, Array] | None = None,
    relu: bool = False,
    eps: float = EPS,
) -> tuple[Any, ...]:
    """Batch normalization (Ioffe 2015): `gamma·(x - μ)/σ + beta`, then ReLU if asked for; `gamma`, `beta` `(C,)`.

    In training μ and σ² are those of each channel over all feature maps of `x (N, H, W, C)`; the op then returns
    `(y, (mean, variance))`, `(C,)` each, for the running averages. With `running` = (mean, variance) those are
    used, as constants, and the op returns `y` alone.
    """
    N, H, W, C = x.shape
    if gamma.shape != (C,) or beta.shape != (C,):
        raise ValueError(f"batch_norm: expected gamma and beta ({C},), got {gamma.shape} and {beta.shape}")
    # The batch, stacked into one tall feature map: then it is instance norm.
    tall = x.reshape(1, N * H, W, C)
    wide = np.result_type(x.dtype, np.float32)
    mean, variance = statistics_of(tall) if running is None else (r[None].astype(wide) for r in running)
    _, rstd, scale, shift = scale_and_shift((mean, variance), gamma[None], beta[None], eps=eps)
    y = normalize_forward(tall, scale, shift, None, relu=relu)
    mask = y if relu else None

    @once
    def backward(g: Array) -> tuple[Array, Array, Array, Array | None]:
        return normalize_backward(g.reshape(tall.shape), tall, mask, mean, rstd, gamma[None], need_g=True)

    def dx(g: Array) -> Array:
        through, _, _, masked = backward(g)
        if running is not None:
            assert masked is not None  # `need_g` is True
            through = masked * scale
        return through.reshape(x.shape)

    vjps = (dx, lambda g: backward(g)[1][0], lambda g: backward(g)[2][0])
    return (y.reshape(x.shape), vjps, (mean[0], variance[0])) if running is None else (y.reshape(x.shape), vjps)
