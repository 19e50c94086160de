"""Floor 5: the command line. It reads arguments, shows progress, writes files; everything else is below."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import nanostyle
from nanostyle import arrays, image, weightfile
from nanostyle.cli_options import options_of, take
from nanostyle.errors import NanostyleError
from nanostyle.methods.colors import keep_colors
from nanostyle.methods.gatys import GatysOptions, Step, gatys
from nanostyle.methods.models import default_loss_network, loss_network
from nanostyle.terminal import Progress, fail, shares

SETTINGS = {
    "help_option_names": ["-h", "--help"],
    "auto_envvar_prefix": "NANOSTYLE",
    "max_content_width": 100,
}


def main(args: list[str] | None = None) -> None:
    """Run the command line; never returns. Exit status 0, 2 for the user's errors, 1 for ours, 130 for Ctrl-C."""
    debug = "--debug" in (sys.argv[1:] if args is None else args)
    try:
        nanostyle_command.main(args, prog_name="nanostyle", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        fail(error, debug=debug)
    sys.exit(0)


def common(command: Any) -> Any:
    """The options that every working command has."""
    for option in (
        click.option("--debug", is_flag=True, help="Show the whole traceback of an error."),
        click.option("--quiet", is_flag=True, help="Write nothing but errors."),
        click.option("--threads", type=int, default=None, help="Default: all processors, or NANOSTYLE_THREADS."),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="Where to run.",
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings=SETTINGS)
@click.version_option(nanostyle.__version__, prog_name="nanostyle")
def nanostyle_command() -> None:
    """Neural style transfer from scratch on NumPy and CuPy."""


# --- stylize ----------------------------------------------------------------------------------------------


@nanostyle_command.command()
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--style-image",
    "style_images",
    metavar="ART",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A painting; may be repeated, to blend.",
)
@click.option("--weight", "weights", multiple=True, type=float, help="Share of each style, in order. Default: equal.")
@click.option(
    "--method",
    type=click.Choice(["auto", "gatys"]),
    default="auto",
    show_default=True,
    help="gatys: optimise the pixels.",
)
@click.option("--size", type=click.IntRange(min=1), help="Long side of the result in pixels. Default: the photo's.")
@click.option(
    "--colors",
    type=click.Choice(["style", "content"]),
    default="style",
    show_default=True,
    help="Whose colours the result has.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A file, or a folder for several photos. Default: PHOTO_ART beside where you are.",
)
@click.option("--overwrite", is_flag=True, help="Replace results that exist.")
@click.option("--loss-net", metavar="NAME|FILE", help="builtin, vgg16, vgg19 or a file. Default: the first there is.")
@click.option("--pooling", type=click.Choice(["max", "avg"]), help="Default: as the loss network's file says.")
@click.option("--padding", type=click.Choice(["zero", "reflect"]), help="Default: as the loss network's file says.")
@options_of(GatysOptions)
@common
def stylize(
    photos: tuple[Path, ...],
    style_images: tuple[Path, ...],
    weights: tuple[float, ...],
    method: str,
    size: int | None,
    colors: str,
    output: Path | None,
    overwrite: bool,
    loss_net: str | None,
    pooling: str | None,
    padding: str | None,
    device: str,
    threads: int | None,
    quiet: bool,
    debug: bool,
    **values: Any,
) -> None:
    """Give each PHOTO the style of a painting.

    \b
    nanostyle stylize photo.jpg --style-image painting.jpg
    nanostyle stylize *.jpg --style-image a.jpg --style-image b.jpg --weight 2 --weight 1 -o results/
    """
    arrays.set_threads(threads)
    device = arrays.pick_device(device)
    options = take(GatysOptions, values)
    if not style_images:
        raise click.UsageError("stylize: expected a painting, got none; add --style-image ART")
    paths = list(_photos(photos))
    targets = _targets(paths, style_images, output, overwrite)
    styles = [image.load(path).pixels for path in style_images]
    path = weightfile.find(loss_net) if loss_net else default_loss_network()
    network = loss_network(path, pooling=pooling, padding=padding, device=device)
    recipe = {
        "nanostyle": nanostyle.__version__,
        "method": "gatys",
        "styles": [p.name for p in style_images],
        "weights": list(weights) or None,
        "loss_net": path.name,
        "loss_net_sha256": weightfile.sha256(path),
        "colors": colors,
        "device": device,
        **asdict(options),
    }
    if not quiet:
        click.echo(f"method gatys, loss network {path}, device {device}", err=True)

    failures = 0
    for photo, target in zip(paths, targets, strict=True):
        try:
            picture = image.load(photo, size=size)
            steps = gatys(picture.pixels, styles, network, options, style_weights=weights, device=device)
            _finish(photo, picture, target, steps, recipe, colors=colors, quiet=quiet)
        except (NanostyleError, ValueError, OSError) as error:
            if len(paths) == 1:
                raise
            # One bad photo of many is told at once, and the others go on.
            click.echo(f"Error: {photo}: {error}", err=True)
            failures += 1
    if failures:
        raise NanostyleError(f"{failures} of {len(paths)} photos could not be stylised; the messages above say why")


def _photos(given: tuple[Path, ...]) -> Iterator[Path]:
    """The photos named, and those in the folders named."""
    for path in given:
        if path.is_dir():
            yield from image.find_pictures(path)
        else:
            yield path


