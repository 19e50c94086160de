"""`nanostyle stylize`: photos in, stylized pictures out, by whichever method."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nanostyle.backend.comm.world import world
from nanostyle.cli.again import Again, follow
from nanostyle.cli.batch import Batch, Saving, Work, read_photo
from nanostyle.cli.options import PATH, model_option, options_of, overwrite_option, style_image_option, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.targets import STANDARD, check_apart, label, photos_in, targets_for
from nanostyle.io.atomic import check_target
from nanostyle.io.image_read import MAX_PIXELS, Picture
from nanostyle.io.image_write import check_writable
from nanostyle.io.picture_rows import size_in_rows
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.methods.request import StylizeOptions
from nanostyle.methods.result import QUALITY
from nanostyle.methods.stylizer import Stylizer
from nanostyle.models.style import Style

_LEAST = 100  # bytes of memory that any way takes for each pixel of a photo, at the least


@click.command()
@click.argument("photos", metavar="PHOTO...", nargs=-1, type=PATH)
@click.option(
    "--from",
    "again",
    metavar="RESULT",
    type=PATH,
    is_eager=True,
    callback=follow,
    help="Repeat an earlier result by its recipe, or do the same to other photos. Options that are given go first.",
)
@style_image_option
@click.option(
    "--style",
    "styles",
    metavar="NAME|FILE",
    multiple=True,
    help="A style of a trained model (see `nanostyle styles`), or a file of --save-style. Repeat it to blend several;"
    " beside --style-image it comes after the paintings.",
)
@model_option
@click.option(
    "--save-style",
    metavar="FILE.h5",
    type=PATH,
    help="Keep the style of the paintings in a small file, for --style. For method predict.",
)
@options_of(StylizeOptions, leave_out=("gatys", "device", "precision", "threads", "chosen"))
@options_of(GatysOptions)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="A file, a folder for several photos, or - for a PNG on the standard output. Default: PHOTO_STYLE in the"
    " current folder.",
)
@overwrite_option
@click.option("--skip-existing", is_flag=True, help="Skip photos whose result exists: to continue with a folder.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=QUALITY,
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
    again: Again | None,
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
    nanostyle stylize --from result.png other.jpg
    """
    if again is not None:
        photos, style_images, styles, model = again.completed(photos, style_images, styles, model, values)
    if not photos:
        raise click.UsageError("stylize: expected a photo, got none")
    names = [*(path.stem for path in style_images), *map(label, styles)] or [model.stem if model else ""]
    used = [*style_images, *map(Path, values["masks"])]
    suffix = again.suffix if again else None
    work: list[Work] = []

    def plan() -> int:
        work.extend(_planned(photos, names, used, output, runtime, suffix=suffix, skip_existing=skip_existing))
        targets = [*(target for _, target in work), *([save_style] if save_style else [])]
        check_apart([Path(file) for file in (*used, *styles, model, values["loss_net"]) if file], targets)
        _check_targets(work, save_style, overwrite=overwrite, skip_existing=skip_existing)
        return len(work)

    # Rank 0 alone looks for photos and results: a thousand ranks would bring a file server to its knees.
    count = world().first(plan)
    if not count and save_style is None:
        return
    options = _options(values, runtime)
    # An error in the only photo comes before all work.
    alone = world().first(lambda: _read_first(work[0][0], options) if count == 1 else None)
    stylizer = Stylizer([*style_images, *styles], model=model, options=options)
    if again is not None:
        for note in again.compare(stylizer, photos, alone):
            runtime.say(note)
    if save_style is not None:
        if not isinstance(stylizer.style, Style):
            raise click.UsageError("stylize: --save-style is for --style-image with method predict")
        style = stylizer.style
        world().first(lambda: style.save(save_style, overwrite=overwrite))
    runtime.say(f"{stylizer.title}, device {runtime.device}, {runtime.device.precision}")
    if count:
        Batch(stylizer, work, alone, runtime, Saving(quality, strip, overwrite, skip_existing), again).run()


def _read_first(photo: Path, options: StylizeOptions) -> Picture | None:
    """The photo, unless it is so large that it may be read in rows: the model knows that."""
    size = None if photo == STANDARD else size_in_rows(photo, size=options.size)
    if size is not None and size[0] * size[1] > min(MAX_PIXELS, (options.memory or MAX_PIXELS * _LEAST) // _LEAST):
        return None
    return read_photo(photo, options.size)


def _check_targets(work: Sequence[Work], save_style: Path | None, *, overwrite: bool, skip_existing: bool) -> None:
    """Raise where a result could not be written. A trial file is written once in each folder, not for each result."""
    folders: set[tuple[Path, str]] = set()
    for _, target in work:
        if target == STANDARD:
            continue
        if (target.parent, target.suffix) not in folders or target.exists():
            check_writable(target, overwrite=overwrite or skip_existing)
        folders.add((target.parent, target.suffix))
    if save_style is not None:
        check_target(save_style, overwrite=overwrite)


def _planned(
    photos: Sequence[Path],
    names: Sequence[str],
    used: Sequence[Path],
    output: Path | None,
    runtime: Runtime,
    *,
    suffix: str | None,
    skip_existing: bool,
) -> list[Work]:
    """Each photo with the file of its result; what is `used` as painting or mask is no photo. Says what is left out."""
    found = photos_in(photos, without=[*used, *([output] if output else [])])
    targets = targets_for(found.photos, names, output, suffix=suffix)
    work = [(photo.path, target) for photo, target in zip(found.photos, targets, strict=True)]
    if found.left_out:
        runtime.say(f"left out: {found.left_out}")
    if skip_existing:
        wanted = [(path, target) for path, target in work if not target.exists()]
        if len(wanted) < len(work):
            runtime.say(f"{len(work) - len(wanted)} of {len(work)} results exist already")
        return wanted
    return work


def _options(values: dict[str, Any], runtime: Runtime) -> StylizeOptions:
    """The options given; which of them stand on the command line decides what is refused."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    where = {"device": runtime.device.name, "precision": runtime.device.precision}
    return take(StylizeOptions, values, gatys=take(GatysOptions, values), chosen=frozenset(given), **where)
