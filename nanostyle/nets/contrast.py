"""A photo's own brightness and contrast: gamma and beta of the output in the style `photo`."""

from typing import Any

from nanostyle.backend.device import module_of
from nanostyle.backend.memory import empty
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
    mean = values.mean(axis=(1, 2))
    values -= mean[:, None, None]
    values *= values
    return module_of(photos).sqrt(values.mean(axis=(1, 2))), mean


def logit(photos: Array) -> Array:
    """What the sigmoid turns into `photos`; cut off where black and white would lie at infinity."""
    xp = module_of(photos)
    # In memory that was used before: a network has just run, or is about to.
    values, rest = (empty(photos.shape, photos.dtype, like=photos) for _ in range(2))
    xp.clip(photos, 0.02, 0.98, out=values)
    xp.subtract(1, values, out=rest)
    values /= rest
    return xp.log(values, out=values)  # type: ignore[no-any-return]
