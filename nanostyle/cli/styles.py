"""`nanostyle styles`."""

from pathlib import Path

import click

from nanostyle.cli.options import PATH, overwrite_option
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.targets import check_apart
from nanostyle.cli.terminal import printable
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import check_writable, save_image
from nanostyle.methods.style_sheet import style_sheet
from nanostyle.models.multistyle import load_multistyle
from nanostyle.models.registry import TRAINED, find


@click.command()
@click.argument("model", default="styles", type=PATH)
@click.option(
    "--sheet",
    "photo",
    metavar="PHOTO",
    type=PATH,
    help="Draw this photo in every style, on one sheet.",
)
@click.option(
    "--size", type=click.IntRange(min=1), default=512, show_default=True, help="Long side of the photo, in pixels."
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    default=Path("sheet.png"),
    show_default=True,
    help="Where the sheet goes.",
)
@overwrite_option
@common
def styles(
    model: Path,
    photo: Path | None,
    size: int,
    output: Path,
    overwrite: bool,
    runtime: Runtime,
) -> None:
    """List the styles of MODEL (default: the built-in `styles`), or draw a photo in all of them with --sheet."""
    model = find(model, TRAINED)
    trained = load_multistyle(model, device=runtime.device)
    if photo is None:
        for name in trained.styles:
            click.echo(printable(name))
        return
    check_apart([photo, model], [output])
    check_writable(output, overwrite=overwrite)
    picture = load_image(photo, size=size)
    runtime.warn(photo, picture)
    drawn = style_sheet(trained, picture.pixels)
    save_image(
        output, drawn, recipe={"model": model.name, "photo": photo.name, "styles": trained.styles}, overwrite=overwrite
    )
    if not runtime.quiet:
        click.echo(printable(f"{output}  ({drawn.shape[1]}x{drawn.shape[0]})"), err=True)
