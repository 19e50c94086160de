"""Pictures as a program hands them over: files, PIL images and arrays."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.backend.types import Pixels
from nanostyle.io.deep import Deep
from nanostyle.io.image_read import Picture, load_image, read_image
from nanostyle.io.resample import fitted
from nanostyle.io.transparency import fill_hidden

Source: TypeAlias = str | os.PathLike[str] | Image.Image | npt.NDArray[Any]
"""A path, a PIL image, or an array `(H, W)`, `(H, W, 3)` or `(H, W, 4)`: 8 or 16 bits, or floats in 0..1; sRGB."""


def as_list(given: Any) -> list[Any]:
    """What is given for one thing or several, as a list: empty for None, of one for a single picture or name."""
    if given is None:
        return []
    one = isinstance(given, str | bytes | os.PathLike | Image.Image | np.ndarray) or not isinstance(given, Iterable)
    return [given] if one else list(given)


def read_source(source: Source | Picture, *, size: int | None = None) -> Picture:
    """The picture that `source` stands for, with a long side of `size` pixels if one is given.

    Raises
    ------
    FileNotFoundError, OSError
        There is no such file, or it cannot be read.
    TypeError
        `source` is none of the things that a picture can be.
    ValueError
        The file is not a picture; the array has another shape or type, is empty, holds NaN or leaves 0..1.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        return read_image(source.copy(), name_of(source) or "the PIL image", size)
    if isinstance(source, np.ndarray):
        return _from_array(source, size)
    if isinstance(source, str | os.PathLike):
        return load_image(source, size=size)
    raise TypeError(f"picture: expected a path, a PIL image or an array, got {type(source).__name__}")


def name_of(source: object) -> str:
    """The name of the file that `source` comes from; empty where it comes from none."""
    if isinstance(source, Image.Image):
        source = getattr(source, "filename", "") or ""
    return Path(source).name if isinstance(source, str | os.PathLike) else ""


def recorded_name(source: object) -> str:
    """What a recipe calls the file that `source` comes from: its path as given, if that is below the current folder.

    Of a path from elsewhere only the name is told: a result that is passed on says nothing of its maker's folders.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_absolute() and not path.drive and ".." not in path.parts:
            return path.as_posix()
    return name_of(source)


def _from_array(array: npt.NDArray[Any], size: int | None) -> Picture:
    values = _checked(array)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    pixels, alpha = np.ascontiguousarray(values[..., :3]), None
    if values.shape[2] == 4 and values[..., 3].min() < 1:
        alpha = np.ascontiguousarray(values[..., 3])
    original = (values.shape[0], values.shape[1])
    if size is not None:
        deep = Deep(pixels, alpha).resized(fitted(original, size))
        pixels, alpha = deep.color, deep.alpha
    return Picture(pixels if alpha is None else fill_hidden(pixels, alpha), alpha, original=original)


def _checked(array: npt.NDArray[Any]) -> Pixels:
    """The array in float32, 0..1."""
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"picture: expected an array (H, W), (H, W, 3) or (H, W, 4), got one of shape {array.shape}")
    if array.dtype in (np.uint8, np.uint16):
        pixels: Pixels = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
        return pixels
    if array.dtype == np.bool_ or np.issubdtype(array.dtype, np.floating):
        values = array.astype(np.float32)
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"picture: expected floats from 0 to 1, got {values.min():.4g} to {values.max():.4g}")
        return values
    raise ValueError(f"picture: expected an array of uint8 or uint16, or of floats from 0 to 1, got {array.dtype}")
