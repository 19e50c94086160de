"""`nanostyle video`: a moving picture in, a stylized one out."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np

from nanostyle.cli.options import model_option, options_of, overwrite_option, style_image_option, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.terminal import Progress, clock
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import check_target, sha256, write
from nanostyle.io.claim import claimed
from nanostyle.io.video import library
from nanostyle.io.video.animation import SUFFIXES, is_animation
from nanostyle.io.video.clip import Clip
from nanostyle.io.video.encode import CONTAINERS
from nanostyle.io.video.numbered import holds_frames, is_pattern
from nanostyle.io.video.parts import Parts
from nanostyle.io.video.read import open_clip
from nanostyle.io.video.sinks import FramesSink, sink_of
from nanostyle.methods.request import StylizeOptions
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.video import VideoRun
from nanostyle.methods.video_options import VideoOptions

_LEARNED = 16  # frames after which the time for the rest is told
_NOT_OF_VIDEO = ("gatys", "device", "precision", "threads", "chosen", "size", "loss_net", "pooling", "padding", "masks")


class _Time(click.ParamType[float]):
    """Seconds, or h:mm:ss."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float | int):
            return float(value)
        try:
            parts = [float(part) for part in str(value).split(":")]
        except ValueError:
            parts = []
        if not 1 <= len(parts) <= 3 or any(part < 0 or part != part for part in parts):
            self.fail(f"expected seconds or h:mm:ss, got {value!r}", param, ctx)
        return sum(part * 60.0**i for i, part in enumerate(reversed(parts)))


@click.command(short_help="Stylize a video, an animation, or numbered frames.")
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The result; see above.")
@style_image_option
@click.option(
    "--style", "styles", metavar="NAME|FILE", multiple=True, help="A style of a trained model, or a saved style."
)
@model_option
@click.option(
    "--mask",
    "masks",
    metavar="IMAGE|VIDEO",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where each style goes: a picture, or a moving picture with a mask for each frame.",
)
@options_of(StylizeOptions, leave_out=_NOT_OF_VIDEO)
@options_of(VideoOptions, leave_out=("start", "end"))
@click.option("--start", type=_Time(), default=0.0, help="Where to begin: seconds or h:mm:ss.")
@click.option("--end", type=_Time(), help="Where to end: seconds or h:mm:ss. Default: the end.")
@click.option("--json", "report", metavar="FILE", type=click.Path(path_type=Path), help="Write a report as JSON.")
@overwrite_option
@common
def video(
    source: Path,
    output: Path,
    style_images: tuple[Path, ...],
    styles: tuple[str, ...],
    model: Path | None,
    masks: tuple[Path, ...],
    report: Path | None,
    overwrite: bool,
    runtime: Runtime,
    **values: Any,
) -> None:
    """Stylize a moving picture, with strokes that stay where they are. Sound and subtitles are kept.

    INPUT is a video, an animated GIF, WebP or PNG, a folder of frames, or a pattern as frames/%06d.png. OUTPUT is a
    .mp4, .mov, .mkv, .webm, .gif, .webp or .png, a folder, or a pattern. Videos need the extra `video` (PyAV).

    \b
    nanostyle video holiday.mp4 --style-image art.jpg -o out.mp4
    nanostyle video cat.gif --style scream_munch --strength 0.8 -o cat.webp
    nanostyle video frames/%05d.png --rate 24 --style udnie_picabia -o film.mkv
    """
    options = take(VideoOptions, values)
    _check_output(source, output, overwrite=overwrite, resume=options.resume)
    _check_library(source, output)
    if report is not None:
        check_target(report, overwrite=overwrite)
    rate = None if options.rate is None else Fraction(options.rate).limit_denominator(1001)
    clip = open_clip(source, size=options.size, rate=rate)
    tracks = [open_clip(mask, size=max(clip.size), rate=rate) for mask in masks]
    stylizer = Stylizer([*style_images, *styles], model=model, options=_stylize_options(values, runtime, masks, tracks))
    plan = _plan(source, clip, [*style_images, *map(Path, styles), *masks], stylizer, options)
    with claimed(output) as claim:
        if claim is None:
            raise NanostyleError(
                f"{output} is being made by another run", hint="wait for it, or choose another {output}"
            )
        run = VideoRun(stylizer, clip, output, options, masks=_masks(tracks), plan=plan, overwrite=overwrite)
        _follow(run, runtime)
    if report is not None:
        write(report, json.dumps(run.report(), indent=1), overwrite=overwrite)
    if clip.skipped:
        click.echo(f"{source}: {clip.skipped} frames could not be read; {output} has the others", err=True)
        raise click.exceptions.Exit(1)


