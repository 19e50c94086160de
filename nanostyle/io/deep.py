"""Pictures of more than 8 bits a sample, which Pillow has no modes for."""

from dataclasses import dataclass

import numpy as np

from nanostyle.backend.types import Pixels
from nanostyle.io.resample import resize


@dataclass(frozen=True, eq=False)
class Deep:
    """A gray or RGB picture as floats.

    Attributes
    ----------
    color : (H, W, 1 or 3) float32 in 0..1
        As stored: its color space is told elsewhere.
    alpha : (H, W) float32 in 0..1, or None
        None where the file has no transparency.
    """

    color: Pixels
    alpha: Pixels | None = None

    def resized(self, size: tuple[int, int]) -> "Deep":
        """The picture at `size` (height, width): Lanczos, colors weighted by alpha."""
        if self.color.shape[:2] == size:
            return self
        if self.alpha is None:
            return Deep(resize(self.color, size))
        alpha = resize(self.alpha[..., None], size)
        weighted = resize(self.color * self.alpha[..., None], size)
        color = np.divide(weighted, alpha, out=np.zeros_like(weighted), where=alpha > 0)
        return Deep(np.clip(color, 0, 1), alpha[..., 0])
