"""One photo or many, from file to result: claims, progress over all, and what failed while the rest went on."""

import sys
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import click

from nanostyle.cli.runtime import Runtime
from nanostyle.cli.targets import STANDARD
from nanostyle.cli.terminal import Progress, explained, one_line, shares
from nanostyle.io.claim import claimed, renew
from nanostyle.io.image_read import Picture, load_image, read_file
from nanostyle.io.image_write import encode_image
from nanostyle.methods.result import Progress as Step
from nanostyle.methods.result import Result
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

    def save(self, result: Result, target: Path) -> None:
        """Write a result to its file, or to the standard output."""
        if target == STANDARD:
            kept = None if self.strip else result.metadata
            data = encode_image(
                "PNG", result.pixels, alpha=result.alpha, recipe=result.recipe, bits=result.bits, metadata=kept
            )
            sys.stdout.buffer.write(data)
        else:
            result.save(target, overwrite=self.overwrite, quality=self.quality, strip=self.strip)


def read_photo(path: Path, size: int | None) -> Picture:
    """The photo in a file or on the standard input."""
    if path == STANDARD:
        return read_file(sys.stdin.buffer, "the standard input", size)
    return load_image(path, size=size)


@dataclass
class Batch:
    """The work of one command.

    Attributes
    ----------
    work
        Photos and the files of their results.
    alone
        The only photo, where it has been read already.
    """

    stylizer: Stylizer
    work: list[Work]
    alone: Picture | None
    runtime: Runtime
    saving: Saving
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Stylize all photos. Of several a bad one is told, and the others go on; then the exit status is 1."""
        several = len(self.work) > 1
        progress = Progress(f"{len(self.work)} photos" if several else self.work[0][0].name, quiet=self.runtime.quiet)
        try:
            for number, (path, target) in enumerate(self.work):
                place = (number, len(self.work)) if several else None
                try:
                    self._claim(path, target, progress, place)
                except Exception as error:
                    if not several:
                        raise
                    progress.say(f"{path}: {explained(error)}")
                    self.failures.append(f"  {path}: {explained(error)}")
        finally:
            progress.close()
            if self.failures:
                head = f"Error: {len(self.failures)} of {len(self.work)} photos could not be stylized:"
                click.echo("\n".join([head, *self.failures]), err=True)
        if self.failures:
            raise click.exceptions.Exit(1)

    def _claim(self, path: Path, target: Path, progress: Progress, place: tuple[int, int] | None) -> None:
        """Stylize a photo unless another program that works on the same folder has it, or has done it."""
        skip = self.saving.skip_existing
        try:
            with claimed(target) if skip else nullcontext(target) as claim:
                if claim is None or (skip and target.exists()):
                    return
                picture = self.alone or read_photo(path, self.stylizer.options.size)
                for note in picture.notes:
                    progress.say(f"{path}: {note}")
                self._stylize(path, picture, target, progress, place, claim)
        except FileExistsError as error:
            if not skip:
                raise
            progress.say(f"{path}: {one_line(error)}: another program was quicker")

    def _stylize(
        self,
        path: Path,
        photo: Picture,
        target: Path,
        progress: Progress,
        place: tuple[int, int] | None,
        claim: Path,
    ) -> None:
        """Stylize a photo and save the result; after Ctrl-C or divergence, the last picture there was."""
        step: Step | None = None
        try:
            with closing(self.stylizer.steps(photo, name=path.name)) as steps:
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
                height, width = step.picture.pixels.shape[:2]
                self.saving.save(step.picture, target)
                progress.say(f"{target}  ({width}x{height})")
