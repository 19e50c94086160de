"""Which photos a command works on, and where each result goes."""

from collections.abc import Sequence
from pathlib import Path

from nanostyle.io.formats import WRITABLE
from nanostyle.io.pictures import find_pictures


def photos_in(given: Sequence[Path]) -> list[Path]:
    """The photos named, and those in the folders named. Raises as `find_pictures` does."""
    found = [find_pictures(path) if path.is_dir() else [path] for path in given]
    return [path for paths in found for path in paths]


def targets_for(photos: Sequence[Path], styles: Sequence[str], output: Path | None) -> list[Path]:
    """Where the result of each photo goes: `output` itself, or PHOTO_STYLE in the folder `output`, which is made.

    Raises
    ------
    ValueError
        The output is `-`, or one file for several photos; or two photos would have one result.
    OSError
        The folder cannot be made.
    """
    if output == Path("-"):
        raise ValueError("output: expected a file or a folder, got -; pictures are not written to the standard output")
    if output is not None and output.suffix and not output.is_dir():
        if len(photos) > 1:
            raise ValueError(f"output: {len(photos)} photos need a folder, got the file name {output}")
        return [output]
    folder = output or Path()
    targets = [folder / f"{photo.stem}_{'_'.join(styles)}{_suffix(photo)}" for photo in photos]
    where: dict[Path, Path] = {}
    for photo, target in zip(photos, targets, strict=True):
        if (other := where.setdefault(target, photo)) is not photo:
            raise ValueError(f"output: {other} and {photo} would both become {target}; stylize them apart")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder}: {error.strerror}; choose another output") from error
    return targets


def _suffix(photo: Path) -> str:
    """The format of the result: the photo's, if it can be written."""
    suffix = photo.suffix.lower()
    return suffix if suffix in WRITABLE else ".png"
