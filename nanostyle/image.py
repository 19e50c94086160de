"""Floor 3: pictures in and out of files, and resampling.

Between `load` and `save` a picture is RGB in sRGB encoding, float32, 0..1, shape (H, W, 3). Whatever the file
holds is brought to that: palettes, greys, CMYK, colour profiles, EXIF rotation. Greys of 16 bits keep all their
bits; colours of 16 bits per channel arrive in 8, as Pillow reads them (off by less than one step of 8 bits).
"""

import contextlib
import io
import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError

from nanostyle.files import check_target, write

MAX_PIXELS = 150_000_000
"""Pictures with more pixels than this are refused before they are decoded (Pillow's own limit is 179 million)."""

# Only these are tried: Pillow would hand others, as EPS, to external programs.
_READERS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k"),
    "AVIF": (".avif",),
}
_READ_SUFFIXES = frozenset(suffix for suffixes in _READERS.values() for suffix in suffixes)

_WRITERS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
WRITABLE = frozenset(_WRITERS)
_HOLDS_ALPHA = frozenset({"PNG", "WEBP", "TIFF"})

_EXIF_DESCRIPTION = 0x010E
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RECIPE = "nanostyle"
_SHRINK = "shrink it with an image editor first (--size comes too late, it works on the decoded picture)"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the networks see it, with what is needed to write the result like the original.

    `pixels` is (H, W, 3) float32 sRGB in 0..1; `alpha` is (H, W) float32 in 0..1, or None if the picture is opaque
    everywhere; `original` is the (height, width) of the file, upright, before any `size` was asked for.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    original: tuple[int, int]


# --- reading ------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str], *, size: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the picture at `path`, upright and in sRGB; of an animation, the first frame.

    `size` is the long side of the result in pixels, smaller or larger than the file's. Resampling is Lanczos with
    antialiasing, colours weighted by alpha. What is fully transparent keeps the colour that the file gives it
    (black once resampled). An unusable colour profile or EXIF block is ignored.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        Nothing to read there.
    ValueError
        Not a picture, damaged, cut short, more than `max_pixels` pixels (in the file or asked for by `size`), or a
        picture of floats that holds NaN or leaves 0..1.
    """
    with _opened(path) as file:
        return _read(file, str(path), size, max_pixels)


def decode(data: bytes, *, name: str = "the picture in memory") -> np.ndarray:
    """The (H, W, 3) pixels of a picture file held in memory, as `load` reads it; errors call it `name`."""
    return _read(io.BytesIO(data), name, None, MAX_PIXELS).pixels


def find_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Every picture in `folder` and its subfolders, by suffix in any case, sorted; hidden ones are left out.

    Raises
    ------
    FileNotFoundError
        The folder does not exist or holds no picture.
    NotADirectoryError
        `folder` is a file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}; check the name")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder of pictures")
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _READ_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not found:
        known = " ".join(sorted(_READ_SUFFIXES))
        raise FileNotFoundError(f"no pictures in {folder} or below it; looked for {known}")
    return sorted(found, key=lambda path: path.as_posix())


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The recipe that `save` put into the picture at `path`, or None; raises as `load` does."""
    with _opened(path) as file, _decoding(str(path)):
        image = Image.open(file, formats=list(_READERS))
        text = _recipe_text(image)
    try:
        recipe = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return recipe if isinstance(recipe, dict) else None


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a picture")
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no picture {path}; check the name") from error
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}; check the file's permissions") from error


class _Silence:
    """`warnings.catch_warnings` for several threads: the first one in silences, the last one out restores.

    Pillow warns of broken EXIF, large pictures and the like: they do not matter here, or are errors of ours.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.close()


_silence = _Silence()


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder makes of a bad file into one clear ValueError that names the file."""
    try:
        with _silence:
            yield
    except UnidentifiedImageError as error:
        known = ", ".join(_READERS)
        raise ValueError(
            f"{name} is not a picture, or not in a format that can be read ({known}); save it as PNG or JPEG"
        ) from error
    except Image.DecompressionBombError as error:
        reason = str(error).split(",")[0]
        raise ValueError(f"{name} is too large: {reason}; {_SHRINK}") from error
    except Exception as error:  # decoders raise nearly anything: struct.error, SyntaxError, KeyError, zlib.error …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} is damaged or cut short ({reason}); get a fresh copy of it") from error


