"""Colors: whatever modes, bit depths and color profiles a file has become sRGB in 0..1."""

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageCms

LUMA = np.array([0.299, 0.587, 0.114])
"""The shares of red, green and blue in brightness as the eye takes it: Rec. 601, the Y of YIQ."""

_TIFF_BITS = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0


def plain(image: Image.Image) -> Image.Image:
    """The picture in one of the modes that resample well: L, LA, RGB, RGBA, CMYK, LAB, or F for the deep grays."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_gray(image)
    if image.mode == "La":
        return image.convert("LA")
    if image.has_transparency_data and image.mode != "LA":
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "LA", "CMYK", "LAB") else image.convert("RGB")


def _deep_gray(image: Image.Image) -> Image.Image:
    """Gray of 12, 16 or 32 bits, or floats, as mode F in 0..1."""
    values = np.asarray(image)
    if image.mode == "F":
        return Image.fromarray(values.astype(np.float32))
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    bits = tags.get(_TIFF_BITS, (16,))[0]
    if bits == 32:
        values = values.astype(np.int32).view(np.uint32)  # Pillow has no unsigned 32-bit mode
    gray = np.clip(values / (2.0**bits - 1), 0, 1).astype(np.float32)
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        gray = 1 - gray
    return Image.fromarray(gray)


def check_floats(image: Image.Image, name: str) -> None:
    """Raise ValueError if a picture of floats holds NaN, infinity, or values far outside of 0..1."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values; repair it or save it as 8-bit PNG")
    low, high = float(values.min()), float(values.max())
    tolerance = 1e-3  # resampling programs overshoot a little
    if low < -tolerance or high > 1 + tolerance:
        raise ValueError(
            f"{name} holds floats from {low:.4g} to {high:.4g}, expected 0 to 1; rescale it or save it as 8-bit PNG"
        )


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Drop alpha, bring colors to sRGB: through the color profile if usable, else by plain conversion."""
    if image.mode == "F":
        return image
    if image.mode in ("LA", "RGBA"):
        image = image.convert(image.mode[:-1])
    with contextlib.suppress(Exception):  # the color engine raises nearly anything on a profile it cannot use
        if profile is not None or image.mode == "LAB":
            return _through_profile(image, profile)
    return image.convert("RGB")


def _through_profile(image: Image.Image, data: bytes | None) -> Image.Image:
    if data is None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    else:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    if image.mode == "L" and profile.profile.xcolor_space.strip() == "RGB":
        image = image.convert("RGB")
    if image.mode == "RGB" and "srgb" in ImageCms.getProfileDescription(profile).lower():
        return image  # the round trip through the color engine would only add rounding
    return ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        image.mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    ).apply(image)


def from_image(image: Image.Image) -> np.ndarray:
    """(H, W, 3) of a mode RGB or F picture, (H, W) of mode L; float32 in 0..1."""
    if image.mode == "F":
        return np.repeat(np.clip(np.asarray(image), 0, 1)[..., None], 3, axis=2)
    return np.asarray(image, dtype=np.float32) / np.float32(255)
