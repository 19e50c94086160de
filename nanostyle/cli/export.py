"""`nanostyle export`."""

from pathlib import Path
from typing import Any

import click

from nanostyle.cli.options import PATH, debug_option, options_of, overwrite_option, quiet_option, take
from nanostyle.cli.terminal import printable
from nanostyle.export.onnx import ExportOptions, export_onnx


@click.command()
@click.argument("model")
@click.argument("output", metavar="OUT.onnx", type=PATH)
@options_of(ExportOptions)
@overwrite_option
@quiet_option
@debug_option
def export(model: str, output: Path, overwrite: bool, quiet: bool, debug: bool, **values: Any) -> None:
    """Write MODEL as an ONNX file, for pictures of any size.

    MODEL is a file, any or styles. A model for any painting gives a second file, OUT.style.onnx, which turns a painting
    into the embedding that the first one takes.

    \b
    nanostyle export any any.onnx
    nanostyle export styles scream.onnx --style scream_munch --layout nchw --storage float16
    """
    for path in export_onnx(model, output, take(ExportOptions, values), overwrite=overwrite):
        if not quiet:
            click.echo(printable(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)"), err=True)
