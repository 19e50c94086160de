"""Writing an animation from the pictures of its frames, one by one: memory does not depend on its length."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from nanostyle.io.atomic import replacing
from nanostyle.io.metadata import KEY
from nanostyle.io.recipe import add_to_exif
from nanostyle.io.video.animation import SUFFIXES
from nanostyle.io.video.apng import write_apng
from nanostyle.io.video.gif import COLORS, write_gif
from nanostyle.io.video.webp import write_webp

_SAMPLES, _SAMPLE_SIDE = 24, 160  # what the palette of a GIF is made from


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
    repeated, 0 or None for ever. A GIF has one palette for the whole of it.

    Raises
    ------
    OSError
        The folder is not writable, or the disk is full.
    """
    with replacing(target, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        kind = SUFFIXES[target.suffix.lower()]
        _write(file, kind, frames, durations, loop=loop or 0, quality=quality, recipe=recipe)


def _write(
    file: BinaryIO,
    kind: str,
    frames: Sequence[Path],
    durations: Sequence[Fraction],
    *,
    loop: int,
    quality: int,
    recipe: str,
) -> None:
    has_alpha = any(_has_alpha(path) for path in frames)
    images = _opened(frames, "RGBA" if has_alpha else "RGB")
    rounded = _rounded(durations, 100 if kind == "GIF" else 1000)
    if kind == "GIF":
        about = f"{KEY} {recipe}".encode()
        palette = _palette(frames)
        write_gif(file, images, palette, durations=rounded, loop=loop, comment=about, has_alpha=has_alpha)
    elif kind == "WEBP":
        exif = Image.Exif()
        add_to_exif(exif, recipe)
        about = exif.tobytes()
        write_webp(file, images, durations=rounded, loop=loop, quality=quality, exif=about, has_alpha=has_alpha)
    else:
        write_apng(file, images, durations=rounded, loop=loop, key=KEY, recipe=recipe)


def _has_alpha(path: Path) -> bool:
    with Image.open(path) as image:  # the head of the file; pixels are not read
        return str(image.mode) == "RGBA"


def _opened(paths: Iterable[Path], mode: str) -> Iterator[Image.Image]:
    for path in paths:
        with Image.open(path) as image:
            yield image.convert(mode)


def _rounded(durations: Iterable[Fraction], unit: int) -> list[int]:
    """Durations in milliseconds, in whole `unit`ths of a second; sums are off by half a unit at most."""
    ends, time = [0], Fraction(0)
    for duration in durations:
        time += duration
        ends.append(max(ends[-1] + 1, round(time * unit)))
    return [(after - before) * 1000 // unit for before, after in pairwise(ends)]


def _palette(frames: Sequence[Path]) -> Image.Image:
    """One palette for a whole clip, from small copies of frames at equal distances."""
    small = []
    for image in _opened(frames[:: -(-len(frames) // _SAMPLES)], "RGB"):
        image.thumbnail((_SAMPLE_SIDE, _SAMPLE_SIDE))
        small.append(image)
    sheet = Image.new("RGB", (small[0].width, sum(image.height for image in small)))
    for i, image in enumerate(small):
        sheet.paste(image, (0, i * small[0].height))
    return sheet.quantize(COLORS, method=Image.Quantize.MEDIANCUT)
