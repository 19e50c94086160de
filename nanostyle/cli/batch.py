"""One photo or many, from file to result: claims, progress over all, and what failed while the rest went on."""

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from nanostyle.backend.comm.world import world
from nanostyle.backend.halfway import heard_by
from nanostyle.backend.ordered import in_order
from nanostyle.backend.rows import keeping_in
from nanostyle.cli.again import Again
from nanostyle.cli.runtime import Runtime
from nanostyle.cli.targets import STANDARD
from nanostyle.cli.terminal import ProgressBar, explained, one_line, printable, shares
from nanostyle.io.claim import claimed, renew
from nanostyle.io.image_read import Picture, load_image, read_file, size_of
from nanostyle.io.picture_rows import RowPicture
from nanostyle.io.sources import recorded_name
from nanostyle.methods.result import Progress, Result
from nanostyle.methods.strokes import painted_pixels
from nanostyle.methods.stylizer import Stylizer

Work = tuple[Path, Path]
"""A photo and the file of its result."""


@dataclass(frozen=True)
class Saving:
    """How results are written."""

    quality: int
    strip: bool
    overwrite: bool
    skip_existing: bool

    @contextmanager
    def claim(self, target: Path) -> Iterator[Path | None]:
        """Claim a result; yields None where another program that works on the same folder has it, or has done it."""
        if not self.skip_existing:
            yield target
            return
        with claimed(target) as claim:
            yield None if target.exists() else claim

    def save(self, result: Result, target: Path) -> None:
        """Write a result to its file, or to the standard output."""
        if target == STANDARD:
            result.write_png(sys.stdout.buffer, strip=self.strip)
        else:
            result.save(target, overwrite=self.overwrite, quality=self.quality, strip=self.strip)


def read_photo(path: Path, size: int | None) -> Picture:
    """The photo in a file or on the standard input."""
    if path == STANDARD:
        return read_file(sys.stdin.buffer, "the standard input", size)
    return load_image(path, size=size)


def _folder_of(target: Path) -> Path | None:
    """Where temporary files belong: beside the result."""
    return None if target == STANDARD else target.parent


