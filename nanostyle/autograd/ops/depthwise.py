"""Depthwise convolution: each channel of the feature map has a kernel of its own (Howard 2017, MobileNets)."""

from collections.abc import Iterator

from nanostyle.autograd.tensor import Forward, op
from nanostyle.backend.device import module_of
from nanostyle.backend.types import Array


def _taps(w: Array, H: int, W: int, stride: int) -> Iterator[tuple[tuple[int, int], tuple[slice, ...]]]:
    """For each place of the kernel the pixels that meet it, for a result of `H` x `W`."""
    for k in range(w.shape[0]):
        for j in range(w.shape[1]):
            rows, columns = (slice(at, at + stride * n, stride) for at, n in ((k, H), (j, W)))
            yield (k, j), (slice(None), rows, columns)


@op
def depthwise_conv2d(x: Array, w: Array, b: Array | None = None, *, stride: int = 1) -> Forward:
    """Cross-correlation of each channel of `x (N, H, W, C)` with its own kernel, `w (K, L, C)`; `b (C,)` is added.

    The result is `(N, H', W', C)` with `H' = (H - K) // stride + 1`.

    Raises
    ------
    ValueError
        Shapes do not fit, or the feature map is smaller than the kernel.
    """
    if x.ndim != 4 or w.ndim != 3 or x.shape[3] != w.shape[2] or (b is not None and b.shape != w.shape[2:]):
        raise ValueError(
            "depthwise_conv2d: expected x (N, H, W, C), w (K, L, C) and b (C,),"
            f" got {x.shape}, {w.shape} and {None if b is None else b.shape}"
        )
    H, W = ((n - k) // stride + 1 for n, k in zip(x.shape[1:3], w.shape[:2], strict=True))
    if min(H, W) < 1:
        raise ValueError(
            f"depthwise_conv2d: a picture of {x.shape[1]}x{x.shape[2]} is smaller than the kernel of"
            f" {w.shape[0]}x{w.shape[1]}"
        )
    xp = module_of(x)
    y = xp.zeros((x.shape[0], H, W, x.shape[3]), x.dtype)
    for place, pixels in _taps(w, H, W, stride):
        y += x[pixels] * w[place]
    if b is not None:
        y += b

    def dx(g: Array) -> Array:
        out: Array = xp.zeros(x.shape, g.dtype)
        for place, pixels in _taps(w, H, W, stride):
            out[pixels] += g * w[place]
        return out

    def dw(g: Array) -> Array:
        out: Array = xp.empty(w.shape, g.dtype)
        for place, pixels in _taps(w, H, W, stride):
            out[place] = (g * x[pixels]).sum(axis=(0, 1, 2))
        return out

    return y, (dx, dw, lambda g: g.sum(axis=(0, 1, 2)))
