"""Replace the hidden colors under full transparency, so that no network sees them."""

import numpy as np

from nanostyle.backend.types import Pixels
from nanostyle.io.resample import resize


def fill_hidden(pixels: Pixels, alpha: Pixels) -> Pixels:
    """`pixels` (H, W, 3) where `alpha` (H, W) is above 0; elsewhere the visible colors around, smoothly continued.

    The colors that the file keeps under full transparency have no influence. A picture without a visible pixel is
    black.

    Source: Gortler et al. 1996 (The Lumigraph), section 3.4, the pull-push algorithm: averages of 2x2 pixels, weighted
    by alpha, fill the gaps from coarse to fine.
    """
    visible = alpha > 0
    if visible.all():
        return pixels
    return filled(np.where(visible[..., None], pixels, 0).astype(np.float32), alpha.astype(np.float32))


def filled(colors: Pixels, weight: Pixels) -> Pixels:
    """`colors` (H, W, 3) where their `weight` (H, W) is above 0, elsewhere those around."""
    known = weight > 0
    if known.all() or not known.any():
        return colors
    height, width = weight.shape
    if max(height, width) == 1:
        return colors
    total = halved(weight[..., None])
    means = halved(colors * weight[..., None]) / np.maximum(total, np.float32(1e-12))
    coarse = filled(means.astype(np.float32), np.minimum(total[..., 0], 1))
    # Twice the coarse size, then cut: an odd side has half a block at its end.
    around = resize(coarse, (2 * coarse.shape[0], 2 * coarse.shape[1]))[:height, :width]
    return np.where(known[..., None], colors, around)


def halved(values: Pixels) -> Pixels:
    """Sums of blocks of 2x2."""
    height, width = values.shape[:2]
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    halved: Pixels = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, -1).sum(axis=(1, 3))
    return halved