@dataclass
class Batch:
    """The work of one command.

    Attributes
    ----------
    work
        Photos and the files of their results. Of several ranks rank 0 alone knows them, and deals them out.
    alone
        The only photo, where it has been read already.
    again
        The result that is repeated, if one is.
    failures
        What failed, a line for each photo.
    """

    stylizer: Stylizer
    work: list[Work]
    alone: Picture | None
    runtime: Runtime
    saving: Saving
    again: Again | None = None
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Stylize all photos. Of several a bad one is told, and the others go on; then the exit status is 1."""
        if world().size > 1:
            self._run_dealt()
            return
        several = len(self.work) > 1
        progress = ProgressBar(
            f"{len(self.work)} photos" if several else self.work[0][0].name, quiet=self.runtime.quiet
        )
        try:
            with closing(self._begun(progress)) as begun:
                for (path, _), finish in zip(self.work, begun, strict=True):
                    try:
                        finish()
                    except Exception as error:
                        if not several:
                            raise
                        progress.say(f"{path}: {explained(error)}")
                        self.failures.append(f"  {path}: {explained(error)}")
        finally:
            progress.close()
            self._tell_failures()
        if self.failures:
            raise click.exceptions.Exit(1)

    def _run_dealt(self) -> None:
        """Stylize all photos, each on the rank that is free; rank 0 tells of them."""
        if not world().is_first:
            deque(world().deal((), self._made), maxlen=0)
        if world().first(self._deal):
            raise click.exceptions.Exit(1)

    def _deal(self) -> bool:
        """Deal the photos out, as rank 0; whether one has failed."""
        count = len(self.work)
        progress = ProgressBar(f"{count} photos", quiet=self.runtime.quiet)
        try:
            with closing(world().deal(self.work, self._made)) as made:
                for done, ((path, _), (lines, failure)) in enumerate(made, 1):
                    if failure:
                        lines = [f"{path}: {failure}"]
                        self.failures.append(f"  {path}: {failure}")
                    for line in lines:
                        progress.say(line)
                    progress.show(done, count, path.name)
        finally:
            progress.close()
            self._tell_failures()
        return bool(self.failures)

    def _made(self, work: Work) -> tuple[list[str], str]:
        """Stylize a photo and save the result; returns what to tell of it, and what went wrong."""
        try:
            return self._make(work), ""
        except Exception as error:
            return [], explained(error)

    def _tell_failures(self) -> None:
        if self.failures:
            head = f"Error: {len(self.failures)} of {len(self.work)} photos could not be stylized:"
            click.echo("\n".join([head, *map(printable, self.failures)]), err=True)

    def _begun(self, progress: ProgressBar) -> Generator[Callable[[], None], None, None]:
        """For each photo, in order, the rest of its work: several are worked on at once where that is quicker."""
        count = len(self.work)
        if count == 1 or self.stylizer.memory_for((1, 1)) is None:
            for number, (path, target) in enumerate(self.work):
                yield partial(self._stylize, path, target, progress, (number, count) if count > 1 else None)
            return
        memory = self.stylizer.options.memory
        with closing(in_order(self._make, self.work, size=self._bytes_for, memory=memory)) as made:
            for done, (future, (path, _)) in enumerate(zip(made, self.work, strict=True), 1):
                yield partial(self._tell, future, progress)
                progress.show(done, count, path.name)

    def _stylize(self, path: Path, target: Path, progress: ProgressBar, place: tuple[int, int] | None) -> None:
        """Stylize a photo and save the result; after Ctrl-C or divergence, the last picture there was."""
        with keeping_in(_folder_of(target)), self.saving.claim(target) as claim:
            if claim is None:
                return
            photo = self._read(path)
            for note in photo.notes:
                progress.say(f"{path}: {note}")
            step: Progress | None = None
            try:
                heard = heard_by(self._halfway(photo, path.name, progress, place))
                with heard, closing(self.stylizer.steps(photo, name=self._name(path, photo))) as steps:
                    for step in steps:
                        note = "" if step.loss is None else f"loss {step.loss:.4g}  {shares(step.terms)}"
                        if place is None:
                            progress.show(step.done, step.total, note)
                        else:
                            progress.show(place[0] + step.done / max(step.total, 1), place[1], f"{path.name}  {note}")
                        if self.saving.skip_existing:
                            renew(claim)
            finally:
                if step is not None:
                    progress.say(self._saved(step.picture, target))

    def _halfway(
        self, photo: Picture | RowPicture, name: str, progress: ProgressBar, place: tuple[int, int] | None
    ) -> Callable[[float], None]:
        """Shows how far a photo in rows is: it may take minutes."""
        options, done = self.stylizer.options, 0.0
        height, width = photo.pixels.shape[:2]
        networks = len(options.masks) or self.stylizer.method.count("+") + 1
        total = networks * painted_pixels((height, width), options.strokes, options.strength)

        def show(pixels: float) -> None:
            nonlocal done
            done += pixels
            share = min(done / total, 0.99)  # the rest is done while the result is written
            number, count = place or (0, 1)
            progress.show(number + share, count, name if place else "")

        return show if isinstance(photo, RowPicture) else lambda pixels: None

    def _make(self, work: Work) -> list[str]:
        """Stylize a photo in one pass and save the result; returns what to tell of it."""
        path, target = work
        with keeping_in(_folder_of(target)), self.saving.claim(target) as claim:
            if claim is None:
                return []
            photo = self._read(path)
            result = self.stylizer.stylize(photo, name=self._name(path, photo))
            return [*(f"{path}: {note}" for note in photo.notes), self._saved(result, target)]

    def _read(self, path: Path) -> Picture | RowPicture:
        """The photo in a file or on the standard input."""
        if self.alone is not None:
            return self.stylizer.read(self.alone)
        return self.stylizer.read(read_photo(path, self.stylizer.options.size) if path == STANDARD else path)

    def _name(self, path: Path, photo: Picture | RowPicture) -> str:
        """What the recipe calls a photo."""
        return (self.again.photo_name(photo) if self.again else "") or recorded_name(path)

    def _bytes_for(self, work: Work) -> float:
        """The bytes that a photo takes; of a bad one none: reading it will say what is wrong."""
        try:
            return self.stylizer.memory_for(size_of(work[0], size=self.stylizer.options.size)) or 0
        except Exception:
            return 0

    @staticmethod
    def _tell(made: Future[list[str]], progress: ProgressBar) -> None:
        for line in made.result():
            progress.say(line)

    def _saved(self, result: Result, target: Path) -> str:
        """Save a result; returns what to tell of it."""
        try:
            self.saving.save(result, target)
        except FileExistsError as error:
            if not self.saving.skip_existing:
                raise
            return f"{target}: {one_line(error)}: another program was quicker"
        height, width = result.size
        return f"{target}  ({width}x{height})"
