"""The previews of a training: contact sheets of a few photos that it does not train on."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image, thumbnail_jpeg
from nanostyle.io.pictures import samples
from nanostyle.training.task import Task

_PHOTOS = 3
_IN_REPORT = 6
_REPORT_SIDE = 1400  # pixels


def hold_out(photos: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Some photos for previews alone, and the rest to train on. Where there are few, all are in both lists."""
    files = list(photos)
    if len(files) < 10 * _PHOTOS:
        return files, files
    # Twice as many as are shown: one may be unusable.
    places = {len(files) * i // (2 * _PHOTOS) for i in range(2 * _PHOTOS)}
    return [files[i] for i in sorted(places)], [file for i, file in enumerate(files) if i not in places]


class Previews:
    """The contact sheets `preview-STEP.png` in `folder`.

    Parameters
    ----------
    photos
        Files to choose from: the first three that can be read are shown.
    size
        Their short side in pixels.
    """

    def __init__(self, folder: Path, photos: Sequence[Path], size: int) -> None:
        self.folder, self._photos, self._size = folder, photos, size

    def draw(self, task: Task, step: int) -> tuple[Path, Mapping[str, Mapping[str, float]]]:
        """Write the sheet of `step`; its path, and by the style's name its content and style loss.

        Raises
        ------
        NanostyleError
            None of the photos can be read.
        OSError
            The sheet cannot be written.
        """
        sheet, losses = task.preview(samples(self._photos, _PHOTOS, self._size))
        path = self.folder / f"preview-{step:06d}.png"
        save_image(path, sheet)
        return path, losses

    def for_report(self, step: int) -> dict[int, bytes]:
        """Up to six of the sheets, spread evenly from the first to that of `step`, as JPEG files, by their step."""
        sheets = {number: path for number, path in self._sheets().items() if number <= step}
        steps = sorted(sheets)
        shown = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, _IN_REPORT).round().astype(int))]
        return {step: thumbnail_jpeg(load_image(sheets[step]).pixels, side=_REPORT_SIDE) for step in shown}

    def clear(self) -> None:
        """Remove all sheets."""
        for path in self.folder.glob("preview-*.png"):
            path.unlink()

    def _sheets(self) -> dict[int, Path]:
        matches = ((re.fullmatch(r"preview-(\d+)\.png", path.name), path) for path in self.folder.iterdir())
        return {int(match[1]): path for match, path in matches if match}
