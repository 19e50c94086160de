"""Pictures in folders: which there are, and what was left out and why."""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nanostyle.io.foreign_pictures import OTHER, RAW
from nanostyle.io.formats import HEIF, READABLE
from nanostyle.io.recipe import read_recipe


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes
    ----------
    pictures : list of Path
        The pictures, sorted.
    left_out : dict
        What was left out, in words, and how many of each.
    """

    pictures: list[Path]
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def told(self) -> str:
        """What was left out, in one line; empty where that is nothing."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))


def look_through(folder: Path, *, without: Collection[Path] = (), results: bool = True) -> Found:
    """The pictures in `folder` and its subfolders by suffix, in any case; hidden files and folders are passed over.

    Links are followed, each folder and picture is taken once. Left out are the files and folders `without`, and, where
    `results` is False, pictures that carry a recipe: results of this program.

    Raises
    ------
    FileNotFoundError
        The folder does not exist or holds no picture.
    NotADirectoryError
        `folder` is a file.
    """
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}; check the name")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder of pictures")
    left_out: Counter[str] = Counter()
    barred = {os.path.realpath(path) for path in without}
    met: set[str] = set()
    pictures = []
    # Files come before links to them, so that of both the file is taken.
    for path in sorted(_files(folder, barred, left_out), key=lambda path: (path.is_symlink(), path.as_posix())):
        real = os.path.realpath(path)
        if (kind := _unread(path)) is not None:
            left_out[kind] += 1
        elif path.suffix.lower() not in READABLE:
            continue
        elif not path.is_file():
            left_out["links that lead nowhere, pipes and devices"] += 1
        elif real in barred:
            left_out["used as painting, mask or output"] += 1
        elif real in met:
            left_out["links to pictures that are there"] += 1
        elif not results and _is_result(path):
            left_out["results of nanostyle"] += 1
        else:
            met.add(real)
            pictures.append(path)
    found = Found(sorted(pictures, key=lambda path: path.as_posix()), left_out)
    if not pictures:
        told = f"; left out: {found.told}" if left_out else f"; looked for {' '.join(sorted(READABLE))}"
        raise FileNotFoundError(f"no pictures in {folder} or below it{told}")
    return found


def _files(folder: Path, barred: Collection[str], left_out: Counter[str]) -> Iterator[Path]:
    """Every file below `folder`, broken links and pipes too.

    A folder that is linked several times, or to one above it, is entered once; one that may not be read is counted in
    `left_out`.
    """
    met = {os.path.realpath(folder)}
    pending: list[Path] = [folder]
    linked: list[Path] = []
    while pending or linked:
        # Folders proper before links, so that a picture is found at its own place.
        current = pending.pop() if pending else linked.pop()
        real = os.path.realpath(current)
        if current.is_symlink() and current != folder:
            if real in met or real in barred:
                continue
            met.add(real)
        try:
            inside = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError:
            left_out["folders that cannot be read"] += 1
            continue
        for entry in inside:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if (real := os.path.realpath(path)) not in barred and real not in met:
                    met.add(real)
                    pending.append(path)
            elif entry.is_dir():
                linked.append(path)
            else:
                yield path


def _unread(path: Path) -> str | None:
    """The kind of a file that people take for a picture and that is not read, in words; None for all others."""
    suffix = path.suffix.lower()
    if suffix in RAW:
        return f"raw files of cameras ({suffix})"
    if suffix in HEIF and suffix not in READABLE:
        return f"HEIC ({suffix}; pip install 'nanostyle[heif]')"
    return f"of an unread kind ({suffix})" if suffix in OTHER else None


def _is_result(path: Path) -> bool:
    try:
        return read_recipe(path) is not None
    except (OSError, ValueError):  # reading it later says what is wrong with it
        return False
