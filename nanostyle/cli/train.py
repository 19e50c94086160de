"""Floor 5: `nanostyle train`, `add-style` and `styles`: making trained models, and seeing what is in them."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from nanostyle import arrays, image, weightfile
from nanostyle.cli.options import common, options_of, overwrite_option, take
from nanostyle.cli.terminal import Progress, shares
from nanostyle.data import style_files
from nanostyle.errors import NanostyleError
from nanostyle.methods.cin import add_style as train_new_styles
from nanostyle.methods.cin import train_cin
from nanostyle.methods.feedforward import train_feedforward
from nanostyle.methods.modelfile import IDENTITY, load_model
from nanostyle.methods.models import loss_network
from nanostyle.methods.options import TrainOptions
from nanostyle.methods.predict import train_predict
from nanostyle.methods.predictfile import load_backbone
from nanostyle.methods.stylize import style_sheet
from nanostyle.methods.trainer import Step, training_folder
from nanostyle.nn import move

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
    device: str,
    precision: str,
    threads: int | None,
    quiet: bool,
    debug: bool,
    **values: Any,
) -> None:
    """Train a network that stylises in one pass.

    Beside MODEL.h5 a folder MODEL.training keeps the checkpoint, the log, previews and a report; the same command
    with --resume goes on after an interruption, to the same bytes.

    \b
    nanostyle train --mode feedforward --content photos/ --styles wave.jpg -o wave.h5
    nanostyle train --mode cin --content photos/ --styles paintings/ --width 0.5 --steps 10000 -o many.h5
    nanostyle train --mode predict --content photos/ --styles museum/ --width 0.5 -o any.h5
    nanostyle train --mode predict --content photos/ --styles mine/ --start-from any.h5 --steps 2000 -o better.h5
    """
    arrays.set_threads(threads)
    device = arrays.pick_device(device)
    arrays.set_precision(precision, device)
    options = take(TrainOptions, values)
    photos = image.find_pictures(content)
    paintings = style_files(styles, taken=(IDENTITY,))
    network = loss_network(options.loss_net, device=device)
    how: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "device": device}
    if mode == "cin":
        steps = train_cin(photos, paintings, network, options, output, weights=_weights(weights), **how)
    elif mode == "predict" and not weights:
        backbone = load_backbone(
            options.backbone or options.start_from or options.loss_net, seed=options.seed, device=device
        )
        steps = train_predict(photos, paintings, network, options, output, backbone=backbone, **how)
    elif mode == "feedforward" and len(paintings) == 1 and not weights:
        steps = train_feedforward(photos, next(iter(paintings.values())), network, options, output, **how)
    else:
        takes = "one painting and no --weight" if mode == "feedforward" else "no --weight"
        raise ValueError(f"train: mode {mode} takes {takes}, got {len(paintings)} paintings and {len(weights)} weights")
    _watch(steps, output, quiet=quiet)


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
    device: str,
    precision: str,
    threads: int | None,
    quiet: bool,
    debug: bool,
    **values: Any,
) -> None:
    """Teach MODEL, a model of many styles, the style of each ART; its old styles stay the same to the bit.

    \b
    nanostyle add-style many.h5 scream.jpg --content photos/ --steps 2000 -o more.h5
    """
    arrays.set_threads(threads)
    device = arrays.pick_device(device)
    arrays.set_precision(precision, device)
    options = take(TrainOptions, values)
    steps = train_new_styles(
        model,
        image.find_pictures(content),
        style_files(art, taken=(IDENTITY,)),
        loss_network(options.loss_net, device=device),
        options,
        output,
        weights=_weights(weights),
        resume=resume,
        overwrite=overwrite,
        device=device,
    )
    _watch(steps, output, quiet=quiet)


@click.command()
@click.argument("model", default="styles", type=click.Path(path_type=Path))
@click.option("--sheet", "photo", metavar="PHOTO", type=click.Path(path_type=Path), help="Draw it in every style.")
@click.option("--size", type=click.IntRange(min=1), default=512, show_default=True, help="Long side of that photo.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("sheet.png"), show_default=True, help="The sheet."
)
@overwrite_option
@common
def styles(
    model: Path,
    photo: Path | None,
    size: int,
    output: Path,
    overwrite: bool,
    device: str,
    precision: str,
    threads: int | None,
    quiet: bool,
    debug: bool,
) -> None:
    """List the styles of MODEL, by default those of the built-in one; with --sheet, draw one picture in all of them."""
    arrays.set_threads(threads)
    device = arrays.pick_device(device)
    arrays.set_precision(precision, device)
    model = weightfile.find(model, weightfile.TRAINED)
    trained = load_model(model)
    if photo is None:
        for name in trained.styles:
            click.echo(name)
        return
    image.check_writable(output, overwrite=overwrite)
    move(trained.net, device)
    drawn = style_sheet(trained, image.load(photo, size=size).pixels, device=device)
    image.save(output, drawn, recipe={"model": model.name, "photo": photo.name, "styles": trained.styles})
    if not quiet:
        click.echo(f"{output}  ({drawn.shape[1]}x{drawn.shape[0]})", err=True)


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


def _watch(steps: Generator[Step, None, None], output: Path, *, quiet: bool) -> None:
    """Show the training as it goes, and what came of it."""
    progress = Progress(output.name, quiet=quiet)
    last: Step | None = None
    try:
        with closing(steps):  # whatever stops the loop, what has been reached is saved
            for last in steps:
                progress.show(last.step, last.steps, f"loss {last.loss:.4g}  {shares(last.terms)}")
                if last.event and not quiet:
                    progress.close()
                    click.echo(last.event, err=True)
    except KeyboardInterrupt as interrupt:
        if last is None or str(interrupt):
            raise
        # It came between two steps.
        told = f"training stopped after step {last.step}; the same command with --resume goes on"
        raise KeyboardInterrupt(told) from None
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
