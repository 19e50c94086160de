"""A photo's own brightness and contrast: gamma and beta of the output in the style `photo`."""

from typing import Any

from nanostyle.backend.device import module_of
from nanostyle.backend.types import Array
from nanostyle.nn.norms import Rows

Contrast = tuple[Array, Array]
"""Deviation and mean `(N, 3)` of what the sigmoid turns into a photo."""


def with_contrast(rows: Rows, share: Any, photos: Array | Contrast) -> Rows:
    """`rows`, gamma and beta of the output, plus `share` of what gives `photos` their own brightness and contrast."""
    deviation, mean = photos if isinstance(photos, tuple) else contrast(photos)
    return rows[0] + share * deviation, rows[1] + share * mean


def contrast(photos: Array) -> Contrast:
    """Deviation and mean of `logit(photos)`, for `photos (N, H, W, 3)`."""
    values = logit(photos)
    return values.std(axis=(1, 2)), values.mean(axis=(1, 2))


def logit(photos: Array) -> Array:
    """What the sigmoid turns into `photos`; cut off where black and white would lie at infinity."""
    xp = module_of(photos)
    values = xp.clip(photos, 0.02, 0.98)
    result: Array = xp.log(values / (1 - values))
    return result