def _check_output(source: Path, output: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse an output that cannot be written, or is the source; frames of a run that goes on are there already."""
    kind = sink_of(output)
    if os.path.realpath(source) == os.path.realpath(output):
        raise ValueError(f"output: {output} is the source, and would be lost; choose another name")
    if kind is not FramesSink:
        check_target(output, overwrite=overwrite)
        return
    folder = output.parent if is_pattern(output) else output
    check_target(folder / "frame.png" if folder.is_dir() else folder, overwrite=True)
    goes_on = resume and Parts.of(output).folder.is_dir()
    if not (overwrite or goes_on) and folder.is_dir() and holds_frames(output):
        raise FileExistsError(f"{output} exists already; choose another output or pass --overwrite")


def _check_library(source: Path, output: Path) -> None:
    """Say that the extra is missing before anything is read."""
    if source.is_file():
        of_pictures = is_animation(source)
    else:
        of_pictures = source.is_dir() or is_pattern(source) or source.suffix.lower() in SUFFIXES
    if output.suffix.lower() in CONTAINERS or not of_pictures:
        library.pyav()


def _stylize_options(
    values: dict[str, Any], runtime: Runtime, masks: Sequence[Path], tracks: Sequence[Clip]
) -> StylizeOptions:
    """The options of each frame; of a mask that moves, its first frame stands for it."""
    if values["method"] == "gatys":
        raise NanostyleError("method gatys is not for video", hint="use another {method}")
    firsts = tuple(next(track.frames()).pixels for track in tracks)
    where = {"device": runtime.device.name, "precision": runtime.device.precision}
    return take(StylizeOptions, values, masks=firsts, **where)


def _masks(tracks: Sequence[Clip]) -> list[Any]:
    """Masks for the run: clips, and pictures as arrays."""
    return [
        track if track.count != 1 else next(track.frames()).pixels.mean(axis=-1, dtype=np.float32) / np.float32(255)
        for track in tracks
    ]


def _plan(source: Path, clip: Clip, read: Sequence[Path], stylizer: Stylizer, options: VideoOptions) -> dict[str, Any]:
    """What must not change between a run that was killed and the one that goes on, in values that JSON can hold."""
    kept = {key: value for key, value in dataclasses.asdict(options).items() if key not in ("resume", "keep_parts")}
    about = {key: value for key, value in stylizer.recipe_of(source.name).items() if key != "masks"}
    files = {str(path): sha256(path) for path in read if path.is_file()}
    return {**about, **kept, "files": files, "source": _fingerprint(clip), "motion": library.is_installed()}


def _fingerprint(clip: Clip) -> str:
    """Changes when the source does: of a file its size, date, first and last megabyte; of frames names and sizes."""
    digest = hashlib.sha256()
    if clip.path.is_file():
        with clip.path.open("rb") as file:
            stat = os.fstat(file.fileno())
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode() + file.read(1 << 20))
            file.seek(max(0, stat.st_size - (1 << 20)))
            digest.update(file.read())
    else:
        folder = clip.path.parent if is_pattern(clip.path) else clip.path
        for path in sorted(folder.iterdir()):
            digest.update(f"{path.name} {path.stat().st_size}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _follow(run: VideoRun, runtime: Runtime) -> None:
    """Run it, with a line of progress; Ctrl-C keeps what is done."""
    clip, begun = run.clip, len(run.tally.stamps)
    height, width = clip.size
    runtime.say(f"{run.stylizer.title}, device {runtime.device}, {runtime.device.precision}")
    memory = "" if run.memory is None else f", about {run.memory / 1e9:.1f} GB"
    there = f", {begun} are there already" if begun else ""
    runtime.say(f"{run.total or 'some'} frames of {width}x{height}{memory}{there}")
    progress = Progress(clip.path.name, quiet=runtime.quiet)
    start = time.monotonic()
    try:
        with closing(run.steps()) as steps:
            for step in steps:
                seconds = time.monotonic() - start
                rate = (step.done - begun) / seconds
                if step.total and step.done - begun == _LEARNED and step.total > 4 * step.done:
                    runtime.say(f"about {clock(seconds / _LEARNED * (step.total - step.done))} for the rest")
                progress.show(step.done, max(step.total, step.done) if step.total else None, f"{rate:.1f} frames/s")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{len(run.tally.stamps)} frames are kept; --resume goes on from there") from None
    finally:
        progress.close()
    for note in run.notes:
        runtime.say(f"{clip.path}: {note}")
    runtime.say(f"{run.output}  ({len(run.tally.stamps)} frames)")
