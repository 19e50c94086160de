"""Writing pictures."""

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from nanostyle.backend.types import Pixels
from nanostyle.io import png, tiff
from nanostyle.io.atomic import check_target, write
from nanostyle.io.formats import HAS_QUALITY, HOLDS_ALPHA, HOLDS_DEEP, format_of
from nanostyle.io.heif import register
from nanostyle.io.metadata import EXIF_BLOCK, GPS_BLOCK, KEY, Metadata, exif_of, packed, png_texts, usable
from nanostyle.io.recipe import add_to_exif
from nanostyle.io.resample import fitted, resize

_XMP_TAG = 700


def check_writable(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise now what `save_image(path, …)` would raise after the work is done; leaves no trace.

    Raises
    ------
    ValueError
        The suffix names no format that can be written.
    NanostyleError
        It is HEIC, and the extra `heif` is not installed.
    OSError
        As `atomic.check_target` says.
    """
    path = Path(path)
    if format_of(path) == "HEIF":
        register(str(path))
    check_target(path, overwrite=overwrite)


def save_image(
    path: str | os.PathLike[str],
    pixels: npt.NDArray[Any],
    *,
    alpha: npt.NDArray[Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    quality: int = 95,
    bits: int = 8,
    metadata: Metadata | None = None,
    overwrite: bool = True,
) -> None:
    """Write (H, W, 3) `pixels`, sRGB, clipped to 0..1; the suffix of `path` sets the format.

    The file appears whole or not at all; with `overwrite` False, not where one is already. All other parameters are
    those of `encode_image`.

    Raises
    ------
    ValueError
        Unknown suffix, NaN among the values, a wrong shape, or a picture beyond what the format can hold.
    NanostyleError
        It is HEIC, and the extra `heif` is not installed.
    OSError
        The folder is missing or not writable, the disk is full, or the file is there.
    """
    path = Path(path)
    kind = format_of(path)
    options = {"recipe": recipe, "quality": quality, "bits": bits, "metadata": metadata}
    write(path, encode_image(kind, pixels, alpha=alpha, **options, name=str(path)), overwrite=overwrite)  # type: ignore[arg-type]


def encode_image(
    kind: str,
    pixels: npt.NDArray[Any],
    *,
    alpha: npt.NDArray[Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    quality: int = 95,
    bits: int = 8,
    metadata: Metadata | None = None,
    name: str = "the picture",
) -> bytes:
    """The file of a picture in the format `kind` ("PNG", "JPEG", …).

    Parameters
    ----------
    pixels
        (H, W, 3), sRGB, clipped to 0..1, rounded to the nearest step.
    alpha
        (H, W); kept by PNG, WebP, TIFF, AVIF and HEIC. The others show the picture on white.
    recipe
        What JSON can hold, for `read_recipe`: in a PNG text, the comment of JPEG and GIF, else in Exif; BMP has no
        room for it.
    quality
        1 to 100, for JPEG, WebP, AVIF and HEIC.
    bits
        8 or 16 a sample; PNG and TIFF have 16, the others 8.
    metadata
        What is taken over from the photo.

    Raises
    ------
    ValueError
        NaN among the values, a wrong shape, or a picture beyond what the format can hold.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"expected pixels of shape (height, width, 3), got {pixels.shape}")
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        raise ValueError(
            f"alpha of shape {alpha.shape} does not fit a picture of shape {pixels.shape[:2]}; resize it first"
        )
    options = options_for(kind, metadata, recipe, pixels.shape[:2])
    if kind in HOLDS_DEEP and (bits > 8 or _has_blocks(kind, options)):
        with _told(name, kind, pixels.shape):
            return _unlike_pillow(kind, samples_of(pixels, alpha, 16 if bits > 8 else 8), options)
    return encode_bytes(kind, to_image(pixels, alpha), options, quality=quality, name=name)


def encode_bytes(kind: str, image: Image.Image, options: dict[str, Any], *, quality: int, name: str) -> bytes:
    """The file of an RGB or RGBA image of 8 bits, with what `options_for` gives."""
    with _told(name, kind, (image.height, image.width)):
        if image.mode == "RGBA" and kind not in HOLDS_ALPHA:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        if kind == "GIF":
            image = image.quantize(256, method=Image.Quantize.MEDIANCUT)
        if kind == "HEIF":
            register(name)
        if kind in HAS_QUALITY:
            options = {**options, "quality": quality}
        data = io.BytesIO()
        image.save(data, kind, **options)
        return data.getvalue()


@contextmanager
def _told(name: str, kind: str, shape: tuple[int, ...]) -> Iterator[None]:
    """Say of what an encoder refuses which picture it is, and what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        if "holds NaN" in str(error):
            raise
        raise ValueError(
            f"cannot write {name}: {shape[1]} x {shape[0]} pixels and the recipe are too much for {kind} "
            f"({error}); choose .png"
        ) from error


def options_for(
    kind: str, metadata: Metadata | None, recipe: Mapping[str, Any] | None, size: tuple[int, ...]
) -> dict[str, Any]:
    """What Pillow's `save` needs to write a recipe and what is taken over into a picture of `size` (height, width)."""
    text = None if recipe is None else json.dumps(dict(recipe))
    return _options(kind, metadata or Metadata(), text, (size[0], size[1]))


