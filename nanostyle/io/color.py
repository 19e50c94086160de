"""Colors: whatever modes, bit depths and color spaces a file has become sRGB in 0..1."""

import contextlib
import io
import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from nanostyle.backend.types import Pixels
from nanostyle.io.deep import Deep
from nanostyle.io.rgb_space import Curve, RGBSpace, encoded, from_profile, gray_curve

Space: TypeAlias = RGBSpace | bytes | None
"""The color space of a picture: told by numbers, an ICC profile that the color engine reads, or none told (sRGB)."""

LUMA = np.array([0.299, 0.587, 0.114])
"""The shares of red, green and blue in brightness as the eye takes it: Rec. 601, the Y of YIQ."""

_TIFF_BITS = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
# A profile that moves no color by more steps than this, of 255, is sRGB as its makers rounded it.
_SAME = 2


def space_of_profile(profile: bytes | None) -> Space:
    """The space that an ICC profile describes: as numbers where it is made of curves and primaries."""
    if not profile:
        return None
    try:
        space = from_profile(profile)
        return space if space is not None and space.is_finite else profile
    except (ValueError, LookupError, ArithmeticError, struct.error, np.linalg.LinAlgError):
        return profile


# --- 8 bits


def plain(image: Image.Image) -> Image.Image:
    """The picture in one of the modes that resample well: L, LA, RGB, RGBA, CMYK or LAB."""
    if image.mode == "La":
        return image.convert("LA")
    if image.mode == "RGBa":
        return image.convert("RGBA")
    if image.has_transparency_data and image.mode != "LA":
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "LA", "CMYK", "LAB") else image.convert("RGB")


def to_srgb(image: Image.Image, space: Space) -> Pixels:
    """The (H, W, 3) pixels of a picture in a mode of `plain`, brought to sRGB; alpha is dropped.

    A profile that cannot be used is ignored.
    """
    if image.mode in ("LA", "RGBA"):
        image = image.convert(image.mode[:-1])
    if isinstance(space, RGBSpace):
        pixels = from_image(image.convert("RGB"))
        return space.to_srgb(pixels) if image.mode in ("L", "RGB") else pixels
    with contextlib.suppress(Exception):  # the color engine raises nearly anything on a profile it cannot use
        if space is not None or image.mode == "LAB":
            return from_image(_through_profile(image, space))
    return from_image(image.convert("RGB"))


def _through_profile(image: Image.Image, data: bytes | None) -> Image.Image:
    if data is None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    else:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    if image.mode == "L" and profile.profile.xcolor_space.strip() == "RGB":
        image = image.convert("RGB")
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        image.mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if image.mode == "RGB" and _changes_nothing(transform):
        return image
    converted: Image.Image = transform.apply(image)
    return converted


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    side = np.linspace(0, 255, 17).astype(np.uint8)
    probe = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(17, -1, 3)
    moved = np.asarray(transform.apply(Image.fromarray(probe))).astype(int) - probe
    return bool(np.abs(moved).max() <= _SAME)


def from_image(image: Image.Image) -> Pixels:
    """(H, W, 3) of a picture of mode RGB, (H, W) of mode L; float32 in 0..1."""
    pixels: Pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
    return pixels


# --- more bits


def is_deep(image: Image.Image) -> bool:
    """Whether a picture is gray in more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def deep_gray(image: Image.Image) -> Deep:
    """A gray picture of 12, 16 or 32 bits, or floats."""
    values = np.asarray(image)
    if image.mode == "F":
        return Deep(values.astype(np.float32)[..., None])
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    bits = tags.get(_TIFF_BITS, (16,))[0]
    if bits == 32:
        values = values.astype(np.int32).view(np.uint32)  # Pillow has no unsigned 32-bit mode
    gray = np.clip(values / (2.0**bits - 1), 0, 1).astype(np.float32)
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        gray = 1 - gray
    return Deep(gray[..., None])


def check_floats(values: npt.NDArray[np.floating[Any]], name: str) -> None:
    """Raise ValueError if the values of a picture hold NaN, infinity, or lie far outside of 0..1."""
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values; repair it or save it as 8-bit PNG")
    low, high = float(values.min()), float(values.max())
    tolerance = 1e-3  # resampling programs overshoot a little
    if low < -tolerance or high > 1 + tolerance:
        raise ValueError(
            f"{name} holds floats from {low:.4g} to {high:.4g}, expected 0 to 1; rescale it or save it as 8-bit PNG"
        )


def deep_to_srgb(deep: Deep, space: Space) -> Pixels:
    """The (H, W, 3) pixels of a deep picture, brought to sRGB. Colors go through a profile of tables in 8 bits."""
    color = np.clip(deep.color, 0, 1)
    if color.shape[-1] == 1:
        if isinstance(space, bytes) and (curve := _gray_curve(space)):
            color = encoded(curve(color.astype(np.float64))).astype(np.float32)
        color = np.repeat(color, 3, axis=-1)
        return space.to_srgb(color) if isinstance(space, RGBSpace) else color
    if isinstance(space, RGBSpace):
        return space.to_srgb(color)
    if space is None:
        return color
    return to_srgb(Image.fromarray((color * 255 + 0.5).astype(np.uint8)), space)


def _gray_curve(profile: bytes) -> Curve | None:
    try:
        return gray_curve(profile)
    except (ValueError, LookupError, ArithmeticError, struct.error):
        return None
