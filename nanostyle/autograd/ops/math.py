"""Elementwise functions and reductions. The arithmetic behind the operators is in `tensor.py`."""

import numpy as np
import numpy.typing as npt

from nanostyle.autograd.tensor import Forward, op
from nanostyle.backend.device import module_of
from nanostyle.backend.dispatch import primitive
from nanostyle.backend.types import Array

Axes = int | tuple[int, ...] | None


@op
def relu(x: Array) -> Forward:
    """`max(x, 0)`; the gradient at 0 is 0."""
    return module_of(x).maximum(x, 0), (lambda g: g * (x > 0),)


@op
def tanh(x: Array) -> Forward:
    """The hyperbolic tangent."""
    y = module_of(x).tanh(x)
    return y, (lambda g: g * (1 - y * y),)


@op
def sigmoid(x: Array) -> Forward:
    """`1 / (1 + exp(-x))`, by way of tanh: no overflow at any x."""
    y = (1 + module_of(x).tanh(x / 2)) / 2
    return y, (lambda g: g * (y * (1 - y)),)


@op
def sqrt(x: Array) -> Forward:
    """The square root of numbers above 0."""
    y = module_of(x).sqrt(x)
    return y, (lambda g: g / (2 * y),)


@op
def cast(x: Array, *, dtype: npt.DTypeLike) -> Forward:
    """The same values as numbers of `dtype`; the gradient comes back as that of `x`."""
    return x.astype(dtype, copy=False), (lambda g: g.astype(x.dtype, copy=False),)


@op
def sum(x: Array, *, axis: Axes = None, keepdims: bool = False) -> Forward:
    """The sum over `axis` (default: all)."""
    y = module_of(x).asarray(x.sum(axis=axis, keepdims=keepdims))
    return y, (lambda g: _spread(g, x, axis, keepdims),)


@op
def mean(x: Array, *, axis: Axes = None, keepdims: bool = False) -> Forward:
    """The mean over `axis` (default: all)."""
    y = module_of(x).asarray(x.mean(axis=axis, keepdims=keepdims))
    return y, (lambda g: _spread(g * (y.size / x.size), x, axis, keepdims),)


def _spread(g: Array, x: Array, axis: Axes, keepdims: bool) -> Array:
    """The gradient of a sum: each element of `x` receives the gradient of the sum it went into."""
    xp = module_of(x)
    if axis is not None and not keepdims:
        g = xp.expand_dims(g, axis)
    spread: Array = xp.broadcast_to(g, x.shape).astype(x.dtype)
    return spread


@primitive
def squared_distance_forward(
    a: Array, b: Array, weight: Array | None, *, relative: bool = False
) -> tuple[Array, Array]:
    """`Σ_n share_n · Σ (a_n - b_n)²`, a number, and the shares `(N,)`: `weight` (None: 1 each).

    With `relative` they are divided by `N · Σ b_n²`. A sum below 1e-12 counts as that: a black feature map must not
    divide by nothing.
    """
    N = len(a)
    d = (a - b).reshape(N, -1)
    distance = (d * d).sum(axis=1)
    share = module_of(a).ones_like(distance) if weight is None else weight
    if relative:
        share = share / (N * module_of(b).maximum((b * b).reshape(N, -1).sum(axis=1), 1e-12))
    return module_of(a).asarray((distance * share).sum()), share


@primitive
def squared_distance_da(g: Array, share: Array, a: Array, b: Array) -> Array:
    """dL/da = `2·g·share_n·(a_n - b_n)`, from `g` = dL/d(result), a number, and the shares `(N,)`."""
    da: Array = (a - b) * (2 * g * share).reshape(-1, *(1,) * (a.ndim - 1))
    return da


@op
def squared_distance(a: Array, b: Array, *, weight: Array) -> Forward:
    """`Σ_n weight_n · Σ (a_n - b_n)²`: a number, from `a` and `b` of one shape `(N, ...)` and `weight` `(N,)`.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    y, share = squared_distance_forward(a, b, _checked("squared_distance", a, b, weight))
    return y, (lambda g: squared_distance_da(g, share, a, b), lambda g: squared_distance_da(g, share, b, a))


@op
def relative_distance(a: Array, *, target: Array, weight: Array | None = None) -> Forward:
    """The mean over n of `weight_n · Σ (a_n - target_n)² / Σ target_n²`; shapes as for `squared_distance`.

    `weight` None counts as 1 each. Raises as `squared_distance` does.
    """
    weight = _checked("relative_distance", a, target, weight)
    y, share = squared_distance_forward(a, target, weight, relative=True)
    return y, (lambda g: squared_distance_da(g, share, a, target),)


def _checked(name: str, a: Array, b: Array, weight: Array | None) -> Array | None:
    """The weight in a type that is never float16, for it may be small."""
    if a.shape != b.shape or (weight is not None and weight.shape != a.shape[:1]):
        raise ValueError(
            f"{name}: expected two arrays of one shape (N, ...) and a weight (N,),"
            f" got {a.shape}, {b.shape} and {None if weight is None else weight.shape}"
        )
    return None if weight is None else weight.astype(np.result_type(a.dtype, np.float32), copy=False)
