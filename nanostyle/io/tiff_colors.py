"""The samples of TIFFs that Pillow has no modes for, as pictures."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.backend.types import Pixels
from nanostyle.io.color import check_floats
from nanostyle.io.deep import Deep
from nanostyle.io.tiff import Samples

_WHITE_IS_ZERO, _INKS, _LAB = 0, 5, 8
_PREMULTIPLIED, _ALPHA = 1, 2


def picture_of(samples: Samples, name: str) -> tuple[Deep | Image.Image, Pixels | None]:
    """Grays and RGB as a `Deep`; CMYK and Lab as an image of 8 bits, as color profiles have them, and its alpha (H, W).

    Samples beyond color and alpha, as spot colors, are left out.

    Raises
    ------
    ValueError
        Floats that are NaN or far outside of 0..1.
    """
    inks = samples.photometric == _INKS
    count = 4 if inks else 3 if samples.photometric in (2, _LAB) else 1
    if samples.values.shape[-1] < count:
        raise ValueError(f"{name} has {samples.values.shape[-1]} samples a pixel, its colors need {count}")
    alpha = None
    for kind, i in zip(samples.extra, range(count, samples.values.shape[-1]), strict=False):
        if kind in (_PREMULTIPLIED, _ALPHA):
            alpha = np.clip(_unit(samples.values[..., i], name), 0, 1)
            break
    if samples.photometric == _LAB:
        return _lab(samples.values[..., :3]), alpha
    color = _unit(samples.values[..., :count], name)
    if samples.photometric == _WHITE_IS_ZERO:
        color = 1 - color
    if alpha is not None and _PREMULTIPLIED in samples.extra:
        color = np.clip(np.divide(color, alpha[..., None], out=np.zeros_like(color), where=alpha[..., None] > 0), 0, 1)
    if inks:
        return Image.fromarray((np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8), "CMYK"), alpha
    return Deep(color, alpha), None


def _unit(values: npt.NDArray[Any], name: str) -> Pixels:
    """Samples in 0..1; of signed ones, those below 0 are 0."""
    if values.dtype.kind == "f":
        check_floats(values, name)
        return values.astype(np.float32)
    most = np.iinfo(values.dtype).max
    unit: Pixels = np.maximum(values / most, 0).astype(np.float32)
    return unit


def _lab(values: npt.NDArray[Any]) -> Image.Image:
    """CIE L*a*b* in Pillow's 8 bits: the upper byte of each sample, where a and b have a sign."""
    shift = 8 * (values.dtype.itemsize - 1)
    bytes_of = (values.view(values.dtype.str.replace("i", "u")) >> shift).astype(np.uint8)
    return Image.merge("LAB", [Image.fromarray(np.ascontiguousarray(bytes_of[..., i])) for i in range(3)])
