"""The palettes of pictures of which rows are read: what `models/palette.py` gives."""

import numpy as np

from nanostyle.backend.rows import ArrayRows, Rows, combined, each_band, usual_banding
from nanostyle.io.resample_rows import resized
from nanostyle.models.palette import Matrix, Palette, areas_of, steps_to


def palette_of_rows(rows: Rows) -> Palette:
    """Mean and covariance of the colors of a picture."""
    H, W, C = rows.shape
    total, products = np.zeros(C), np.zeros((C, C))

    def sums(start: int, stop: int) -> tuple[Matrix, Matrix]:
        # Half a step of gray is taken off: products of smaller numbers lose fewer digits.
        colors = rows.read(start, stop).reshape(-1, C).astype(np.float64) - 0.5
        return colors.sum(axis=0), colors.T @ colors

    for of_colors, of_products in each_band(sums, H, usual_banding(W)):
        total += of_colors
        products += of_products
    mean = total / (H * W)
    return Palette(mean + 0.5, products / (H * W) - np.outer(mean, mean))


def nearer_rows(result: Rows, target: Palette) -> Rows:
    """`result` with its palette brought a part of the way to `target`."""
    size = result.shape[0], result.shape[1]
    count = areas_of(size)
    areas = resized(result, count).read(0, count[0])
    steps = resized(ArrayRows(steps_to(target, areas, palette_of_rows(result))), size)
    return combined(lambda own, step: np.clip(own + step, 0, 1), result, steps)
