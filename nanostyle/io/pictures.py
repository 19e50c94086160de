"""Collections of pictures: folders, files of styles, samples for previews."""

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from nanostyle.backend.types import Pixels
from nanostyle.errors import NanostyleError
from nanostyle.io.formats import READABLE
from nanostyle.io.image_read import load_image


def find_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures in `folder` and its subfolders, sorted: files with a suffix of `READABLE`, none of them hidden.

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
        if path.suffix.lower() in READABLE
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not found:
        known = " ".join(sorted(READABLE))
        raise FileNotFoundError(f"no pictures in {folder} or below it; looked for {known}")
    return sorted(found, key=lambda path: path.as_posix())


def sides(file: Path) -> tuple[int, int]:
    """Both sides of a picture by its header: a few bytes where decoding reads megabytes.

    Raises
    ------
    ValueError
        It is not a picture, or its header is damaged.
    """
    try:
        with Image.open(file) as image:
            width, height = image.size
            return width, height
    except Exception as error:  # readers of headers raise nearly anything on a file that is not what it seems
        raise ValueError(f"{file} is not a picture, or is damaged: {' '.join(str(error).split())}") from error


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