def _options(kind: str, metadata: Metadata, recipe: str | None, size: tuple[int, int]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    exif = usable(exif_of(metadata, size), kind)
    if metadata.dpi and kind in ("JPEG", "PNG", "TIFF", "BMP"):
        options["dpi"] = metadata.dpi
    if kind == "PNG":
        chunks = png_texts(metadata, recipe)
        options |= {"pnginfo": chunks} if chunks.chunks else {}
    elif kind in ("JPEG", "GIF"):
        options |= {"comment": f"{KEY} {recipe}"} if recipe is not None else {}
    elif kind != "BMP" and recipe is not None:
        add_to_exif(exif, recipe)
    if kind == "JPEG":
        options["subsampling"] = "4:4:4"  # strong colors at strokes' edges are what a stylized picture is about
    if kind == "TIFF":
        options["compression"] = "tiff_deflate"
        if metadata.xmp:
            exif[_XMP_TAG] = metadata.xmp
        options |= {"exif": exif} if len(exif) else {}
    elif kind in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF"):
        options |= {"exif": data} if (data := packed(exif)) else {}
        if metadata.xmp and kind != "PNG" and (kind != "JPEG" or len(metadata.xmp) < 65_000):
            options["xmp"] = metadata.xmp
    return options


def _has_blocks(kind: str, options: dict[str, Any]) -> bool:
    """Whether a TIFF is to hold Exif's own block or GPS, which Pillow leaves out of those that it compresses."""
    exif: Image.Exif = options.get("exif", Image.Exif())
    return kind == "TIFF" and any(exif.get_ifd(block) for block in (EXIF_BLOCK, GPS_BLOCK))


def samples_of(pixels: npt.NDArray[Any], alpha: npt.NDArray[Any] | None, bits: int) -> npt.NDArray[Any]:
    """(H, W, 3), or 4 with alpha, of 8 or 16 bits."""
    both = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=-1)
    return _steps(both, 2**bits - 1).astype(np.uint16 if bits == 16 else np.uint8)


def _unlike_pillow(kind: str, values: npt.NDArray[Any], options: dict[str, Any]) -> bytes:
    """A PNG or TIFF that Pillow does not write."""
    if kind == "PNG":
        return png.write_deep(values, other_chunks(options))
    return tiff.write_tiff(values, tags_of(options))


def other_chunks(options: dict[str, Any]) -> bytes:
    """A PNG of one pixel with all that is not pixels."""
    others = io.BytesIO()
    Image.new("L", (1, 1)).save(others, "PNG", **options)
    return others.getvalue()


def tags_of(options: dict[str, Any]) -> Directory:
    """The tags of a TIFF that do not describe its pixels."""
    tags = Directory(b"II*\0\0\0\0\0")
    exif: Image.Exif = options.get("exif", Image.Exif())
    for tag, value in exif.items():
        tags[tag] = value
    for block in (EXIF_BLOCK, GPS_BLOCK):
        if inner := dict(exif.get_ifd(block)):
            tags[block] = inner
    if "dpi" in options:
        (tags[282], tags[283]), tags[296] = options["dpi"], 2  # in inches
    return tags


def thumbnail_jpeg(pixels: Pixels, side: int = 128, quality: int = 85) -> bytes:
    """A small JPEG file of (H, W, 3) `pixels`, its long side `side` or less; `decode_image` reads it back."""
    height, width = pixels.shape[:2]
    if side < max(height, width):
        pixels = resize(pixels, fitted((height, width), side))
    data = io.BytesIO()
    to_image(pixels).save(data, "JPEG", quality=quality, optimize=True)
    return data.getvalue()


def to_image(pixels: npt.NDArray[Any], alpha: npt.NDArray[Any] | None = None) -> Image.Image:
    """A PIL image of (H, W, 3) `pixels` in 0..1, with `alpha` (H, W) if there is one, in steps of 8 bits."""
    image = Image.fromarray(_steps(pixels, 255).astype(np.uint8))
    if alpha is not None:
        image.putalpha(Image.fromarray(_steps(alpha, 255).astype(np.uint8)))
    return image


def _steps(values: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """Values in 0..1 as whole steps from 0 to `most`, still floats."""
    if np.isnan(values).any():
        raise ValueError(f"a picture of shape {values.shape} holds NaN: the computation that made it went astray")
    # Floats of 32 bits hold 16 bits and the half that rounds them.
    steps: npt.NDArray[Any] = np.floor(np.clip(values, 0, 1) * np.float32(most) + np.float32(0.5))
    return steps
