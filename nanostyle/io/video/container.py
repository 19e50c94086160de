"""Videos, read by PyAV: upright, of square pixels, with the times that stand in the file."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle.io.decoding import check_pixels
from nanostyle.io.resample import fitted
from nanostyle.io.video.clip import Clip, Frame, Frame8
from nanostyle.io.video.library import opened, pyav, reading

_HDR = {16: "PQ", 18: "HLG"}
_UNTOLD = 2  # a color space that the file does not name: the smaller sizes are BT.601, the larger BT.709
_BT709, _BT601 = 1, 5


class Video(Clip):
    """A video file.

    Parameters
    ----------
    path
        The file.
    size
        The long side of the frames as they are read; None: as in the file, at most `most`.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        There is no such file, it is no video, has no pictures, or more than `max_pixels` of them in a frame.
    NanostyleError
        The extra `video` is not installed.
    """

    def __init__(self, path: Path, *, size: int | None, most: int, max_pixels: int) -> None:
        with opened(path) as container, reading(path):
            if not container.streams.video:
                raise ValueError(f"{path} has no pictures, only {_kinds(container)}; give a video")
            stream = container.streams.video[0]
            context = stream.codec_context
            if context is None:
                raise ValueError(f"{path} is of a codec that cannot be read; convert it to H.264")
            check_pixels((context.width, context.height), str(path), max_pixels)
            first = next(container.decode(stream), None)
            if first is None:
                raise ValueError(f"{path} has no frame that can be read")
            self._turns = round(first.rotation / 90) % 4
            self._even = _square(first.width, first.height, stream.sample_aspect_ratio)
            upright = self._even if self._turns % 2 == 0 else self._even[::-1]
            target = fitted(upright, size or min(most, max(upright)))
            self._read = target if self._turns % 2 == 0 else target[::-1]
            notes = [f"it is HDR ({_HDR[t]}), and is read as SDR"] if (t := int(first.color_trc)) in _HDR else []
            if len(container.streams.video) > 1:
                notes.append(f"the first of {len(container.streams.video)} tracks of pictures is used")
            super().__init__(
                path=path,
                size=target,
                original=upright,
                tick=Fraction(stream.time_base),
                count=_count(stream, container),
                has_sound=any(s.type in ("audio", "subtitle") for s in container.streams),
                notes=notes,
                begin=_origin(container),
                seconds=_seconds(stream, container),
            )
            self._stored = (first.width, first.height)
            self._told = stream.frames
            self._origin = round(self.begin / self.tick)
            rate = stream.average_rate or stream.guessed_rate or 25
            self._usual = max(1, round(1 / (Fraction(rate) * self.tick)))

    def frames(self, begin: int = 0) -> Iterator[Frame]:
        """Every frame in order, from the key frame before `begin` on.

        A frame that cannot be decoded is passed over, and counted in `skipped`.
        """
        held: Frame | None = None
        mended = decoded = 0
        for picture in self._from(begin + self._origin if begin else None):
            decoded += 1
            stamp = self._usual + held.stamp if picture.pts is None and held else (picture.pts or 0) - self._origin
            if held is not None:
                if stamp <= held.stamp:
                    stamp = held.stamp + 1
                    mended += 1
                yield Frame(held.pixels, held.stamp, stamp - held.stamp)
            duration = getattr(picture, "duration", 0) or self._usual
            held = Frame(self._pixels(picture), stamp, duration)
        if held is not None:
            yield held
        if mended:
            self.notes.append(f"{mended} stamps of time went back, and were mended")
        if not begin and self._told > decoded + self.skipped:
            self.skipped = self._told - decoded

    def _from(self, place: int | None) -> Iterator[Any]:
        """The pictures from the key frame before `place` on; all where the file cannot be searched."""
        pictures = self._decoded(place)
        first = next(pictures, None)
        if place is not None and (first is None or first.pts is None or first.pts > place):
            pictures.close()
            yield from self._decoded(None)
        elif first is not None:
            yield first
            yield from pictures

    def _decoded(self, place: int | None) -> Generator[Any, None, None]:
        av = pyav()
        with opened(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = 2
            if place is not None:
                with suppress(av.error.FFmpegError):
                    container.seek(place, stream=stream)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets)
                    pictures = packet.decode()
                except StopIteration:
                    return
                except av.error.EOFError:
                    return
                except av.error.FFmpegError:
                    self.skipped += 1
                    if self.skipped > 1000:  # nothing more is to come of it
                        return
                    continue
                yield from pictures

    def _pixels(self, picture: Any) -> Frame8:
        height, width = self._read
        if (picture.width, picture.height) != self._stored:
            self.notes.append(
                f"frames change their size from {self._stored[0]} x {self._stored[1]}; all are made equal"
            )
            self._stored = (picture.width, picture.height)
        space = int(picture.colorspace)
        if space == _UNTOLD:
            space = _BT709 if picture.height >= 720 else _BT601
        made = picture.reformat(
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=space,
            dst_color_range="JPEG",
            interpolation="LANCZOS",
        )
        pixels: Frame8 = made.to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, self._turns)) if self._turns else pixels


def _square(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """(height, width) with square pixels: the side that is too short is stretched."""
    if not aspect or aspect == 1:
        return height, width
    return (height, max(1, round(width * aspect))) if aspect > 1 else (max(1, round(height / aspect)), width)


def _origin(container: Any) -> Fraction:
    """When the file begins, in seconds, where that is after 0: a recording of a broadcast begins at any time."""
    starts = [Fraction(s.start_time * s.time_base) for s in container.streams if s.start_time is not None]
    return max(Fraction(0), min(starts, default=Fraction(0)))


def _count(stream: Any, container: Any) -> int | None:
    if stream.frames:
        return int(stream.frames)
    seconds = _seconds(stream, container)
    return max(1, round(seconds * stream.average_rate)) if seconds and stream.average_rate else None


def _seconds(stream: Any, container: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def _kinds(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
