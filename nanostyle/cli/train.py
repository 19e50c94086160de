"""`nanostyle train`, `add-style` and `styles`: making trained models, and seeing what is in them."""

from pathlib import Path
from typing import Any

import click

from nanostyle.cli.options import options_of, overwrite_option, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.training import _watch, _weights, content_option, output_option, resume_option, style_weight_option
from nanostyle.io.pictures import find_pictures, style_files
from nanostyle.methods.cin import train_cin
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.methods.predict import train_predict
from nanostyle.models.base import IDENTITY
from nanostyle.models.loss_network import loss_network
from nanostyle.models.predictor import load_backbone
from nanostyle.training.options import TrainOptions


@click.command()
@click.option(
    "--mode",
    type=click.Choice(["feedforward", "cin", "predict"]),
    required=True,
    help="feedforward: one style; cin: many styles in one network; predict: any painting.",
)
@content_option
@click.option(
    "--styles",
    metavar="FILE|DIR",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A painting or a folder of paintings; may be repeated.",
)
@output_option
@resume_option
@overwrite_option
@style_weight_option
@options_of(TrainOptions)
@common
def train(
    mode: str,
    content: Path,
    styles: tuple[Path, ...],
    output: Path,
    resume: bool,
    overwrite: bool,
    weights: tuple[str, ...],
    runtime: Runtime,
    **values: Any,
) -> None:
    """Train a network that stylizes in one pass.

    Beside MODEL.h5 a folder MODEL.training keeps the checkpoint, the log, previews and a report; the same command
    with --resume goes on after an interruption, to the same bytes.

    \b
    nanostyle train --mode feedforward --content photos/ --styles wave.jpg -o wave.h5
    nanostyle train --mode cin --content photos/ --styles paintings/ --width 0.5 --steps 10000 -o many.h5
    nanostyle train --mode predict --content photos/ --styles museum/ --width 0.5 -o any.h5
    nanostyle train --mode predict --content photos/ --styles mine/ --start-from any.h5 --steps 2000 -o better.h5
    """
    options = take(TrainOptions, values)
    photos = find_pictures(content)
    paintings = style_files(styles, taken=(IDENTITY,))
    network = loss_network(options.loss_net, device=runtime.device)
    how: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "device": runtime.device}
    if mode == "cin":
        steps = train_cin(photos, paintings, network, options, output, weights=_weights(weights), **how)
    elif mode == "predict" and not weights:
        backbone = load_backbone(
            options.backbone or options.start_from or options.loss_net, seed=options.seed, device=runtime.device
        )
        steps = train_predict(photos, paintings, network, options, output, backbone=backbone, **how)
    elif mode == "feedforward" and len(paintings) == 1 and not weights:
        steps = train_feedforward(photos, next(iter(paintings.values())), network, options, output, **how)
    else:
        takes = "one painting and no --weight" if mode == "feedforward" else "no --weight"
        raise ValueError(f"train: mode {mode} takes {takes}, got {len(paintings)} paintings and {len(weights)} weights")
    _watch(steps, output, quiet=runtime.quiet)
