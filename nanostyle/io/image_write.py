"""Writing pictures."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.io.atomic import check_target, write
from nanostyle.io.formats import HOLDS_ALPHA, WRITERS
from nanostyle.io.recipe import recipe_options
from nanostyle.io.resample import fitted, resize


def check_writable(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise now what `save_image(path, …)` would raise after the work is done; leaves no trace.

    Raises
    ------
    ValueError
        The suffix names no format that can be written.
    OSError
        As `atomic.check_target` says.
    """
    path = Path(path)
    _format_of(path)
    check_target(path, overwrite=overwrite)


def save_image(
    path: str | os.PathLike[str],
    pixels: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    recipe: Mapping[str, Any] | None = None,
    quality: int = 95,
) -> None:
    """Write (H, W, 3) `pixels`, sRGB, clipped to 0..1, in 256 steps; the suffix of `path` sets the format.

    The file appears whole or not at all. `alpha` (H, W) is kept by PNG, WebP and TIFF; JPEG and BMP show the
    picture on white. `recipe`, a dict that JSON can hold, travels in a PNG text chunk, the JPEG comment or the
    EXIF description (WebP, TIFF), for `read_recipe`; BMP has no room for it. `quality` (1 to 100) is for JPEG
    and WebP.

    Raises
    ------
    ValueError
        Unknown suffix, NaN among the values, a wrong shape, or a picture beyond what the format can hold.
    OSError
        The folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    kind = _format_of(path)
    image = to_image(pixels, alpha)
    if alpha is not None and kind not in HOLDS_ALPHA:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    options = recipe_options(kind, json.dumps(dict(recipe))) if recipe is not None else {}
    if kind in ("JPEG", "WEBP"):
        options["quality"] = quality
    if kind == "JPEG":
        options["subsampling"] = "4:4:4"  # strong colors at strokes' edges are what a stylized picture is about
    if kind == "TIFF":
        options["compression"] = "tiff_deflate"
    data = io.BytesIO()
    try:
        image.save(data, kind, **options)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"cannot write {path}: {image.width} x {image.height} pixels and the recipe are too much for {kind} "
            f"({error}); choose .png"
        ) from error
    write(path, data.getbuffer())


def thumbnail_jpeg(pixels: np.ndarray, side: int = 128, quality: int = 85) -> bytes:
    """A small JPEG file of (H, W, 3) `pixels`, its long side `side` or less; `decode_image` reads it back."""
    height, width = pixels.shape[:2]
    if side < max(height, width):
        pixels = resize(pixels, fitted((height, width), side))
    data = io.BytesIO()
    _to_image(pixels).save(data, "JPEG", quality=quality, optimize=True)
    return data.getvalue()


def _format_of(path: Path) -> str:
    kind = WRITERS.get(path.suffix.lower())
    if kind is None:
        got = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        raise ValueError(f"cannot write {path}: its name {got}, expected one of {' '.join(WRITERS)}")
    return kind


def to_image(pixels: np.ndarray, alpha: np.ndarray | None = None) -> Image.Image:
    """A PIL image of (H, W, 3) `pixels` in 0..1, with `alpha` (H, W) if there is one, in steps of 8 bits."""
    image = _to_image(pixels)
    return image if alpha is None else _with_alpha(image, alpha)


def _with_alpha(image: Image.Image, alpha: np.ndarray) -> Image.Image:
    if alpha.shape != (image.height, image.width):
        raise ValueError(
            f"alpha of shape {alpha.shape} does not fit a picture of shape {(image.height, image.width)}; "
            "resize it first"
        )
    image = image.copy()
    image.putalpha(Image.fromarray(_to_uint8(alpha)))
    return image


def _to_image(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"expected pixels of shape (height, width, 3), got {pixels.shape}")
    return Image.fromarray(_to_uint8(pixels))


def _to_uint8(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if np.isnan(values).any():
        raise ValueError(f"a picture of shape {values.shape} holds NaN: the computation that made it went astray")
    steps: npt.NDArray[np.uint8] = (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    return steps
