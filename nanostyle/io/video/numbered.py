"""Numbered frames: a folder of pictures, or a pattern such as `frames/%06d.png`."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from nanostyle.io.formats import READABLE
from nanostyle.io.image_read import MAX_PIXELS, load_image
from nanostyle.io.resample import fitted
from nanostyle.io.video.clip import Clip, Frame

_NUMBER = re.compile(r"%(0?\d*)d")


def is_pattern(path: Path) -> bool:
    """Whether the name of `path` stands for many: it has `%d`, `%06d` or the like in it."""
    return _NUMBER.search(path.name) is not None


def numbered(pattern: Path, number: int) -> Path:
    """The file of a pattern with that number."""
    return pattern.with_name(_NUMBER.sub(lambda match: f"{number:{match[1] or ''}d}", pattern.name, count=1))


class Frames(Clip):
    """The pictures of a folder, in the order of their names with numbers as numbers; or those of a pattern.

    Parameters
    ----------
    rate
        Frames per second.
    size
        The long side of the frames as they are read; None: as in the files, at most `most`.

    Raises
    ------
    FileNotFoundError
        There are none, or a number is missing between the first and the last of a pattern.
    ValueError
        The first is no picture.
    """

    def __init__(
        self, path: Path, *, rate: Fraction, size: int | None, most: int, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._files = _of_pattern(path) if is_pattern(path) else _of_folder(path)
        self._max_pixels = max_pixels
        original = load_image(self._files[0], max_pixels=max_pixels).original
        self._size = size or min(most, max(original))
        super().__init__(
            path=path,
            size=fitted(original, self._size),
            original=original,
            tick=1 / rate,
            count=len(self._files),
            seconds=float(len(self._files) / rate),
            is_timed=False,
        )

    def frames(self, begin: int = 0) -> Iterator[Frame]:
        """Every frame in order, one tick each; ValueError for one of another size than the first."""
        for stamp, file in enumerate(self._files):
            whole = load_image(file, size=None, max_pixels=self._max_pixels)
            if whole.original != self.original:
                (h, w), (height, width) = whole.original, self.original
                raise ValueError(
                    f"{file} is {w} x {h} pixels, the frames before it {width} x {height}; make them equal"
                )
            picture = whole if self.size == self.original else load_image(file, size=self._size)
            alpha = None if picture.alpha is None else np.round(picture.alpha * 255).astype(np.uint8)
            yield Frame(np.round(picture.pixels * 255).astype(np.uint8), stamp, 1, alpha, file.name)


def frame_target(output: Path, frame: Frame, index: int) -> Path:
    """Where the frame of that index, from 0 on, goes: by the pattern, or in the folder by its name or number."""
    if is_pattern(output):
        return numbered(output, index + 1)
    return output / (f"{Path(frame.name).stem}.png" if frame.name else f"{index + 1:06d}.png")


def holds_frames(output: Path) -> bool:
    """Whether the folder or the pattern stands for pictures that are there."""
    return bool(_by_number(output) if is_pattern(output) else _pictures(output))


def _pictures(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in READABLE and not path.name.startswith(".")]


def _by_number(pattern: Path) -> dict[int, Path]:
    before, after = (re.escape(part) for part in re.split(_NUMBER, pattern.name)[::2])
    name = re.compile(f"{before}(\\d+){after}")
    return {int(match[1]): path for path in pattern.parent.iterdir() if (match := name.fullmatch(path.name))}


def _of_folder(folder: Path) -> list[Path]:
    found = _pictures(folder)
    if not found:
        raise FileNotFoundError(f"no pictures in {folder}; give a folder of frames")
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[str]:
    return [part.zfill(20) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _of_pattern(pattern: Path) -> list[Path]:
    if not pattern.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {pattern.parent}; check the name")
    found = _by_number(pattern)
    if not found:
        raise FileNotFoundError(f"no frames {pattern}; looked for {numbered(pattern, 1).name} and the like")
    missing = [number for number in range(min(found), max(found)) if number not in found]
    if missing:
        raise FileNotFoundError(
            f"frames {pattern}: {numbered(pattern, missing[0]).name} is missing"
            + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
        )
    return [found[number] for number in sorted(found)]
