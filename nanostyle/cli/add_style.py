"""`nanostyle add-style`."""

from pathlib import Path
from typing import Any

import click

from nanostyle.cli.options import options_of, overwrite_option, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.training import _watch, _weights, content_option, output_option, resume_option, style_weight_option
from nanostyle.io.pictures import find_pictures, style_files
from nanostyle.methods.cin import add_style as train_new_styles
from nanostyle.models.base import IDENTITY
from nanostyle.models.loss_network import loss_network
from nanostyle.training.options import TrainOptions


@click.command("add-style")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("art", nargs=-1, required=True, type=click.Path(path_type=Path))
@content_option
@output_option
@resume_option
@overwrite_option
@style_weight_option
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
    """Teach MODEL, a model of many styles, the style of each ART; its old styles stay the same to the bit.

    \b
    nanostyle add-style many.h5 scream.jpg --content photos/ --steps 2000 -o more.h5
    """
    options = take(TrainOptions, values)
    steps = train_new_styles(
        model,
        find_pictures(content),
        style_files(art, taken=(IDENTITY,)),
        loss_network(options.loss_net, device=runtime.device),
        options,
        output,
        weights=_weights(weights),
        resume=resume,
        overwrite=overwrite,
        device=runtime.device,
    )
    _watch(steps, output, quiet=runtime.quiet)
