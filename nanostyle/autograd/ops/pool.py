"""Max and average pooling of feature maps `(N, H, W, C)`."""

from collections.abc import Iterator

from nanostyle.autograd.tensor import Forward, op
from nanostyle.backend.device import module_of
from nanostyle.backend.dispatch import primitive
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array


def _output(H: int, W: int, size: int, stride: int) -> tuple[int, int]:
    """Only whole windows count: a row or column left over at the end is not pooled."""
    return (H - size) // stride + 1, (W - size) // stride + 1


def _taps(x: Array, size: int, stride: int) -> Iterator[Array]:
    """The `size`² views of `x`, each holding one pixel of every window."""
    H, W = _output(x.shape[1], x.shape[2], size, stride)
    for k in range(size):
        for j in range(size):
            yield x[:, k : k + stride * (H - 1) + 1 : stride, j : j + stride * (W - 1) + 1 : stride]


@primitive
def max_pool_forward(x: Array, *, size: int, stride: int) -> Array:
    """The largest value of every window."""
    H, W = _output(x.shape[1], x.shape[2], size, stride)
    y = empty((x.shape[0], H, W, x.shape[3]), x.dtype, like=x)
    taps = _taps(x, size, stride)
    y[...] = next(taps)
    for tap in taps:
        module_of(x).maximum(y, tap, out=y)
    return y


@primitive
def max_pool_dx(g: Array, x: Array, y: Array, *, size: int, stride: int) -> Array:
    """dL/dx: every window's gradient goes to its largest pixel; among equals, to the first in reading order."""
    xp = module_of(x)
    dx: Array = xp.zeros(x.shape, g.dtype)
    open_ = xp.ones(y.shape, bool)  # windows whose pixel has not been found yet
    for tap, out in zip(_taps(x, size, stride), _taps(dx, size, stride), strict=True):
        here = open_ & (tap == y)
        out += g * here
        open_ &= ~here
    return dx


@primitive
def avg_pool_forward(x: Array, *, size: int, stride: int) -> Array:
    """The mean of every window."""
    H, W = _output(x.shape[1], x.shape[2], size, stride)
    y = empty((x.shape[0], H, W, x.shape[3]), x.dtype, like=x)
    taps = _taps(x, size, stride)
    y[...] = next(taps)
    for tap in taps:
        y += tap
    y *= 1 / size**2
    return y


@primitive
def avg_pool_dx(g: Array, *, shape: tuple[int, ...], size: int, stride: int) -> Array:
    """dL/dx for feature maps of `shape`: every window's gradient, spread evenly over its pixels."""
    dx: Array = module_of(g).zeros(shape, g.dtype)
    share = g * (1 / size**2)
    for out in _taps(dx, size, stride):
        out += share
    return dx


def _check(name: str, x: Array, size: int) -> None:
    if x.ndim != 4 or min(x.shape[1:3]) < size:
        raise ValueError(f"{name}: expected pictures (N, H, W, C) of at least {size}x{size}, got {x.shape}")


@op
def max_pool(x: Array, *, size: int = 2, stride: int = 2) -> Forward:
    """Max pooling over windows of `size` x `size`, `stride` apart: `(N, H, W, C) -> (N, H', W', C)`.

    `H' = (H - size) // stride + 1`.

    Raises
    ------
    ValueError
        The feature map is smaller than a window.
    """
    _check("max_pool", x, size)
    y = max_pool_forward(x, size=size, stride=stride)
    return y, (lambda g: max_pool_dx(g, x, y, size=size, stride=stride),)


@op
def avg_pool(x: Array, *, size: int = 2, stride: int = 2) -> Forward:
    """Average pooling, with windows as in `max_pool`; Gatys 2016, section 2, prefers it.

    Raises
    ------
    ValueError
        The feature map is smaller than a window.
    """
    _check("avg_pool", x, size)
    y = avg_pool_forward(x, size=size, stride=stride)
    return y, (lambda g: avg_pool_dx(g, shape=x.shape, size=size, stride=stride),)
