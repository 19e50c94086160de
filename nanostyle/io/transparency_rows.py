"""Hidden colors under full transparency, in pictures of which rows are read: what `transparency.fill_hidden` gives."""

import numpy as np

from nanostyle.backend.rows import ArrayRows, Computed, Rows, combined, cropped, kept
from nanostyle.backend.types import Array, Pixels
from nanostyle.io.resample_rows import resized
from nanostyle.io.transparency import filled, halved

# A picture of fewer pixels is filled in memory.
_SMALL = 1 << 20


def fill_hidden_rows(pixels: Rows, alpha: Rows) -> Rows:
    """`pixels` where `alpha` is above 0; elsewhere the visible colors around, smoothly continued."""
    H, W, _ = pixels.shape
    joined = Computed((H, W, 4), lambda start, stop: _visible(pixels.read(start, stop), alpha.read(start, stop)))
    return kept(_filled(joined))


def _visible(pixels: Pixels, alpha: Pixels) -> Pixels:
    return np.concatenate([np.where(alpha > 0, pixels, 0).astype(np.float32), alpha], axis=-1)


def _filled(joined: Rows) -> Rows:
    """The three channels of color, filled where the fourth, their weight, is 0."""
    H, W, _ = joined.shape
    if H * W < _SMALL:
        whole = joined.read(0, H)
        return ArrayRows(filled(whole[..., :3], whole[..., 3]))

    def half(start: int, stop: int) -> Array:
        values = joined.read(2 * start, min(2 * stop, H))
        total = halved(values[..., 3:])
        means = halved(values[..., :3] * values[..., 3:]) / np.maximum(total, np.float32(1e-12))
        return np.concatenate([means, np.minimum(total, 1)], axis=-1)

    coarse = _filled(kept(Computed((-(-H // 2), -(-W // 2), 4), half)))
    around = cropped(resized(coarse, (2 * coarse.shape[0], 2 * coarse.shape[1])), 0, 0, H, W)
    return combined(lambda near, own: np.where(own[..., 3:] > 0, own[..., :3], near), around, joined)
