"""What the training commands share: options, and the progress line."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import click

from nanostyle.cli.terminal import Progress, shares
from nanostyle.errors import NanostyleError
from nanostyle.training.loop import TrainingStep, training_folder

content_option = click.option(
    "--content",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder of photos to train on.",
)
style_weight_option = click.option(
    "--weight",
    "weights",
    metavar="NAME=W",
    multiple=True,
    help="How much the style term of one style counts; may be repeated. Default: 1 each.",
)
resume_option = click.option("--resume", is_flag=True, help="Go on from the last checkpoint of the same output.")
output_option = click.option(
    "-o", "--output", metavar="MODEL.h5", required=True, type=click.Path(path_type=Path), help="The model to write."
)


def _weights(given: tuple[str, ...]) -> dict[str, float]:
    """From `NAME=W` to name and weight; whether there is such a style is the training's to say."""
    weights = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise ValueError(f"weight: expected NAME=NUMBER, got {text!r}") from None
    return weights


def _watch(steps: Generator[TrainingStep, None, None], output: Path, *, quiet: bool) -> None:
    """Show the training as it goes, and what came of it."""
    progress = Progress(output.name, quiet=quiet)
    last: TrainingStep | None = None
    with closing(steps):  # whatever stops the loop, what has been reached is saved
        try:
            for last in steps:
                progress.show(last.step, last.steps, f"loss {last.loss:.4g}  {shares(last.terms)}")
                if last.event and not quiet:
                    progress.close()
                    click.echo(last.event, err=True)
        except KeyboardInterrupt as interrupt:
            steps.throw(interrupt)  # if it came between two steps: the training saves, and says how to go on
            raise
        finally:
            progress.close()
    if last is not None and last.skipped and not quiet:
        click.echo(f"{len(last.skipped)} pictures were skipped:", err=True)
        for path, reason in last.skipped.items():
            click.echo(f"  {path}: {reason}", err=True)
    if not output.exists():
        raise NanostyleError(f"training: {output} was not written")
    if not quiet:
        click.echo(f"{output}; report: {training_folder(output) / 'report.html'}", err=True)
