"""`nanostyle add-style`."""

from pathlib import Path
from typing import Any

import click

from nanostyle.api import train
from nanostyle.cli.options import PATH, options_of, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.training import shared, style_weights, watch
from nanostyle.training.options import TrainOptions


@click.command("add-style")
@click.argument("model", type=PATH)
@click.argument("art", nargs=-1, required=True, type=PATH)
@shared
@options_of(TrainOptions, leave_out=("start_from", "width", "norm", "upsample", "storage", "photo_weight"))
@common
def add_style(
    model: Path,
    art: tuple[Path, ...],
    content: Path,
    output: Path,
    resume: bool,
    overwrite: bool,
    weights: tuple[str, ...],
    runtime: Runtime,
    **values: Any,
) -> None:
    """Teach MODEL, a model of many styles, the style of each ART. Its old styles stay the same to the bit.

    ART is a painting or a folder of paintings.

    \b
    nanostyle add-style many.h5 scream.jpg --content photos/ --steps 2000 -o more.h5
    """
    steps = train(
        "cin",
        content,
        art,
        output,
        options=take(TrainOptions, values),
        add_to=model,
        weights=style_weights(weights),
        resume=resume,
        overwrite=overwrite,
        device=runtime.device,
    )
    watch(steps, output, runtime)
