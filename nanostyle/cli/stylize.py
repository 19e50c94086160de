"""`nanostyle stylize`: photos in, stylized pictures out, by whichever method."""

from contextlib import closing
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nanostyle.cli.options import options_of, overwrite_option, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.targets import photos_in, targets_for
from nanostyle.cli.terminal import USER_ERRORS, Progress, one_line, shares
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import check_target
from nanostyle.io.image_read import Picture, load_image
from nanostyle.io.image_write import check_writable
from nanostyle.methods.gatys import GatysOptions
from nanostyle.methods.request import StylizeOptions
from nanostyle.methods.result import Progress as Step
from nanostyle.methods.stylizer import Stylizer
from nanostyle.models.style import Style


@click.command(short_help="Stylize photos.")
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--style-image",
    "style_images",
    metavar="ART",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A painting. Repeat it to blend several.",
)
@click.option(
    "--style",
    "styles",
    metavar="NAME|FILE",
    multiple=True,
    help="A style of a trained model (see `nanostyle styles`), or a file of --save-style. Repeat it to blend several.",
)
@click.option("--model", metavar="FILE", type=click.Path(path_type=Path), help="A trained model. Default: built in.")
@click.option(
    "--save-style",
    metavar="FILE.h5",
    type=click.Path(path_type=Path),
    help="Keep the style of the paintings in a small file, for --style. For method predict.",
)
@options_of(StylizeOptions, leave_out=("gatys", "device", "precision", "threads", "chosen"))
@options_of(GatysOptions)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A file, or a folder for several photos. Default: PHOTO_STYLE in the current folder.",
)
@overwrite_option
@click.option("--skip-existing", is_flag=True, help="Skip photos whose result exists: to continue with a folder.")
@common
def stylize(
    photos: tuple[Path, ...],
    style_images: tuple[Path, ...],
    styles: tuple[str, ...],
    model: Path | None,
    save_style: Path | None,
    output: Path | None,
    overwrite: bool,
    skip_existing: bool,
    runtime: Runtime,
    **values: Any,
) -> None:
    """Give each PHOTO the style of a painting, or a style that a trained model knows.

    PHOTO is a picture or a folder of pictures. The options from --loss-net to --seed are those of method gatys. An
    option that does not fit the method is refused.

    \b
    nanostyle stylize photo.jpg --style-image painting.jpg
    nanostyle stylize photos/ --style-image a.jpg --style-image b.jpg --weight 2 --weight 1 -o results/
    nanostyle stylize photo.jpg --model model.h5 --style starry_night --strength 0.7
    """
    paths = photos_in(photos)
    names = [*(path.stem for path in style_images), *(Path(name).stem for name in styles)]
    targets = targets_for(paths, names or [model.stem if model else ""], output)
    work = list(zip(paths, targets, strict=True))
    if skip_existing:
        work = [(path, target) for path, target in work if not target.exists()]
        if len(work) < len(paths):
            runtime.say(f"{len(paths) - len(work)} of {len(paths)} results exist already")
        if not work and save_style is None:
            return
    for _, target in work:
        check_writable(target, overwrite=overwrite)
    if save_style is not None:
        check_target(save_style, overwrite=overwrite)
    if style_images and styles:
        raise click.UsageError("stylize: expected --style-image or --style, got both")
    options = _options(values, runtime)
    # An error in the only photo comes before all work.
    alone = load_image(work[0][0], size=options.size) if len(work) == 1 else None
    stylizer = Stylizer([*style_images, *styles], model=model, options=options)
    if save_style is not None:
        if not isinstance(stylizer.style, Style):
            raise click.UsageError("stylize: --save-style is for --style-image with method predict")
        stylizer.style.save(save_style, overwrite=overwrite)
    runtime.say(f"{stylizer.title}, device {runtime.device}, {runtime.device.precision}")
    _stylize_all(stylizer, work, alone, runtime, overwrite=overwrite)


def _options(values: dict[str, Any], runtime: Runtime) -> StylizeOptions:
    """The options given; which of them stand on the command line decides what is refused."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    where = {"device": runtime.device.name, "precision": runtime.device.precision}
    return take(StylizeOptions, values, gatys=take(GatysOptions, values), chosen=frozenset(given), **where)


def _stylize_all(
    stylizer: Stylizer, work: list[tuple[Path, Path]], alone: Picture | None, runtime: Runtime, *, overwrite: bool
) -> None:
    failures = 0  # of several photos a bad one is reported at once, and the others go on
    for path, target in work:
        try:
            _stylize_one(stylizer, path, alone or path, target, runtime, overwrite=overwrite)
        except USER_ERRORS as error:
            if len(work) == 1:
                raise
            click.echo(f"{path}: {one_line(error)}", err=True)
            failures += 1
    if failures:
        raise NanostyleError(f"{failures} of {len(work)} photos could not be stylized; the messages above say why")


def _stylize_one(
    stylizer: Stylizer, path: Path, photo: Path | Picture, target: Path, runtime: Runtime, *, overwrite: bool
) -> None:
    """Stylize a photo and save the result; after Ctrl-C or divergence, the last picture there was."""
    progress = Progress(path.name, quiet=runtime.quiet)
    step: Step | None = None
    try:
        with closing(stylizer.steps(photo, name=path.name)) as steps:
            for step in steps:
                note = "" if step.loss is None else f"loss {step.loss:.4g}  {shares(step.terms)}"
                progress.show(step.done, step.total, note)
    finally:
        progress.close()
        if step is not None:
            height, width = step.picture.pixels.shape[:2]
            step.picture.save(target, overwrite=overwrite)
            runtime.say(f"{target}  ({width}x{height})")
