"""The geometry of a convolution and of a padded border, shared by ops and by both back ends."""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

PadMode = Literal["zero", "reflect", "edge"]
Pad = int | tuple[int, int, int, int]


class Geometry(NamedTuple):
    """How a convolution walks over its input. The same for forward and both gradients.

    The input is upsampled (nearest), then padded by `pad` pixels on each side, filled by `mode`; the kernel
    then moves by `stride`.
    """

    stride: int = 1
    pad: int = 0
    mode: PadMode = "zero"
    upsample: int = 1

    def output(self, H: int, W: int, K: int, L: int) -> tuple[int, int]:
        """Height and width of the result for a kernel of K x L: `(upsample·H + 2·pad - K) // stride + 1`."""
        return (
            (self.upsample * H + 2 * self.pad - K) // self.stride + 1,
            (self.upsample * W + 2 * self.pad - L) // self.stride + 1,
        )


def border_index(n: int, before: int, after: int, mode: PadMode) -> npt.NDArray[np.intp]:
    """For each position of a padded axis, the position of the pixel it repeats; for zeros, -1.

    `reflect` repeats the pixels beside the border one without repeating that one, and turns back at the far
    end too, so it is defined for any size: a side of 1 pixel repeats that pixel.
    """
    i = np.arange(-before, n + after)
    if mode == "zero":
        return np.where((i >= 0) & (i < n), i, -1)
    if mode == "edge":
        return np.clip(i, 0, n - 1)
    period = max(1, 2 * (n - 1))
    i = np.abs(i) % period
    return np.minimum(i, period - i) if n > 1 else np.zeros_like(i)


def pad_sides(pad: Pad) -> tuple[int, int, int, int]:
    """`pad` as (top, bottom, left, right)."""
    return (pad,) * 4 if isinstance(pad, int) else pad
