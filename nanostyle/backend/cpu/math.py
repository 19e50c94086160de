"""Squared distances in strips: the twins of `ops/math.py`."""

import numpy as np

from nanostyle.backend.cpu.blocking import contiguous, row_strips
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def squared_distance_forward(
    a: Array, b: Array, weight: Array | None, *, relative: bool = False
) -> tuple[Array, Array]:
    """See `ops.math.squared_distance_forward`. Float32 products over strips, added up in float64."""
    a, b = _flat(a), _flat(b)
    strips = row_strips(a.shape[0], a.shape[1], 1)

    def job(strip: tuple[int, slice]) -> tuple[float, float]:
        d, aim = np.subtract(a[strip], b[strip], out=scratch("distance", a[strip].shape)), b[strip]
        return float(np.dot(d, d)), float(np.dot(aim, aim)) if relative else 0.0

    distance, size = np.zeros((2, len(a)))
    for (n, _), (part, of_aim) in zip(strips, parallel(job, strips), strict=True):
        distance[n] += part
        size[n] += of_aim
    share = np.ones(len(a)) if weight is None else weight.astype(float)
    if relative:
        share = share / (len(a) * np.maximum(size, 1e-12))
    return np.asarray(distance @ share, np.float32), share.astype(np.float32)


def squared_distance_da(g: Array, share: Array, a: Array, b: Array) -> Array:
    """See `ops.math.squared_distance_da`."""
    da = empty(a.shape)
    a, b, out = _flat(a), _flat(b), _flat(da)
    factors = np.float32(2) * g * share

    def job(strip: tuple[int, slice]) -> None:
        np.subtract(a[strip], b[strip], out=out[strip])
        np.multiply(out[strip], factors[strip[0]], out=out[strip])

    parallel(job, row_strips(a.shape[0], a.shape[1], 1))
    return da


def _flat(x: Array) -> Array:
    """`(N, values)`."""
    return contiguous(x).reshape(len(x), -1)
