"""`nanostyle evaluate`: how good a trained model is."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from nanostyle.api import evaluate
from nanostyle.cli.options import PATH, options_of, overwrite_option, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.terminal import printable
from nanostyle.io.atomic import check_target, write
from nanostyle.methods.evaluate import Score
from nanostyle.methods.scoring import EvaluateOptions


@click.command("evaluate")
@click.argument("model", type=PATH)
@click.option(
    "--content",
    metavar="DIR",
    required=True,
    type=PATH,
    help="Folder of photos to stylize for the scores.",
)
@click.option(
    "--styles",
    metavar="FILE|DIR",
    multiple=True,
    required=True,
    type=PATH,
    help="Paintings, named as the model's styles; may be repeated.",
)
@options_of(EvaluateOptions)
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Also write the scores here.")
@overwrite_option
@common
def evaluate_command(
    model: Path,
    content: Path,
    styles: tuple[Path, ...],
    json_file: Path | None,
    overwrite: bool,
    runtime: Runtime,
    **values: Any,
) -> None:
    """Score MODEL: content and style loss for each style, and how many iterations of Gatys' method are as good.

    \b
    nanostyle evaluate many.h5 --content unseen/ --styles paintings/ --loss-net vgg19 --json scores.json
    """
    if json_file is not None:
        check_target(json_file, overwrite=overwrite)
    options = take(EvaluateOptions, values)
    scores: list[Score] = []
    for score in evaluate(model, content, styles, options=options, device=runtime.device):
        if not scores and not runtime.quiet:
            click.echo(f"{'style':<32}{'content':>9}{'style':>9}{'loss':>9}{'Gatys':>9}")
        scores.append(score)
        k = score.median_iterations
        told = "" if not options.iterations else f"> {options.iterations}" if np.isinf(k) else f"{k:g}"
        if not runtime.quiet:
            click.echo(
                f"{printable(score.style):<32}{score.content:9.3f}{score.style_loss:9.3f}{score.loss:9.3f}{told:>9}"
            )
    if json_file is not None:
        write(json_file, json.dumps([asdict(score) for score in scores], indent=1) + "\n", overwrite=overwrite)
