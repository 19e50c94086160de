"""Encoding frames by PyAV, in parts that can be joined."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nanostyle.errors import NanostyleError
from nanostyle.io.video.clip import Frame
from nanostyle.io.video.library import pyav, writing

CONTAINERS = {
    ".mp4": ("h264", "hevc", "av1", "vp9"),
    ".mov": ("h264", "hevc"),
    ".mkv": ("h264", "hevc", "vp9", "av1", "ffv1"),
    ".webm": ("vp9", "av1"),
}
"""Suffix of a video -> the codecs that it may hold; the first is the default."""

_ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1", "ffv1": "ffv1"}
_THREADS = 2  # what x264 writes depends on the number of its threads, so it is the same on every machine
_BT709, _LIMITED = 1, 1


def codec_for(path: Path, codec: str | None) -> str:
    """The codec for the file `path`: the one wanted, or the default of its suffix.

    Raises
    ------
    NanostyleError
        The container does not take that codec.
    """
    takes = CONTAINERS[path.suffix.lower()]
    if codec is not None and codec not in takes:
        raise NanostyleError(
            f"codec: {path.suffix} takes {', '.join(takes)}, got {codec}", hint="choose another {codec} or {output}"
        )
    return codec or takes[0]


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded: codec, quality from 0 to 100, and the unit of time in seconds."""

    codec: str
    quality: int
    tick: Fraction

    def options(self) -> dict[str, str]:
        """The options of FFmpeg's encoder. No frame waits for later ones, so parts can be joined."""
        rest = (100 - self.quality) / 100
        if self.codec == "h264":
            return {"crf": f"{12 + 28 * rest:.1f}", "preset": "faster", "bf": "0"}
        if self.codec == "hevc":
            quiet = "log-level=none:bframes=0:frame-threads=1:pools=2"
            return {"crf": f"{14 + 28 * rest:.1f}", "preset": "fast", "x265-params": quiet}
        if self.codec == "vp9":
            alone = {"auto-alt-ref": "0", "lag-in-frames": "0", "row-mt": "1"}
            return {"crf": f"{14 + 46 * rest:.0f}", "b": "0", "deadline": "good", "cpu-used": "4", **alone}
        if self.codec == "av1":
            return {"crf": f"{16 + 47 * rest:.0f}", "preset": "8", "svtav1-params": "pred-struct=1:lp=2"}
        return {"level": "3", "slices": "4"}


class Part:
    """A part of a video, encoded by itself into a NUT file, whose times are exact. It begins with a key frame.

    Sides are made even by repeating the last row or column.

    Raises
    ------
    OSError
        The folder is not writable, or the disk is full.
    """

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self._av, self._path, self._encoding = pyav(), path, encoding
        self._file = path.open("wb")
        self._container = self._av.open(self._file, "w", format="nut")
        self._stream: Any = None

    def add(self, frame: Frame) -> None:
        """Encode the next frame."""
        pixels = frame.pixels
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._begin(pixels.shape[1], pixels.shape[0])
        picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        if self._encoding.codec == "ffv1":
            picture = picture.reformat(format="bgr0")
        else:
            picture = picture.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range="MPEG")
            picture.color_primaries = picture.color_trc = _BT709
        picture.pts, picture.time_base = frame.stamp, self._encoding.tick
        self._write(self._stream.encode(picture))

    def close(self) -> None:
        """Write what the encoder still holds, and end the file."""
        try:
            if self._stream is not None:
                self._write(self._stream.encode(None))
            with writing(self._path):
                self._container.close()
        finally:
            self._file.close()

    def _begin(self, width: int, height: int) -> None:
        encoding = self._encoding
        self._stream = self._container.add_stream(_ENCODERS[encoding.codec], rate=25, options=encoding.options())
        context = self._stream.codec_context
        context.width, context.height = width, height
        context.pix_fmt = "bgr0" if encoding.codec == "ffv1" else "yuv420p"
        context.time_base = self._stream.time_base = encoding.tick
        context.thread_count = _THREADS
        context.gop_size = 120
        context.flags |= self._av.codec.context.Flags.global_header
        if encoding.codec != "ffv1":
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = _LIMITED

    def _write(self, packets: list[Any]) -> None:
        with writing(self._path):
            self._container.mux(packets)
