"""The photos that a command works on, and the file of each result."""

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanostyle.errors import with_hint
from nanostyle.io.folders import Found, look_through
from nanostyle.io.formats import suffix_for

STANDARD = Path("-")
"""The standard input or output."""

_LONGEST = 255  # bytes of a name, for nearly every file system


@dataclass(frozen=True)
class Photo:
    """A photo to work on: its file, and the folder below the output where its result belongs."""

    path: Path
    place: Path = Path()


@dataclass(frozen=True)
class Photos:
    """The photos to work on, and what was left out of folders, in words."""

    photos: list[Photo]
    left_out: str


def photos_in(given: Sequence[Path], *, without: Collection[Path] = ()) -> Photos:
    """The photos named, and those in the folders named but for results and the files and folders `without`.

    Raises as `look_through` does.
    """
    photos, found = [], Found([])
    met: set[str] = set()
    several = sum(path.is_dir() for path in given) > 1
    for path in given:
        if not path.is_dir():
            photos.append(Photo(path))
            continue
        inside = look_through(path, without=without, results=False)
        found.left_out.update(inside.left_out)
        # Of several folders each has one of its own in the output.
        root = Path(path.resolve().name) if several else Path()
        for file in inside.pictures:
            if (real := os.path.realpath(file)) in met:
                found.left_out["in several of the folders"] += 1
                continue
            met.add(real)
            photos.append(Photo(file, root / file.parent.relative_to(path)))
    return Photos(photos, found.told)


def label(style: str) -> str:
    """The name of a style in the names of results: its own, without the suffix of a file."""
    name = Path(style).stem if style.lower().endswith(".h5") else style
    return name.replace("/", "_").replace("\\", "_")


def targets_for(
    photos: Sequence[Photo], styles: Sequence[str], output: Path | None, *, suffix: str | None = None
) -> list[Path]:
    """Where the result of each photo goes: `output` itself, or PHOTO_STYLE in the folder `output`.

    A tree of folders comes out as it went in. Folders are made. `suffix` is that of results in a folder; None: the
    photo's own. A name that is too long for the file system is cut,
    and ends in a part of its digest.

    Raises
    ------
    ValueError
        The output is one file for several photos; two photos would have one result; or a result would be its photo.
    OSError
        A folder cannot be made.
    """
    if output is not None and (output == STANDARD or (output.suffix and not output.is_dir())):
        if len(photos) > 1:
            what = "the standard output" if output == STANDARD else f"the file name {output}"
            raise ValueError(f"output: {len(photos)} photos need a folder, got {what}")
        check_apart([photo.path for photo in photos], [output])
        return [output]
    folder = output or Path()
    targets = [folder / photo.place / _name(photo.path, styles, suffix) for photo in photos]
    where: dict[Path, Path] = {}
    for photo, target in zip(photos, targets, strict=True):
        if (other := where.setdefault(target, photo.path)) is not photo.path:
            raise ValueError(f"output: {other} and {photo.path} would both become {target}; stylize them apart")
    check_apart([photo.path for photo in photos], targets)
    for parent in sorted({target.parent for target in targets}):
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"cannot make the folder {parent}: {error.strerror}; choose another output") from error
    return targets


def check_apart(read: Iterable[Path], targets: Iterable[Path]) -> None:
    """Raise ValueError where a result would take the place of a file that is read: photo, painting, mask or model."""
    inputs = {os.path.realpath(path) for path in read}
    for target in targets:
        if target.exists() and os.path.realpath(target) in inputs:
            error = ValueError(f"output: {target} is a file that is read, and would be lost")
            raise with_hint(error, "choose another {output}")


def _name(photo: Path, styles: Sequence[str], suffix: str | None) -> str:
    stem = "input" if photo == STANDARD else photo.stem
    ending = f"_{'_'.join(styles)}{suffix or suffix_for(photo)}"
    whole = stem + ending
    if len(os.fsencode(whole)) <= _LONGEST:
        return whole
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]
    tail = os.fsencode(ending)[-80:].decode(errors="ignore")
    room = _LONGEST - len(os.fsencode(tail)) - len(digest) - 1
    return f"{os.fsencode(stem)[:room].decode(errors='ignore')}~{digest}{tail}"
