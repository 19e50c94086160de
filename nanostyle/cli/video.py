"""`nanostyle video`: a moving picture in, a stylized one out."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from nanostyle.backend.comm.world import world
from nanostyle.cli.options import PATH, model_option, options_of, overwrite_option, style_image_option, take
from nanostyle.cli.runtime import Runtime, common
from nanostyle.cli.targets import check_apart
from nanostyle.cli.terminal import ProgressBar, clock, printable
from nanostyle.io.atomic import check_target, write
from nanostyle.io.claim import claimed
from nanostyle.io.video.clip import Clip
from nanostyle.io.video.read import open_clip
from nanostyle.methods.frame_passes import paint_for_first
from nanostyle.methods.request import StylizeOptions
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.video import MaskTrack, VideoRun
from nanostyle.methods.video_file import check_claim, check_files, check_method, first_of, mask_track, plan_of, renew
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
@click.argument("source", metavar="INPUT", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="The result; see above.")
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
    type=PATH,
    help="Where each style goes: a picture, or a moving picture with a mask for each frame.",
)
@options_of(StylizeOptions, leave_out=_NOT_OF_VIDEO)
@options_of(VideoOptions, leave_out=("start", "end"))
@click.option("--start", type=_Time(), default=0.0, help="Where to begin: seconds or h:mm:ss.")
@click.option("--end", type=_Time(), help="Where to end: seconds or h:mm:ss. Default: the end.")
@click.option("--json", "report", metavar="FILE", type=PATH, help="Write a report as JSON.")
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
    given = [*style_images, *map(Path, styles), *masks, *([model] if model else [])]
    world().first(lambda: check_apart(given, [path for path in (output, report) if path]))
    film = _Film(source, output, take(VideoOptions, values), report, overwrite=overwrite)
    check_method(values["method"])
    # Rank 0 alone reads and writes; what it meets all meet.
    firsts = world().first(lambda: film.open(masks))
    where = {"device": runtime.device.name, "precision": runtime.device.precision}
    stylizer = Stylizer(
        [*style_images, *styles], model=model, options=take(StylizeOptions, values, masks=firsts, **where)
    )
    with ExitStack() as held:
        world().first(lambda: film.begin(stylizer, [*style_images, *styles, *masks], held))
        if not world().is_first:
            paint_for_first(stylizer, world())
        skipped = world().first(lambda: film.make(runtime))
    if skipped:
        raise click.exceptions.Exit(1)


@dataclass
class _Film:
    """A source on its way to a result, as rank 0 has it."""

    source: Path
    output: Path
    options: VideoOptions
    report: Path | None
    overwrite: bool
    clip: Clip = field(init=False)
    tracks: Sequence[MaskTrack] = field(init=False)
    run: VideoRun = field(init=False)
    claim: Path | None = field(init=False)

    def open(self, masks: Sequence[Path]) -> tuple[Any, ...]:
        """Look at source, masks and output. Of a mask that moves, its first frame stands for it in the options."""
        check_files(self.source, self.output, overwrite=self.overwrite, resume=self.options.resume)
        if self.report is not None:
            check_target(self.report, overwrite=self.overwrite)
        self.clip = open_clip(self.source, size=self.options.size, rate=self.options.frame_rate)
        self.tracks = [mask_track(mask, self.clip, self.options) for mask in masks]
        return tuple(map(first_of, self.tracks))

    def begin(self, stylizer: Stylizer, read: Sequence[Any], held: ExitStack) -> None:
        """Claim the result for as long as `held` is, and take up what an earlier run has left."""
        plan = plan_of(self.clip, read, stylizer, self.options)
        self.claim = held.enter_context(claimed(self.output))
        check_claim(self.output, self.claim)
        self.run = VideoRun(
            stylizer,
            self.clip,
            self.output,
            self.options,
            masks=self.tracks,
            plan=plan,
            overwrite=self.overwrite,
            ranks=world(),
        )

    def make(self, runtime: Runtime) -> bool:
        """Make the result and the report; whether frames could not be read."""
        _follow(self.run, runtime, self.claim)
        if self.report is not None:
            write(self.report, json.dumps(self.run.report(), indent=1), overwrite=self.overwrite)
        skipped = self.clip.skipped
        if skipped:
            text = f"{self.source}: {skipped} frames could not be read; {self.output} has the others"
            click.echo(printable(text), err=True)
        return skipped > 0


def _follow(run: VideoRun, runtime: Runtime, claim: Path | None) -> None:
    """Run it, with a line of progress; Ctrl-C keeps what is done."""
    clip, begun = run.clip, len(run.tally.stamps)
    height, width = clip.size
    runtime.say(f"{run.stylizer.title}, device {runtime.device}, {runtime.device.precision}")
    memory = "" if run.memory is None else f", about {run.memory / 1e9:.1f} GB"
    there = f", {begun} are there already" if begun else ""
    runtime.say(f"{run.total or 'some'} frames of {width}x{height}{memory}{there}")
    progress = ProgressBar(clip.path.name, quiet=runtime.quiet)
    start = time.monotonic()
    try:
        with closing(run.steps()) as steps:
            for step in steps:
                renew(claim)
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
