"""`nanostyle stylize`: photos in, stylized pictures out, by whichever method."""

import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nanostyle.cli.options import options_of, overwrite_option, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.targets import STANDARD, label, photos_in, targets_for
from nanostyle.cli.terminal import USER_ERRORS, Progress, one_line, shares
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import check_target
from nanostyle.io.claim import claimed, renew
from nanostyle.io.image_read import Picture, load_image, read_file
from nanostyle.io.image_write import check_writable, encode_image
from nanostyle.methods.gatys import GatysOptions
from nanostyle.methods.request import StylizeOptions
from nanostyle.methods.result import Progress as Step
from nanostyle.methods.result import Result
from nanostyle.methods.stylizer import Stylizer
from nanostyle.models.style import Style


@click.command()
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
    help="A file, a folder for several photos, or - for a PNG on the standard output. Default: PHOTO_STYLE in the"
    " current folder.",
)
@overwrite_option
@click.option("--skip-existing", is_flag=True, help="Skip photos whose result exists: to continue with a folder.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    help="Of results in JPEG, WebP, AVIF and HEIC.",
)
@click.option("--strip", is_flag=True, help="Leave out the photo's date, camera, copyright, place and resolution.")
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
    quality: int,
    strip: bool,
    runtime: Runtime,
    **values: Any,
) -> None:
    """Give each PHOTO the style of a painting, or a style that a trained model knows.

    PHOTO is a picture, a folder of pictures, or - for the standard input. The options from --loss-net to --seed are
    those of method gatys. An option that does not fit the method is refused.

    \b
    nanostyle stylize photo.jpg --style-image painting.jpg
    nanostyle stylize photos/ --style-image a.jpg --style-image b.jpg --weight 2 --weight 1 -o results/
    nanostyle stylize photo.jpg --model model.h5 --style starry_night --strength 0.7
    """
    if style_images and styles:
        raise click.UsageError("stylize: expected --style-image or --style, got both")
    names = [*(path.stem for path in style_images), *map(label, styles)] or [model.stem if model else ""]
    used = [*style_images, *map(Path, values["masks"])]
    work = _planned(photos, names, used, output, runtime, skip_existing=skip_existing)
    if not work and save_style is None:
        return
    for _, target in work:
        if target != STANDARD:
            check_writable(target, overwrite=overwrite or skip_existing)
    if save_style is not None:
        check_target(save_style, overwrite=overwrite)
    options = _options(values, runtime)
    # An error in the only photo comes before all work.
    alone = _read(work[0][0], options.size) if len(work) == 1 else None
    stylizer = Stylizer([*style_images, *styles], model=model, options=options)
    if save_style is not None:
        if not isinstance(stylizer.style, Style):
            raise click.UsageError("stylize: --save-style is for --style-image with method predict")
        stylizer.style.save(save_style, overwrite=overwrite)
    runtime.say(f"{stylizer.title}, device {runtime.device}, {runtime.device.precision}")
    _stylize_all(stylizer, work, alone, runtime, Saving(quality, strip, overwrite, skip_existing))


def _planned(
    photos: Sequence[Path],
    names: Sequence[str],
    used: Sequence[Path],
    output: Path | None,
    runtime: Runtime,
    *,
    skip_existing: bool,
) -> list[tuple[Path, Path]]:
    """Each photo with the file of its result; what is `used` as painting or mask is no photo. Says what is left out."""
    found = photos_in(photos, without=[*used, *([output] if output else [])])
    targets = targets_for(found.photos, names, output)
    work = [(photo.path, target) for photo, target in zip(found.photos, targets, strict=True)]
    if found.left_out:
        runtime.say(f"left out: {found.left_out}")
    if skip_existing:
        wanted = [(path, target) for path, target in work if not target.exists()]
        if len(wanted) < len(work):
            runtime.say(f"{len(work) - len(wanted)} of {len(work)} results exist already")
        return wanted
    return work


@dataclass(frozen=True)
class Saving:
    """How results are written."""

    quality: int
    strip: bool
    overwrite: bool
    skip_existing: bool

    def save(self, result: Result, target: Path) -> None:
        """Write a result to its file, or to the standard output."""
        if target == STANDARD:
            kept = None if self.strip else result.metadata
            data = encode_image(
                "PNG", result.pixels, alpha=result.alpha, recipe=result.recipe, bits=result.bits, metadata=kept
            )
            sys.stdout.buffer.write(data)
        else:
            result.save(target, overwrite=self.overwrite, quality=self.quality, strip=self.strip)


def _read(path: Path, size: int | None) -> Picture:
    if path == STANDARD:
        return read_file(sys.stdin.buffer, "the standard input", size)
    return load_image(path, size=size)


def _options(values: dict[str, Any], runtime: Runtime) -> StylizeOptions:
    """The options given; which of them stand on the command line decides what is refused."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    where = {"device": runtime.device.name, "precision": runtime.device.precision}
    return take(StylizeOptions, values, gatys=take(GatysOptions, values), chosen=frozenset(given), **where)


def _stylize_all(
    stylizer: Stylizer, work: list[tuple[Path, Path]], alone: Picture | None, runtime: Runtime, saving: Saving
) -> None:
    failures = 0  # of several photos a bad one is reported at once, and the others go on
    for path, target in work:
        try:
            # Another program may work on the same folder.
            with claimed(target) if saving.skip_existing else nullcontext(target) as claim:
                if claim is None or (saving.skip_existing and target.exists()):
                    continue
                picture = alone or _read(path, stylizer.options.size)
                runtime.warn(path, picture)
                _stylize_one(stylizer, path, picture, target, runtime, saving, claim)
        except FileExistsError as error:
            if not saving.skip_existing:
                raise
            runtime.say(f"{path}: {one_line(error)}: another program was quicker")
        except USER_ERRORS as error:
            if len(work) == 1:
                raise
            click.echo(f"{path}: {one_line(error)}", err=True)
            failures += 1
    if failures:
        raise NanostyleError(f"{failures} of {len(work)} photos could not be stylized; the messages above say why")


def _stylize_one(
    stylizer: Stylizer, path: Path, photo: Picture, target: Path, runtime: Runtime, saving: Saving, claim: Path
) -> None:
    """Stylize a photo and save the result; after Ctrl-C or divergence, the last picture there was."""
    progress = Progress(path.name, quiet=runtime.quiet)
    step: Step | None = None
    try:
        with closing(stylizer.steps(photo, name=path.name)) as steps:
            for step in steps:
                note = "" if step.loss is None else f"loss {step.loss:.4g}  {shares(step.terms)}"
                progress.show(step.done, step.total, note)
                if saving.skip_existing:
                    renew(claim)
    finally:
        progress.close()
        if step is not None:
            height, width = step.picture.pixels.shape[:2]
            saving.save(step.picture, target)
            runtime.say(f"{target}  ({width}x{height})")
