"""A moving picture from file to file: what is looked at before the first frame, and all of it in one call."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import check_target, sha256
from nanostyle.io.claim import claimed
from nanostyle.io.formats import READABLE
from nanostyle.io.sources import Source, as_list, read_source
from nanostyle.io.video import library
from nanostyle.io.video.animation import SUFFIXES, is_animation
from nanostyle.io.video.clip import Clip
from nanostyle.io.video.encode import CONTAINERS
from nanostyle.io.video.numbered import holds_frames, is_pattern
from nanostyle.io.video.parts import Parts
from nanostyle.io.video.read import open_clip
from nanostyle.io.video.sinks import FramesSink, sink_of
from nanostyle.methods.choice import Model
from nanostyle.methods.masks import mask_of
from nanostyle.methods.stylizer import Stylizer
from nanostyle.methods.video import MaskTrack, VideoRun, VideoStep
from nanostyle.methods.video_options import VideoOptions
from nanostyle.methods.wanted import Wanted

PathLike = str | os.PathLike[str]


def stylize_video(
    source: PathLike,
    output: PathLike,
    style: Wanted | Sequence[Wanted] | None = None,
    *,
    model: Model | None = None,
    masks: Sequence[Source] = (),
    options: VideoOptions | None = None,
    progress: Callable[[VideoStep], object] | None = None,
    overwrite: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """Stylize a moving picture, with strokes that stay where they are. Sound and subtitles are kept.

    Parameters
    ----------
    source
        A video, an animated GIF, WebP or PNG, a folder of frames, or a pattern as `frames/%06d.png`.
    output
        A `.mp4`, `.mov`, `.mkv`, `.webm`, `.gif`, `.webp` or `.png`, a folder, or a pattern.
    style, model
        As in `stylize`; the method is one of one pass.
    masks
        Where each style goes: pictures as in `stylize`, or paths of moving pictures with a mask for each frame.
    options, changes
        A `VideoOptions`, and fields of it by name: `size=640`, `stability="high"`, `start=2.5`, `resume=True`; those
        of `StylizeOptions` too: `strength=0.7`, `colors="content"`.
    progress
        Called after each frame with a `VideoStep`: `done` and `total` frames. What it raises ends the run; the parts
        are kept, and `resume=True` goes on from there.
    overwrite
        Replace the output that is there.

    Returns
    -------
    dict
        What came of it: `frames`, `painted` (the others were carried), `seconds`, `size`, `cuts`, `flicker_of_source`,
        `flicker_of_result` (rms, of 255), `skipped` (frames that could not be read), `notes`, `recipe`.

    Raises
    ------
    OSError
        The source is missing or cannot be read; the output is there already, or cannot be written.
    ValueError, TypeError
        The source is no moving picture, a value is outside its range, or there is no option of that name.
    NanostyleError
        Style, model and options do not fit together; parts of another run are there; PyAV, the extra `video`, is not
        installed.

    Examples
    --------
    >>> import nanostyle
    >>> from PIL import Image
    >>> Image.open("docs/pictures/photo.jpg").resize((64, 48)).save("still.gif")
    >>> report = nanostyle.stylize_video("still.gif", "painted.webp", "scream_munch", strength=0.8)
    >>> report["frames"], report["size"], report["recipe"]["stability"]
    (1, [64, 48], 'on')
    """
    source, output, styles = Path(source), Path(output), as_list(style)
    of_video = {field.name for field in dataclasses.fields(VideoOptions)}
    own = {name: value for name, value in changes.items() if name in of_video}
    settings = dataclasses.replace(options or VideoOptions(), **own)
    others = {name: value for name, value in changes.items() if name not in of_video}
    check_method(others.get("method"))
    check_files(source, output, overwrite=overwrite, resume=settings.resume)
    clip = open_clip(source, size=settings.size, rate=settings.frame_rate)
    tracks = [mask_track(mask, clip, settings) for mask in masks]
    stylizer = Stylizer(styles, model=model, masks=[first_of(track) for track in tracks], **others)
    plan = plan_of(clip, [*styles, *masks], stylizer, settings)
    with claimed(output) as claim:
        check_claim(output, claim)
        run = VideoRun(stylizer, clip, output, settings, masks=tracks, plan=plan, overwrite=overwrite)
        with closing(run.steps()) as steps:
            for step in steps:
                renew(claim)
                if progress is not None:
                    progress(step)
    return run.report()


# --- before the first frame -------------------------------------------------------------------------------------------


def check_method(method: str | None) -> None:
    """Raise NanostyleError for a method that is not one pass."""
    if method == "gatys":
        raise NanostyleError("method gatys is not for video", hint="use another {method}")


def check_files(source: Path, output: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse an output that cannot be written, or is the source, and a kind of file that needs an extra.

    Frames of a run that goes on are there already.

    Raises
    ------
    ValueError, OSError
        As the message says.
    NanostyleError
        The extra `video` is not installed.
    """
    kind = sink_of(output)
    if os.path.realpath(source) == os.path.realpath(output):
        raise ValueError(f"output: {output} is the source, and would be lost; choose another name")
    if kind is FramesSink:
        _check_folder(output, overwrite=overwrite, resume=resume)
    else:
        check_target(output, overwrite=overwrite)
    if source.is_file():
        of_pictures = is_animation(source)
    else:
        of_pictures = source.is_dir() or is_pattern(source) or source.suffix.lower() in SUFFIXES
    if output.suffix.lower() in CONTAINERS or not of_pictures:
        library.pyav()


