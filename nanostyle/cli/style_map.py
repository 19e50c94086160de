"""`nanostyle style-map`."""

from pathlib import Path

import click

import nanostyle
from nanostyle.cli.options import PATH, overwrite_option
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.targets import check_apart
from nanostyle.cli.terminal import printable
from nanostyle.errors import NanostyleError
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import check_writable, save_image
from nanostyle.io.pictures import style_files
from nanostyle.io.resample import fitted, resize
from nanostyle.methods.style_map import CELL, predicted_vectors, row_vectors, style_map
from nanostyle.models.load import load_model
from nanostyle.models.multistyle import Model
from nanostyle.models.registry import built_in


@click.command("style-map")
@click.argument("art", nargs=-1, type=PATH)
@click.option(
    "--model",
    metavar="FILE",
    type=PATH,
    help="The model that compares them. Default: the built-in `any`.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    default=Path("map.png"),
    show_default=True,
    help="Where the map goes.",
)
@overwrite_option
@common
def style_map_command(
    art: tuple[Path, ...],
    model: Path | None,
    output: Path,
    overwrite: bool,
    runtime: Runtime,
) -> None:
    """Draw a map of paintings on which similar styles lie close together, and list the nearest ones of each.

    ART is a painting or a folder of paintings. Without ART, --model names a model of many styles, whose own styles are
    mapped.
    """
    path = model or built_in("any")
    if path is None:
        raise NanostyleError("style-map: the model `any` is not installed", hint="name a model with {model}")
    check_writable(output, overwrite=overwrite)
    trained = load_model(path, device=runtime.device)
    if isinstance(trained, Model):
        if art:
            raise click.UsageError(f"style-map: {path} knows only its own styles; leave out ART")
        vectors, names, pictures = row_vectors(trained)
    else:
        if not art:
            raise click.UsageError("style-map: expected paintings, got none; add ART")
        files = style_files(art)
        check_apart(files.values(), [output])
        styles, pictures = [], []
        for name, file in files.items():
            picture = load_image(file)
            runtime.warn(file, picture)
            styles.append(trained.style(picture.pixels, name=name))
            # Whole, hundreds of them would fill the memory.
            pictures.append(resize(picture.pixels, fitted(picture.pixels.shape[:2], CELL)))
        vectors, names = predicted_vectors(styles), list(files)
    found = style_map(vectors, names)
    for i, name in enumerate(names):
        near = ", ".join(f"{other} {distance:.3g}" for other, distance in found.nearest(i))
        click.echo(printable(f"{name}: {near}"))
    recipe = {"nanostyle": nanostyle.__version__, "model": path.name, "paintings": names}
    save_image(output, found.draw(pictures), recipe=recipe, overwrite=overwrite)
    if not runtime.quiet:
        click.echo(printable(f"{output}: {100 * found.share:.0f} % of the variance on the map"), err=True)
