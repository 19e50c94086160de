"""`nanostyle train`."""

from pathlib import Path
from typing import Any, Literal

import click

from nanostyle.api import train as train_network
from nanostyle.cli.options import PATH, options_of, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.training import shared, style_weights, watch
from nanostyle.methods.modes import MODES
from nanostyle.training.options import TrainOptions


@click.command()
@click.option(
    "--mode",
    type=click.Choice(MODES),
    required=True,
    help="feedforward: one style; cin: many styles in one network; predict: any painting.",
)
@click.option(
    "--styles",
    metavar="FILE|DIR",
    multiple=True,
    required=True,
    type=PATH,
    help="A painting or a folder of paintings; may be repeated.",
)
@shared
@options_of(TrainOptions)
@common
def train(
    mode: Literal["feedforward", "cin", "predict"],
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

    A folder MODEL.training beside MODEL.h5 keeps the checkpoint, the log, previews and a report. After an interruption
    the same command with --resume continues, and ends with the same bytes.

    \b
    nanostyle train --mode feedforward --content photos/ --styles wave.jpg -o wave.h5
    nanostyle train --mode cin --content photos/ --styles paintings/ --width 0.5 --steps 10000 -o many.h5
    nanostyle train --mode predict --content photos/ --styles museum/ --width 0.5 -o any.h5
    nanostyle train --mode predict --content photos/ --styles mine/ --start-from any.h5 --steps 2000 -o better.h5
    """
    steps = train_network(
        mode,
        content,
        styles,
        output,
        options=take(TrainOptions, values),
        weights=style_weights(weights),
        resume=resume,
        overwrite=overwrite,
        device=runtime.device,
    )
    watch(steps, output, runtime)
