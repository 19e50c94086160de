"""The parts of a video that is being made: what a run that was killed has finished, and how the next one goes on."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import replacing, write
from nanostyle.io.untrusted import reading
from nanostyle.io.video.library import writing

LENGTH = 240
"""The frames of a part."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Parts:
    """The folder of the parts of a result: `plan.json`, and for each part its frames and a state, written last.

    Attributes
    ----------
    folder : Path
        Beside the result, and called after it.
    """

    folder: Path

    @classmethod
    def of(cls, output: Path) -> "Parts":
        """The parts of a result of that name."""
        return cls(output.with_name(f"{output.name.replace('%', '_')}.parts"))

    def open(self, plan: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder, or go on with the one that is there.

        Raises
        ------
        NanostyleError
            It is there and `resume` is False; or it was begun with another plan, and the message says what differs.
        OSError
            It cannot be made.
        """
        file = self.folder / "plan.json"
        if not file.exists():
            if self.folder.is_dir() and (others := [path.name for path in self.folder.iterdir()]):
                raise NanostyleError(
                    f"{self.folder} is in the way: it holds {others[0]}", hint="choose another {output}"
                )
            try:
                self.folder.mkdir(exist_ok=True)
            except OSError as error:
                said = f"cannot make the folder {self.folder}: {error.strerror}; choose another output"
                raise OSError(said) from error
            write(file, json.dumps(plan, indent=1))
            return
        if not resume:
            raise NanostyleError(
                f"{self.folder} holds the parts of a run that was not finished",
                hint="go on with it by {resume}, or remove that folder",
            )
        with reading(file):
            before = json.loads(file.read_text())
        if differ := sorted(key for key in {*before, *plan} if before.get(key) != plan.get(key)):
            told = ", ".join(f"{key} was {_short(before.get(key))}, is {_short(plan.get(key))}" for key in differ[:3])
            raise NanostyleError(
                f"resume: {self.folder} was begun otherwise: {told}",
                hint="give the same options, or remove that folder",
            )

    def count(self) -> int:
        """How many parts are whole."""
        count = 0
        while self._state(count).exists():
            count += 1
        return count

    def save(self, part: int, state: Arrays) -> None:
        """Say that a part is whole, with what the next one needs to know."""
        path = self._state(part)
        with writing(path), replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **dict(state))

    def load(self, part: int) -> dict[str, npt.NDArray[Any]]:
        """What a part left for the next one; ValueError for a damaged file."""
        path = self._state(part)
        with reading(path), np.load(path, allow_pickle=False) as file:
            return dict(file)

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _state(self, part: int) -> Path:
        return self.folder / f"{part:06d}.npz"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
