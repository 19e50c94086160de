"""Animated GIF, WebP and PNG, by Pillow."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nanostyle.io.atomic import replacing
from nanostyle.io.decoding import check_pixels, decoding, opened
from nanostyle.io.metadata import KEY
from nanostyle.io.recipe import add_to_exif
from nanostyle.io.resample import fitted
from nanostyle.io.transparency import fill_hidden
from nanostyle.io.video.clip import Clip, Frame

SUFFIXES = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
"""The suffixes of animations."""

# Browsers show a frame of a GIF that tells no time for a tenth of a second.
_USUAL = 100
_COLORS = 256
_SAMPLES, _SAMPLE_SIDE = 24, 160  # what the palette of a GIF is made from


def is_animation(path: Path) -> bool:
    """Whether the file at `path` is a GIF, WebP or PNG, by its contents."""
    with path.open("rb") as file:
        start = file.read(16)
    return start[:4] in (b"GIF8", b"\x89PNG") or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


class Animation(Clip):
    """A GIF, WebP or PNG, of one frame or more. Its tick is a thousandth of a second.

    Parameters
    ----------
    size
        The long side of the frames as they are read; None: as in the file, at most `most`.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        There is no such file, it is damaged, or has more than `max_pixels` in a frame.
    """

    def __init__(self, path: Path, *, size: int | None, most: int, max_pixels: int) -> None:
        with opened(path) as file, decoding(str(path)):
            image = Image.open(file, formats=["GIF", "WEBP", "PNG"])
            check_pixels(image.size, str(path), max_pixels)
            original = image.height, image.width
            count = getattr(image, "n_frames", 1) - bool(getattr(image, "default_image", False))
            loop = image.info.get("loop", 1)
        super().__init__(
            path=path,
            size=fitted(original, size or min(most, max(original))),
            original=original,
            tick=Fraction(1, 1000),
            count=count,
            loop=loop,
        )

    def frames(self, begin: int = 0) -> Iterator[Frame]:
        """Every frame, whole: what a frame leaves of the one before is drawn."""
        stamp = 0
        with opened(self.path) as file:
            image = Image.open(file, formats=["GIF", "WEBP", "PNG"])
            hidden = int(bool(getattr(image, "default_image", False)))
            for i in range(hidden, hidden + (self.count or 1)):
                with decoding(str(self.path)):
                    image.seek(i)
                    frame = self._frame(image, stamp)
                yield frame
                stamp += frame.duration

    def _frame(self, image: Image.Image, stamp: int) -> Frame:
        whole = image.convert("RGBA")
        height, width = self.size
        if whole.size != (width, height):
            whole = whole.resize((width, height), Image.Resampling.LANCZOS)
        duration = round(image.info.get("duration") or _USUAL)
        pixels, alpha = np.asarray(whole)[..., :3], np.asarray(whole)[..., 3]
        if alpha.min() == 255:
            return Frame(np.ascontiguousarray(pixels), stamp, duration)
        of_one = np.float32(255)
        filled = fill_hidden(pixels / of_one, alpha / of_one)
        return Frame(np.round(filled * 255).astype(np.uint8), stamp, duration, np.ascontiguousarray(alpha))


def write_animation(
    target: Path,
    frames: Sequence[Path],
    durations: Sequence[Fraction],
    *,
    loop: int | None,
    quality: int,
    recipe: str,
    overwrite: bool,
) -> None:
    """Write the pictures `frames` as an animation; the suffix of `target` says of which kind. The file appears whole.

    `durations` are in seconds; what the format rounds of one is made up for by the next. `loop` is how often it is
    repeated, 0 or None for ever. A GIF has one palette for the whole of it, and no dithering, which would crawl.

    Raises
    ------
    OSError
        The folder is not writable, or the disk is full.
    """
    kind = SUFFIXES[target.suffix.lower()]
    unit = 100 if kind == "GIF" else 1000
    options: dict[str, Any] = {"loop": loop or 0, "duration": _rounded(durations, unit)}
    palette = None
    if kind == "GIF":
        palette = _palette(frames)
        options |= {"comment": f"{KEY} {recipe}".encode(), "disposal": 2, "optimize": False}
        if loop == 1:
            del options["loop"]
    elif kind == "WEBP":
        exif = Image.Exif()
        add_to_exif(exif, recipe)
        options |= {"quality": quality, "method": 4, "exif": exif.tobytes()}
    else:
        text = PngInfo()
        text.add_itxt(KEY, recipe)
        options |= {"pnginfo": text, "blend": 0, "default_image": False}
    first, others = _Images(frames[:1], palette), _Images(frames[1:], palette)
    with replacing(target, overwrite=overwrite) as temporary:
        next(iter(first)).save(temporary, kind, save_all=True, append_images=others, **options)


class _Images:
    """The pictures of files, opened when their turn comes; Pillow goes through them several times."""

    def __init__(self, paths: Sequence[Path], palette: Image.Image | None) -> None:
        self._paths, self._palette = paths, palette

    def __iter__(self) -> Iterator[Image.Image]:
        for path in self._paths:
            with Image.open(path) as image:
                image.load()
                yield image if self._palette is None else _with_palette(image, self._palette)


def _rounded(durations: Iterable[Fraction], unit: int) -> list[int]:
    """Durations in milliseconds, in whole `unit`ths of a second; sums are off by half a unit at most."""
    ends, time = [0], Fraction(0)
    for duration in durations:
        time += duration
        ends.append(max(ends[-1] + 1, round(time * unit)))
    return [(after - before) * 1000 // unit for before, after in pairwise(ends)]


def _palette(frames: Sequence[Path]) -> Image.Image:
    """One palette for a whole clip, from small copies of frames at equal distances."""
    chosen = frames[:: -(-len(frames) // _SAMPLES)]
    small = []
    for path in chosen:
        with Image.open(path) as image:
            image = image.convert("RGB")
            image.thumbnail((_SAMPLE_SIDE, _SAMPLE_SIDE))
            small.append(image)
    sheet = Image.new("RGB", (small[0].width, sum(image.height for image in small)))
    for i, image in enumerate(small):
        sheet.paste(image, (0, i * small[0].height))
    return sheet.quantize(_COLORS - 1, method=Image.Quantize.MEDIANCUT)


def _with_palette(image: Image.Image, palette: Image.Image) -> Image.Image:
    """The image in that palette; the last color of 256 stands for what is transparent."""
    made = image.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    if image.mode == "RGBA":
        made.paste(_COLORS - 1, mask=image.getchannel("A").point(lambda value: 255 * (value < 128)))
        made.info["transparency"] = _COLORS - 1
    return made