def _targets(photos: list[Path], styles: tuple[Path, ...], output: Path | None, overwrite: bool) -> list[Path]:
    """Where each result goes; raises now what would fail after the work is done."""
    ending = "_".join(style.stem for style in styles)
    if output is not None and len(photos) == 1 and not output.is_dir() and output.suffix:
        targets = [output]
    else:
        folder = output or Path()
        if output is not None:
            if output.suffix and not output.is_dir():
                raise ValueError(f"output: {len(photos)} photos need a folder, got the file name {output}")
            folder.mkdir(parents=True, exist_ok=True)
        known = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
        targets = [
            folder / f"{p.stem}_{ending}{p.suffix.lower() if p.suffix.lower() in known else '.png'}" for p in photos
        ]
    if len(set(targets)) < len(targets):
        raise ValueError("output: two photos have the same name; stylise them into different folders")
    for target in targets:
        image.check_writable(target, overwrite=overwrite)
    return targets


def _finish(
    photo: Path,
    picture: image.Picture,
    target: Path,
    steps: Iterator[Step],
    recipe: dict[str, Any],
    *,
    colors: str,
    quiet: bool,
) -> None:
    """Run the optimisation to its end and save the picture; on Ctrl-C or divergence, the last good one."""
    progress = Progress(photo.name, quiet=quiet)
    step: Step | None = None
    try:
        for step in steps:
            progress.show(step.iteration, step.iterations, f"loss {step.loss:.4g}  {shares(step.terms)}")
    finally:
        progress.close()
        # A half-done coarse level is of another size than the photo: `finished` brings it to the full one.
        if step is not None:
            pixels = image.resize(step.pixels, picture.pixels.shape[:2])
            if colors == "content":
                pixels = keep_colors(pixels, picture.pixels)
            note = {**recipe, "photo": photo.name, "iteration": step.iteration, "loss": step.loss, "terms": step.terms}
            image.save(target, pixels, alpha=picture.alpha, recipe=note)
            if not quiet:
                click.echo(f"{target}  ({pixels.shape[1]}x{pixels.shape[0]}, {step.iteration} iterations)", err=True)


# --- weights ----------------------------------------------------------------------------------------------


@nanostyle_command.group(context_settings=SETTINGS)
def weights() -> None:
    """Weights of loss networks: get, convert, look into."""


@weights.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--padding", type=click.Choice(["zero", "reflect"]), help="Default: as the network was trained.")
@click.option("--pooling", type=click.Choice(["max", "avg"]), default="max", show_default=True)
@click.option("--storage", type=click.Choice(["float32", "float16", "uint8"]), default="float32", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace DESTINATION if it exists.")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def weights_convert(source: Path, destination: Path, overwrite: bool, debug: bool, **options: Any) -> None:
    """Convert VGG-16 or VGG-19 weights from .pth, .safetensors, Keras .h5 or .npz to nanostyle's HDF5."""
    from nanostyle.convert import convert

    if destination.exists() and not overwrite:
        raise FileExistsError(f"{destination} exists already; choose another name or pass --overwrite")
    result = convert(source, destination, **options)
    click.echo(f"{destination}: {result.config['architecture']}, {len(result.parameters) // 2} convolutions")


@weights.command("fetch")
@click.argument("name", type=click.Choice(["vgg16", "vgg19"]))
@click.option("--url", help="A mirror of the published file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: the user's cache.")
@click.option("--quiet", is_flag=True, help="Write nothing but errors.")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def weights_fetch(name: str, url: str | None, output: Path | None, quiet: bool, debug: bool) -> None:
    """Download published weights, check their SHA-256, and convert them."""
    from nanostyle.fetch import fetch

    progress = Progress(name, quiet=quiet)
    try:
        for p in fetch(name, output, url=url):
            progress.show(p.done >> 20, None if p.total is None else p.total >> 20, "MB")
    finally:
        progress.close()
    if not quiet:
        click.echo(str(output or weightfile.find(name)))


@weights.command("info")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def weights_info(file: Path, debug: bool) -> None:
    """Say what a weights file holds."""
    for label, value in weightfile.describe(weightfile.find(file)).items():
        if value != "":
            click.echo(f"{label + ':':<15}{value}")


# --- gradcheck, info --------------------------------------------------------------------------------------


@nanostyle_command.command()
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def gradcheck(seed: int, debug: bool) -> None:
    """Compare every gradient with finite differences, in float64, and print the table."""
    from nanostyle.cases import check_all

    rows = []
    for row in check_all(seed):
        rows.append(row)
        click.echo(f"{row.error:8.1e}  {'ok  ' if row.error < 1e-6 else 'FAIL'}  {row.name}")
    failed = [row for row in rows if not row.error < 1e-6]
    checks = sum(row.checks for row in rows)
    click.echo(f"{len(rows)} rows, {checks} checks, worst relative error {max(row.error for row in rows):.1e}")
    if failed:
        raise RuntimeError(f"{len(failed)} gradients are not the derivative: {', '.join(row.name for row in failed)}")


@nanostyle_command.command()
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def info(debug: bool) -> None:
    """Show versions, device, threads and the models found."""
    for label, value in _facts():
        click.echo(f"{label + ':':<15}{value}")


def _facts() -> Iterator[tuple[str, str]]:
    import platform

    import h5py
    import numpy as np
    import PIL
    from threadpoolctl import threadpool_info

    yield "nanostyle", nanostyle.__version__
    yield "python", platform.python_version()
    yield "numpy", np.__version__
    yield "pillow", PIL.__version__
    yield "h5py", h5py.__version__
    yield "cupy", arrays.cupy().__version__ if arrays.cupy() else "not installed"  # type: ignore[union-attr]
    yield "device", arrays.pick_device("auto")
    yield "threads", str(arrays.threads())
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            yield "blas", f"{pool['internal_api']} {pool['version']}, {pool.get('architecture', '')}"
    for name in weightfile.FILES:
        try:
            yield name, str(weightfile.find(name))
        except FileNotFoundError:
            yield name, "not found"