def _read(file: BinaryIO, name: str, size: int | None, max_pixels: int) -> Picture:
    image = _identify(file, name, max_pixels)
    width, height = image.size
    target_height, target_width = (height, width) if size is None else fitted((height, width), size)
    if target_height * target_width > max_pixels:
        raise ValueError(
            f"{name} at size {size} would be {target_width} x {target_height} pixels, the limit is {max_pixels}; "
            "ask for a smaller size"
        )
    with _decoding(name):
        if size is not None:
            # JPEG decodes at 1/2, 1/4, 1/8 for a fraction of the time; from twice the target on nothing shows.
            image.draft(None, (2 * target_width, 2 * target_height))
        image.load()
        orientation, profile = _orientation(image), image.info.get("icc_profile")
        image = _plain(image)
    if image.mode == "F":
        _check_floats(image, name)
    with _decoding(name):
        if image.size != (target_width, target_height):
            image = image.resize((target_width, target_height), Image.Resampling.LANCZOS)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
        if alpha is not None and alpha.getextrema()[0] == 255:
            alpha = None
        return Picture(
            pixels=_from_image(_to_srgb(image, profile)),
            alpha=None if alpha is None else _from_image(alpha),
            original=(width, height) if orientation >= 5 else (height, width),  # 5 to 8 lie on their side
        )


