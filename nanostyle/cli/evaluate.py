"""`nanostyle evaluate` and `nanostyle style-map`: what a trained model is worth, and how it sees styles."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from nanostyle.backend.types import Pixels
from nanostyle.cli.options import overwrite_option
from nanostyle.cli.runtime import Runtime, common
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import check_target, write
from nanostyle.io.pictures import find_pictures, load_short, samples, style_files
from nanostyle.methods.evaluate import evaluate
from nanostyle.methods.gatys import GatysOptions
from nanostyle.models.base import IDENTITY, TrainedModel
from nanostyle.models.load import load_model
from nanostyle.models.loss_network import loss_network
from nanostyle.models.multistyle import Model
from nanostyle.training.options import TrainOptions


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--content", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Photos to judge by.")
@click.option(
    "--styles",
    metavar="FILE|DIR",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="The paintings, named as the model's styles; may be repeated.",
)
@click.option("--photos", "count", type=click.IntRange(min=1), default=10, show_default=True, help="How many photos.")
@click.option("--size", type=click.IntRange(min=16), default=256, show_default=True, help="Short side of the photos.")
@click.option("--style-size", type=click.IntRange(min=16), help="Short side of the paintings. Default: as --size.")
@click.option(
    "--loss-net", metavar="NAME|FILE", default="builtin", show_default=True, help="Loss network used for scoring."
)
@click.option(
    "--content-weight",
    type=float,
    default=TrainOptions.content_weight,
    show_default=True,
    help="Weight of the content loss.",
)
@click.option(
    "--style-weight",
    type=float,
    default=TrainOptions.style_weight,
    show_default=True,
    help="Weight of the style loss.",
)
@click.option(
    "--iterations",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="How far Gatys' method goes to catch up; 0 leaves it out.",
)
@click.option(
    "--json", "json_file", metavar="FILE", type=click.Path(path_type=Path), help="Write the scores there too."
)
@overwrite_option
@common
def evaluate_command(
    model: Path,
    content: Path,
    styles: tuple[Path, ...],
    count: int,
    size: int,
    style_size: int | None,
    loss_net: str,
    content_weight: float,
    style_weight: float,
    iterations: int,
    json_file: Path | None,
    overwrite: bool,
    runtime: Runtime,
) -> None:
    """Score MODEL: content and style loss per style, and after how many iterations Gatys' method is as good.

    \b
    nanostyle evaluate many.h5 --content unseen/ --styles paintings/ --loss-net vgg19 --json scores.json
    """
    if json_file is not None:
        check_target(json_file, overwrite=overwrite)
    trained = load_model(model, device=runtime.device)
    files = style_files(styles)
    if isinstance(trained, Model):
        files = {name: file for name, file in files.items() if name in trained.styles}
        if not files:
            raise NanostyleError(
                f"evaluate: no painting is named as a style of {model}, which knows"
                f" {', '.join(name for name in trained.styles if name != IDENTITY)}"
            )
    paintings = {name: load_short(file, style_size or size) for name, file in files.items()}
    options = GatysOptions(
        iterations=iterations, content_weight=content_weight, style_weight=style_weight, tv_weight=0.0
    )
    scores = []
    if not runtime.quiet:
        click.echo(f"{'style':<32}{'content':>9}{'style':>9}{'loss':>9}{'Gatys':>9}")
    for score in evaluate(
        _renderer(trained, paintings),
        samples(find_pictures(content), count, size),
        paintings,
        loss_network(loss_net, device=runtime.device),
        options,
        device=runtime.device,
    ):
        scores.append(score)
        k = score.median_iterations
        told = "" if not iterations else f"> {iterations}" if np.isinf(k) else f"{k:g}"
        if not runtime.quiet:
            click.echo(f"{score.style:<32}{score.content:9.3f}{score.style_loss:9.3f}{score.loss:9.3f}{told:>9}")
    if json_file is not None:
        write(json_file, json.dumps([asdict(score) for score in scores], indent=1) + "\n")


def _renderer(trained: TrainedModel[Any], paintings: dict[str, Pixels]) -> Callable[[str, Pixels], Pixels]:
    """From a style's name and a photo to the picture."""
    styles = {
        name: trained.style(name if trained.styles else painting, name=name) for name, painting in paintings.items()
    }
    return lambda name, photo: trained.render(photo, styles[name])
