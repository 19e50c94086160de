"""Options and progress line of the training commands."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import click

from nanostyle.backend.comm.world import world
from nanostyle.cli.options import PATH, Command, overwrite_option
from nanostyle.cli.runtime import Runtime
from nanostyle.cli.terminal import ProgressBar, shares
from nanostyle.errors import NanostyleError
from nanostyle.training.loop import TrainingStep, training_folder

_SHARED = (
    click.option(
        "--content",
        metavar="DIR",
        required=True,
        type=PATH,
        help="The folder of photos to train on.",
    ),
    click.option(
        "-o",
        "--output",
        metavar="MODEL.h5",
        required=True,
        type=PATH,
        help="The model to write.",
    ),
    click.option("--resume", is_flag=True, help="Continue from the last checkpoint of the same output."),
    overwrite_option,
    click.option(
        "--weight",
        "weights",
        metavar="NAME=W",
        multiple=True,
        help="Weight of the style loss of one style; may be repeated. Default: 1 for each.",
    ),
)


def shared(command: Command) -> Command:
    """Add the options that the training commands share."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


def style_weights(given: tuple[str, ...]) -> dict[str, float]:
    """From `NAME=W` to name and weight; whether there is such a style is for the training to say."""
    weights = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise ValueError(f"weight: expected NAME=NUMBER, got {text!r}") from None
    return weights


def watch(steps: Generator[TrainingStep, None, None], output: Path, runtime: Runtime) -> None:
    """Show the training as it goes, and its outcome."""
    progress = ProgressBar(output.name, quiet=runtime.quiet)
    last: TrainingStep | None = None
    with closing(steps):  # whatever stops the loop, what has been reached is saved
        try:
            for last in steps:
                progress.show(last.step, last.steps, f"loss {last.loss:.4g}  {shares(last.terms)}")
                if last.event:
                    progress.close()
                    runtime.say(last.event)
        except KeyboardInterrupt as interrupt:
            steps.throw(interrupt)  # if it came between two steps: the training saves, and says how to go on
            raise
        finally:
            progress.close()
    if last is not None and last.skipped:
        runtime.say(f"{len(last.skipped)} pictures were skipped:")
        for path, reason in last.skipped.items():
            runtime.say(f"  {path}: {reason}")
    if world().is_first and not output.exists():
        raise NanostyleError(f"training: {output} was not written")
    runtime.say(f"{output}; report: {training_folder(output) / 'report.html'}")
