"""Where the frames of a result go: into parts of a video, into an animation, or into files of their own.

A sink writes part after part, so that a run that was killed can go on after the last whole one.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nanostyle.io.atomic import replacing
from nanostyle.io.image_write import save_image
from nanostyle.io.metadata import KEY
from nanostyle.io.video.animation import SUFFIXES
from nanostyle.io.video.animation_write import write_animation
from nanostyle.io.video.clip import Frame, Frame8
from nanostyle.io.video.encode import CONTAINERS, Encoding, Part, codec_for
from nanostyle.io.video.join import Source, join
from nanostyle.io.video.numbered import frame_target, is_pattern


@dataclass(frozen=True)
class Whole:
    """What is known when all frames are written.

    Attributes
    ----------
    parts : int
        How many parts there are.
    stamps, durations : list of int
        Of each frame, in ticks.
    recipe : mapping
        How the result was made.
    loop : int or None
        How often it is repeated, 0 for ever.
    source : Source or None
        Where sound and subtitles are taken from.
    """

    parts: int
    stamps: list[int]
    durations: list[int]
    recipe: Mapping[str, Any]
    loop: int | None
    source: Source | None


class Sink(ABC):
    """Takes the frames of a result, part after part.

    Parameters
    ----------
    output
        What the result is called.
    folder
        Where parts are kept.
    tick
        The unit of times, in seconds.
    size
        Height and width of the result; frames of another size are resized.
    """

    def __init__(
        self, output: Path, folder: Path, *, tick: Fraction, size: tuple[int, int], codec: str | None, quality: int
    ) -> None:
        self.output, self.folder, self.tick, self.size, self.quality = output, folder, tick, size, quality
        self.codec = codec

    def begin(self, part: int) -> None:  # noqa: B027
        """Begin a part; what a killed run left of it is written over."""

    @abstractmethod
    def add(self, frame: Frame, index: int) -> None:
        """Write the next frame, which is the one of that `index` of all."""

    def end(self) -> None:  # noqa: B027
        """End the part: all of it is on the disk."""

    @abstractmethod
    def finish(self, whole: Whole, *, overwrite: bool) -> list[str]:
        """Make the result of the parts; it appears whole, or not at all. Returns notes, in words."""

    def _sized(self, pixels: Frame8) -> Frame8:
        height, width = self.size
        if pixels.shape[:2] == (height, width):
            return pixels
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


class VideoSink(Sink):
    """Encodes each part by itself; at the end packets are joined with the sound of the source."""

    def __init__(self, output: Path, folder: Path, **settings: Any) -> None:
        super().__init__(output, folder, **settings)
        self._encoding = Encoding(codec_for(output, self.codec), self.quality, self.tick)
        self._part: Part | None = None

    def _file(self, part: int) -> Path:
        return self.folder / f"{part:06d}.nut"

    def begin(self, part: int) -> None:
        """Open the file of the part."""
        self._part = Part(self._file(part), self._encoding)

    def add(self, frame: Frame, index: int) -> None:
        """Encode the next frame; what is transparent is shown on white."""
        pixels = self._sized(frame.pixels)
        if frame.alpha is not None:
            alpha = self._sized(frame.alpha)[..., None] / np.float32(255)
            pixels = np.round(pixels * alpha + 255 * (1 - alpha)).astype(np.uint8)
        assert self._part is not None  # begin comes first
        self._part.add(Frame(pixels, frame.stamp, frame.duration))

    def end(self) -> None:
        """Close the file of the part."""
        if self._part is not None:
            part, self._part = self._part, None
            part.close()

    def finish(self, whole: Whole, *, overwrite: bool) -> list[str]:
        """Join the parts."""
        durations = dict(zip(whole.stamps, whole.durations, strict=True))
        comment = f"{KEY} {json.dumps(dict(whole.recipe))}"
        parts = [self._file(part) for part in range(whole.parts)]
        with replacing(self.output, overwrite=overwrite) as temporary:
            return join(temporary, parts, durations, tick=self.tick, source=whole.source, comment=comment)


class AnimationSink(Sink):
    """Keeps frames as PNG files; at the end they become one animation."""

    def _file(self, index: int) -> Path:
        return self.folder / f"frame-{index:08d}.png"

    def add(self, frame: Frame, index: int) -> None:
        """Write the next frame."""
        image = Image.fromarray(self._sized(frame.pixels))
        if frame.alpha is not None:
            image.putalpha(Image.fromarray(self._sized(frame.alpha)))
        with replacing(self._file(index)) as temporary:
            image.save(temporary, "PNG", compress_level=1)

    def finish(self, whole: Whole, *, overwrite: bool) -> list[str]:
        """Make the animation."""
        write_animation(
            self.output,
            [self._file(index) for index in range(len(whole.stamps))],
            [duration * self.tick for duration in whole.durations],
            loop=whole.loop,
            quality=self.quality,
            recipe=json.dumps(dict(whole.recipe)),
            overwrite=overwrite,
        )
        return []


class FramesSink(Sink):
    """Writes each frame as a picture of its own, into a folder or by a pattern."""

    def begin(self, part: int) -> None:
        """Make the folder."""
        (self.output.parent if is_pattern(self.output) else self.output).mkdir(exist_ok=True)

    def add(self, frame: Frame, index: int) -> None:
        """Write the next frame."""
        target = frame_target(self.output, frame, index)
        pixels = self._sized(frame.pixels).astype(np.float32) / 255
        alpha = None if frame.alpha is None else self._sized(frame.alpha).astype(np.float32) / 255
        save_image(target, pixels, alpha=alpha, quality=self.quality)

    def finish(self, whole: Whole, *, overwrite: bool) -> list[str]:
        """Nothing is left to do."""
        return []


def sink_of(output: Path) -> type[Sink]:
    """The kind of sink for a result of that name.

    Raises
    ------
    ValueError
        The name stands for none.
    """
    suffix = output.suffix.lower()
    if is_pattern(output) or output.is_dir() or not suffix:
        return FramesSink
    if suffix in CONTAINERS:
        return VideoSink
    if suffix in SUFFIXES:
        return AnimationSink
    known = " ".join([*CONTAINERS, *SUFFIXES])
    raise ValueError(f"output: {output} ends in {suffix}, expected one of {known}, a folder, or a pattern with %06d")