def _identify(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """The picture of known format and size, not decoded yet."""
    if file.seekable() and not file.read(1):
        raise ValueError(f"{name} is empty (0 bytes); get a fresh copy of it")
    with _decoding(name):
        image = Image.open(file, formats=list(_READERS))
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(f"{name} is too large: {width} x {height} pixels, the limit is {max_pixels}; {_SHRINK}")
    return image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 where the block is missing or broken."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a broken EXIF block must not cost the picture, and its parser raises nearly anything
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _plain(image: Image.Image) -> Image.Image:
    """The picture in one of the modes that resample well: L, LA, RGB, RGBA, CMYK, LAB, or F for the deep greys."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image)
    if image.mode == "La":
        return image.convert("LA")
    if image.has_transparency_data and image.mode != "LA":
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "LA", "CMYK", "LAB") else image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 12, 16 or 32 bits, or floats, as mode F in 0..1."""
    values = np.asarray(image)
    if image.mode == "F":
        return Image.fromarray(values.astype(np.float32))
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    bits = tags.get(_TIFF_BITS, (16,))[0]
    if bits == 32:
        values = values.astype(np.int32).view(np.uint32)  # Pillow has no unsigned 32-bit mode
    grey = np.clip(values / (2.0**bits - 1), 0, 1).astype(np.float32)
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 1 - grey
    return Image.fromarray(grey)


def _check_floats(image: Image.Image, name: str) -> None:
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values; repair it or save it as 8-bit PNG")
    low, high = float(values.min()), float(values.max())
    tolerance = 1e-3  # resampling programs overshoot a little
    if low < -tolerance or high > 1 + tolerance:
        raise ValueError(
            f"{name} holds floats from {low:.4g} to {high:.4g}, expected 0 to 1; rescale it or save it as 8-bit PNG"
        )


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Drop alpha, bring colours to sRGB: through the colour profile if usable, else by plain conversion."""
    if image.mode == "F":
        return image
    if image.mode in ("LA", "RGBA"):
        image = image.convert(image.mode[:-1])
    with contextlib.suppress(Exception):  # the colour engine raises nearly anything on a profile it cannot use
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
        return image  # the round trip through the colour engine would only add rounding
    return ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        image.mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    ).apply(image)


def _recipe_text(image: Image.Image) -> str | None:
    if image.format == "PNG":
        return image.info.get(_RECIPE)
    if image.format in ("JPEG", "MPO"):
        text = image.info.get("comment", b"").decode("utf-8", errors="replace")
    else:
        text = str(image.getexif().get(_EXIF_DESCRIPTION, ""))
    return text.removeprefix(_RECIPE) if text.startswith(_RECIPE + " ") else None


# --- writing ------------------------------------------------------------------------------------------------


def check_writable(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise now what `save(path, …)` would raise after the work is done; leaves no trace.

    Raises
    ------
    ValueError
        The suffix names no format that can be written.
    OSError
        As `files.check_target` says.
    """
    path = Path(path)
    _format_of(path)
    check_target(path, overwrite=overwrite)


def save(
    path: str | os.PathLike[str],
    pixels: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    recipe: Mapping[str, Any] | None = None,
    quality: int = 95,
) -> None:
    """Write (H, W, 3) `pixels` (sRGB, clipped to 0..1, rounded to the nearest of 256 steps); the suffix says how.

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
    image = _to_image(pixels)
    if alpha is not None:
        image = _with_alpha(image, alpha)
        if kind not in _HOLDS_ALPHA:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    options = _recipe_options(kind, json.dumps(dict(recipe))) if recipe is not None else {}
    if kind in ("JPEG", "WEBP"):
        options["quality"] = quality
    if kind == "JPEG":
        options["subsampling"] = "4:4:4"  # strong colours at strokes' edges are what a stylised picture is about
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
    """A small JPEG file of (H, W, 3) `pixels`, its long side `side` or less; `decode` reads it back."""
    height, width = pixels.shape[:2]
    if side < max(height, width):
        pixels = resize(pixels, fitted((height, width), side))
    data = io.BytesIO()
    _to_image(pixels).save(data, "JPEG", quality=quality, optimize=True)
    return data.getvalue()


def _format_of(path: Path) -> str:
    kind = _WRITERS.get(path.suffix.lower())
    if kind is None:
        got = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        raise ValueError(f"cannot write {path}: its name {got}, expected one of {' '.join(_WRITERS)}")
    return kind


def _recipe_options(kind: str, text: str) -> dict[str, Any]:
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(_RECIPE, text)
        return {"pnginfo": chunks}
    if kind == "JPEG":
        return {"comment": f"{_RECIPE} {text}"}
    exif = Image.Exif()
    exif[_EXIF_DESCRIPTION] = f"{_RECIPE} {text}"
    return {"exif": exif}


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


def _to_uint8(values: np.ndarray) -> np.ndarray:
    if np.isnan(values).any():
        raise ValueError(f"a picture of shape {values.shape} holds NaN: the computation that made it went astray")
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def _from_image(image: Image.Image) -> np.ndarray:
    """(H, W, 3) of a mode RGB or F picture, (H, W) of mode L; float32 in 0..1."""
    if image.mode == "F":
        return np.repeat(np.clip(np.asarray(image), 0, 1)[..., None], 3, axis=2)
    return np.asarray(image, dtype=np.float32) / np.float32(255)


# --- resampling ---------------------------------------------------------------------------------------------


def fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) with the proportions of `size` and a long side of `side`; no side is under 1.

    Raises
    ------
    ValueError
        `side` is under 1.
    """
    if side < 1:
        raise ValueError(f"the size of a picture is its long side in pixels, 1 or more; got {side}")
    height, width = size
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample (…, H, W, C) to `size` = (height, width): Lanczos with antialiasing, float32.

    Every channel stays within its own range: Lanczos would overshoot at edges.

    Raises
    ------
    ValueError
        Fewer than three axes, or an empty size.
    """
    if pixels.ndim < 3 or pixels.size == 0 or min(size) < 1:
        raise ValueError(
            f"cannot resize an array of shape {pixels.shape} to {size}: expected (…, H, W, C) and 1 or more"
        )
    height, width = size
    pixels = pixels.astype(np.float32, copy=False)
    if pixels.shape[-3:-1] == (height, width):
        return pixels.copy()
    planes = np.moveaxis(pixels, -1, -3)
    resized = [_resample(plane, (width, height)) for plane in planes.reshape(-1, *planes.shape[-2:])]
    return np.ascontiguousarray(np.moveaxis(np.reshape(resized, (*planes.shape[:-2], height, width)), -3, -1))


def _resample(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized = Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS)
    return np.clip(np.asarray(resized), plane.min(), plane.max())
