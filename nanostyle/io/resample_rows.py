"""Resampling of pictures of which rows are read: what `resample.resize` gives, to rounding."""

import numpy as np

from nanostyle.backend.rows import Computed, Rows, each_band, usual_banding
from nanostyle.backend.types import Array, Pixels
from nanostyle.io.resample import resampled

Limits = tuple[Array, Array]
"""The least and the greatest value of each channel."""

_BAND, _LOBES = 64, 3


def limits_of(rows: Rows) -> Limits:
    """The least and the greatest value of each channel of a picture."""

    def within(start: int, stop: int) -> Limits:
        part = rows.read(start, stop)
        return part.min(axis=(0, 1)), part.max(axis=(0, 1))

    each = list(each_band(within, rows.shape[0], usual_banding(rows.shape[1])))
    return np.min([low for low, _ in each], axis=0), np.max([high for _, high in each], axis=0)


def resized(rows: Rows, size: tuple[int, int], limits: Limits | None = None) -> Rows:
    """`rows` at `size` (height, width): Lanczos with antialiasing, each channel within its own range (`limits`)."""
    H, W, C = rows.shape
    height, width = size
    if size == (H, W):
        return rows
    low, high = limits_of(rows) if limits is None else limits

    def compute(start: int, stop: int) -> Pixels:
        return np.concatenate([part(first, min(first + _BAND, stop)) for first in range(start, stop, _BAND)])

    def part(start: int, stop: int) -> Pixels:
        top, weights = _weights(H, height, start, stop)
        bottom = top + weights.shape[1]
        found = (rows.read(y, min(y + _BAND, bottom)) for y in range(top, bottom, _BAND))
        wide = np.concatenate([_across(block, width) for block in found])
        made = weights @ wide.reshape(len(wide), -1)
        clipped: Pixels = np.clip(made.reshape(stop - start, width, C), low, high)
        return clipped

    return Computed((height, width, C), compute)


def _across(rows: Pixels, width: int) -> Pixels:
    """Rows `(h, W, C)` at another width."""
    if rows.shape[1] == width:
        return rows
    planes = [resampled(np.ascontiguousarray(plane), (width, len(rows))) for plane in np.moveaxis(rows, -1, 0)]
    return np.stack(planes, axis=-1)


def _weights(before: int, after: int, start: int, stop: int) -> tuple[int, Pixels]:
    """The first row that the rows from `start` to `stop` are made of, and how much of each from there on they take."""
    scale = before / after
    wide = max(scale, 1.0)
    centers = (np.arange(start, stop) + 0.5) * scale
    firsts = np.maximum((centers - _LOBES * wide + 0.5).astype(int), 0)
    lasts = np.minimum((centers + _LOBES * wide + 0.5).astype(int), before)
    at = np.arange(firsts[0], lasts[-1])
    x = (at + 0.5 - centers[:, None]) / wide
    weights = np.where(np.abs(x) < _LOBES, np.sinc(x) * np.sinc(x / _LOBES), 0)
    weights[(at < firsts[:, None]) | (at >= lasts[:, None])] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return int(firsts[0]), weights.astype(np.float32)
