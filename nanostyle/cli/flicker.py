"""`nanostyle bench flicker`."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from nanostyle.cli.options import PATH, overwrite_option
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.terminal import ProgressBar
from nanostyle.io.atomic import check_target, write
from nanostyle.io.folders import look_through
from nanostyle.io.image_read import load_image
from nanostyle.methods.flicker import Row, made_clips, rows_of
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.temporal import Stability

_WAYS: tuple[Stability, ...] = ("lock", "on", "high")
_MOVING = 9  # the clips whose flicker is measured; the others measure what stays behind


@click.command()
@click.option(
    "--photos", metavar="DIR", required=True, type=PATH, help="Photos that the clips are made of: two or more."
)
@click.option("--style-image", "style_images", metavar="ART", multiple=True, type=PATH, help="A painting; repeat it.")
@click.option("--style", "styles", metavar="NAME", multiple=True, help="A style of a trained model; repeat it.")
@click.option("--model", metavar="FILE", type=PATH, help="A trained model. Default: built in.")
@click.option("--json", "report", metavar="FILE", type=PATH, help="Write the rows as JSON.")
@overwrite_option
@common
def flicker(
    photos: Path,
    style_images: tuple[Path, ...],
    styles: tuple[str, ...],
    model: Path | None,
    report: Path | None,
    overwrite: bool,
    runtime: Runtime,
) -> None:
    """Measure how much stylized video flickers, on clips with known motion that are made of photos.

    Each line is a clip, painted with `--stability off`, `lock`, `on` and `high`, and `smooth`: frames painted alone and
    mixed with 0.3 of the last result. A cell is flicker / sharpness / ghost. Flicker and ghost are rms of 255.
    """
    wanted: list[Path | str] = [*style_images, *styles]
    if not wanted:
        raise click.UsageError("flicker: expected a style, got none; add --style-image ART, or --style NAME")
    if report is not None:
        check_target(report, overwrite=overwrite)
    pictures = [load_image(path).pixels for path in look_through(photos).pictures]
    progress = ProgressBar("flicker", quiet=runtime.quiet)
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    done, total = 0, len(wanted) * len(pictures)
    for style in wanted:
        stylizer = Stylizer(style, model=model, device=runtime.device.name, precision=runtime.device.precision)
        for i, photo in enumerate(pictures):
            clips = made_clips(photo, pictures[i - 1])
            for way, row in rows_of(clips, lambda pixels, shift, s=stylizer: s.render(pixels, shift=shift), _WAYS):  # type: ignore[misc]
                found[row.clip, way].append(row)
            done += 1
            progress.show(done, total)
    progress.close()
    table = {key: _together(rows) for key, rows in found.items()}
    _print(table)
    if report is not None:
        rows = [{"clip": clip, "way": way, **values} for (clip, way), values in table.items()]
        write(report, json.dumps(rows, indent=1), overwrite=overwrite)


def _together(rows: Sequence[Row]) -> dict[str, float]:
    """Roots of mean squares of flicker and ghost, the mean and the least of sharpness."""
    sharp = [row.sharpness for row in rows]
    return {
        "flicker": float(np.sqrt(np.mean([row.flicker**2 for row in rows]))),
        "sharpness": float(np.mean(sharp)),
        "least_sharpness": min(sharp),
        "ghost": float(np.sqrt(np.mean([row.ghost**2 for row in rows]))),
    }


def _print(table: dict[tuple[str, str], dict[str, float]]) -> None:
    ways = ["off", "smooth", *_WAYS]
    clips = list(dict.fromkeys(clip for clip, _ in table))
    click.echo(f"{'clip':<10}" + "".join(f"{way:>20}" for way in ways))
    for clip in clips:
        cells = (table[clip, way] for way in ways)
        click.echo(f"{clip:<10}" + "".join(f"{_cell(cell):>20}" for cell in cells))
    gains = {way: _gain(table, clips[:_MOVING], way) for way in ways}
    click.echo(f"{'calmer':<10}" + "".join(f"{gains[way]:>18.2f} x" for way in ways))


def _cell(cell: dict[str, float]) -> str:
    return f"{cell['flicker']:.2f} / {cell['sharpness']:.2f} / {cell['ghost']:.1f}"


def _gain(table: dict[tuple[str, str], Any], clips: Sequence[str], way: str) -> float:
    """The geometric mean of the flicker of frames painted alone over that of a way."""
    ratios = [max(table[clip, "off"]["flicker"], 1e-6) / max(table[clip, way]["flicker"], 1e-6) for clip in clips]
    return float(np.exp(np.mean(np.log(ratios))))
