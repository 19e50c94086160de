"""Parameters in 8 bits: steps of equal width for each output channel, or the 256 values that fit a layer best."""

import numpy as np

CLUSTERS = 256

_MOST_ROUNDS = 200


def quantize(array: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`array` (…, M) in 8 bits: q (…, M), scale (M,), offset (M,), with array ≈ q·scale + offset."""
    axes = tuple(range(array.ndim - 1))
    low, high = array.min(axes).astype(np.float32), array.max(axes).astype(np.float32)
    scale = (high - low) / np.float32(255)
    steps = np.divide(array - low, scale, out=np.zeros(array.shape, np.float32), where=scale > 0)
    return np.rint(steps).clip(0, 255).astype(np.uint8), scale, low


def cluster(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`array` in 8 bits: indices of its shape, and a table of 256 values, with array ≈ table[indices].

    The table is that of k-means in one dimension (Lloyd 1982). An array of at most 256
    different values comes back exactly, so clustering twice changes nothing.

    Examples
    --------
    >>> indices, table = cluster(np.float32([0.5, -1, 0.5]))
    >>> table[indices]
    array([ 0.5, -1. ,  0.5], dtype=float32)
    """
    values = array.astype(np.float32, copy=False).ravel()
    table = np.unique(values)
    if table.size > CLUSTERS:
        table = _lloyd(np.sort(values).astype(np.float64))
    between = (table[1:].astype(np.float64) + table[:-1]) / 2
    indices = np.searchsorted(between, values).astype(np.uint8)
    return indices.reshape(array.shape), np.pad(
        table, (0, CLUSTERS - table.size), mode="edge" if table.size else "constant"
    )


def _lloyd(values: np.ndarray) -> np.ndarray:
    """The centers of k-means for `values` in rising order: each is the mean of the values that are nearest to it."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    # Centers are best spread by the cube root of the density (Panter and Dite 1951): begin near that.
    heights, edges = np.histogram(values, max(CLUSTERS, min(values.size // 64, 4 * CLUSTERS)))
    spread = np.cumsum(np.cbrt(heights))
    centers = np.interp((np.arange(CLUSTERS) + 0.5) / CLUSTERS * spread[-1], spread, edges[1:])
    before = None
    for _ in range(_MOST_ROUNDS):
        edges = np.searchsorted(values, (centers[1:] + centers[:-1]) / 2)
        if before is not None and (edges == before).all():
            break
        before = edges
        edges = np.concatenate([[0], edges, [values.size]])
        count = np.diff(edges)
        # A center that nothing is nearest to stays where it is.
        centers = np.where(count > 0, np.diff(total[edges]) / np.maximum(count, 1), centers)
    return np.unique(centers.astype(np.float32))
