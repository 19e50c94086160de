"""Floor 0: squared distances in strips: the twins of `ops/math.py`."""

import numpy as np

from nanostyle.arrays import Array, empty, parallel, scratch
from nanostyle.cpu.strips import contiguous, row_strips


def squared_distance_forward(a: Array, b: Array | None) -> Array:
    """See `ops.math.squared_distance_forward`. Float32 products over strips, added up in float64."""
    a, b = _flat(a), None if b is None else _flat(b)
    strips = row_strips(a.shape[0], a.shape[1], 1)

    def job(strip: tuple[int, slice]) -> float:
        d = a[strip] if b is None else np.subtract(a[strip], b[strip], out=scratch("distance", a[strip].shape))
        return float(np.dot(d, d))

    total = np.zeros(len(a))
    for (n, _), part in zip(strips, parallel(job, strips), strict=True):
        total[n] += part
    return total.astype(np.float32)


def squared_distance_da(g: Array, a: Array, b: Array) -> Array:
    """See `ops.math.squared_distance_da`."""
    da = empty(a.shape)
    a, b, out = _flat(a), _flat(b), _flat(da)

    def job(strip: tuple[int, slice]) -> None:
        np.subtract(a[strip], b[strip], out=out[strip])
        np.multiply(out[strip], np.float32(2 * g[strip[0]]), out=out[strip])

    parallel(job, row_strips(a.shape[0], a.shape[1], 1))
    return da


def _flat(x: Array) -> Array:
    """`(N, values)`."""
    return contiguous(x).reshape(len(x), -1)