def _check_folder(output: Path, *, overwrite: bool, resume: bool) -> None:
    folder = output.parent if is_pattern(output) else output
    check_target(folder / "frame.png" if folder.is_dir() else folder, overwrite=True)
    goes_on = resume and Parts.of(output).folder.is_dir()
    if not (overwrite or goes_on) and folder.is_dir() and holds_frames(output):
        raise FileExistsError(f"{output} exists already; choose another output or pass --overwrite")


def mask_track(mask: Source, clip: Clip, options: VideoOptions) -> MaskTrack:
    """A mask for all frames of `clip`, or a clip with one for each.

    Raises
    ------
    OSError, ValueError, TypeError
        It cannot be read.
    """
    if not isinstance(mask, str | os.PathLike) or _is_still(Path(mask)):
        return mask_of(read_source(mask))
    track = open_clip(Path(mask), size=max(clip.size), rate=options.frame_rate)
    return track if track.count != 1 else mask_of(read_source(first_of(track)))


def _is_still(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in READABLE and not is_animation(path)


def first_of(track: MaskTrack) -> Any:
    """The picture that stands for a mask that moves: its first frame."""
    return next(track.frames()).pixels if isinstance(track, Clip) else track


def plan_of(clip: Clip, read: Sequence[Any], stylizer: Stylizer, options: VideoOptions) -> dict[str, Any]:
    """What must not change between a run that was killed and the one that goes on, in values that JSON can hold."""
    kept = {key: value for key, value in dataclasses.asdict(options).items() if key not in ("resume", "keep_parts")}
    about = {key: value for key, value in stylizer.recipe_of(clip.path.name).items() if key != "masks"}
    paths = [Path(one) for one in read if isinstance(one, str | os.PathLike)]
    files = {str(path): sha256(path) for path in paths if path.is_file()}
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


def check_claim(output: Path, claim: Path | None) -> None:
    """Raise NanostyleError where `claimed(output)` gave no `claim`."""
    if claim is None:
        raise NanostyleError(f"{output} is being made by another run", hint="wait for it, or choose another {output}")


def renew(claim: Path | None) -> None:
    """Show that the work on what was claimed goes on: a claim that is an hour old may be taken over."""
    if claim is not None:
        with suppress(OSError):  # no claim could be written, or it was removed
            os.utime(claim)
