"""Squared distances: the primitives of `ops/math.py`, block by block."""

import numpy as np

from nanostyle.backend.cpu.blocking import contiguous, row_slices
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel
from nanostyle.backend.types import Array


def squared_distance_forward(
    a: Array, b: Array, weight: Array | None, *, relative: bool = False
) -> tuple[Array, Array]:
    """See `ops.math.squared_distance_forward`. Float32 products over blocks, added up in float64."""
    a, b = _flat(a), _flat(b)
    blocks = row_slices(a.shape[0], a.shape[1], 1)

    def job(block: tuple[int, slice]) -> tuple[float, float]:
        d, aim = np.subtract(a[block], b[block], out=scratch("distance", a[block].shape)), b[block]
        return float(np.dot(d, d)), float(np.dot(aim, aim)) if relative else 0.0

    distance, size = np.zeros((2, len(a)))
    for (n, _), (of_block, of_aim) in zip(blocks, parallel(job, blocks), strict=True):
        distance[n] += of_block
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

    def job(block: tuple[int, slice]) -> None:
        np.subtract(a[block], b[block], out=out[block])
        np.multiply(out[block], factors[block[0]], out=out[block])

    parallel(job, row_slices(a.shape[0], a.shape[1], 1))
    return da


def _flat(x: Array) -> Array:
    """`(N, values)`."""
    return contiguous(x).reshape(len(x), -1)
