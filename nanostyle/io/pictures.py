"""Collections of pictures: folders, files of styles, samples for previews."""

import os
from collections.abc import Sequence
from pathlib import Path

from nanostyle.backend.types import Pixels
from nanostyle.errors import NanostyleError
from nanostyle.io.decoding import opened
from nanostyle.io.folders import look_through
from nanostyle.io.image_read import MAX_PIXELS, load_image
from nanostyle.io.picture_file import open_picture


def find_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures in `folder` and its subfolders, sorted: files with a suffix of `READABLE`, none of them hidden.

    Raises
    ------
    FileNotFoundError
        The folder does not exist or holds no picture.
    NotADirectoryError
        `folder` is a file.
    """
    return look_through(Path(folder)).pictures


def sides(file: Path) -> tuple[int, int]:
    """Both sides of a picture by its header: a few bytes where decoding reads megabytes.

    Raises
    ------
    ValueError
        It is not a picture, or its header is damaged.
    OSError
        It cannot be read.
    """
    with opened(file) as open_file:
        return open_picture(open_file, str(file), MAX_PIXELS).size


def style_files(sources: Sequence[str | os.PathLike[str]], *, taken: Sequence[str] = ()) -> dict[str, Path]:
    """The style pictures in `sources`, which are files and folders: name (the file's stem) to file, in order.

    A name that occurs twice, or is in `taken`, gets a number: `wave-2`.

    Raises
    ------
    FileNotFoundError
        A source does not exist, or a folder holds no picture.
    """
    files: dict[str, Path] = {}
    for source in map(Path, sources):
        if not source.exists():
            raise FileNotFoundError(f"there is no style picture or folder {source}; check the name")
        for file in find_pictures(source) if source.is_dir() else [source]:
            name, number = file.stem, 2
            while name in files or name in taken:
                name, number = f"{file.stem}-{number}", number + 1
            files[name] = file
    return files


def load_short(file: Path, size: int) -> Pixels:
    """The whole picture in `file` with its short side at `size` pixels. Raises as `load_image` does."""
    short, long = sorted(sides(file))
    return load_image(file, size=max(size, round(long * size / short))).pixels


def samples(files: Sequence[Path], count: int, size: int) -> list[Pixels]:
    """The first `count` of `files` that can be read, whole, with the short side at `size` pixels.

    Raises
    ------
    NanostyleError
        None can be read; the message says why the last one cannot.
    """
    pictures: list[Pixels] = []
    reason = "there are none"
    for file in files:
        try:
            pictures.append(load_short(file, size))
        except (OSError, ValueError) as error:
            reason = str(error)
        if len(pictures) == count:
            break
    if not pictures:
        raise NanostyleError(f"none of the photos can be used for a preview: {reason}")
    return pictures
