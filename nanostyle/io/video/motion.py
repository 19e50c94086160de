"""Motion between frames: FFmpeg's block matching, by PyAV."""

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from nanostyle.io.video.clip import Frame, Frame8
from nanostyle.io.video.library import pyav

BLOCK = 8
"""The side of a block, in pixels of the frame."""

Vectors = npt.NDArray[np.float32]
"""`(rows, columns, 2)`: for each block of a frame how far down and right its content was in the frame before."""

_REACH = 96

# Light has changed where all cells of so many pixels but a few become brighter, or all darker, by more than that; by
# more than the most from one frame to the next it is a cut, and in all no more than that is made good. What was made
# good is given up slowly.
_CELL, _FEW, _LEAST, _MOST, _IN_ALL, _SLOWLY = 16, 0.2, 0.003, 1.25, 2.0, 0.995


class Motion:
    """Estimates the motion of each frame against the one that came before it.

    Frames are matched at `scale` times their size: twice gives steps of half a pixel, four times of a quarter. What is
    found depends on the frames before, as the search begins where they pointed.
    A change of light is taken out before: where a sky grows brighter, it would seem to come from further down.
    Source: FFmpeg's filter `mestimate`, method epzs (Tourapis 2002, Enhanced Predictive Zonal Search).

    Raises
    ------
    NanostyleError
        The extra `video` is not installed.
    """

    def __init__(self, size: tuple[int, int], scale: int = 2) -> None:
        self._scale = scale
        self._blocks = -(-size[0] // BLOCK), -(-size[1] // BLOCK)
        self._width, self._height = self._blocks[1] * BLOCK * scale, self._blocks[0] * BLOCK * scale
        self._av = pyav()
        self._graph = self._av.filter.Graph()
        shape = f"video_size={self._width}x{self._height}:pix_fmt=gray:time_base=1/25:pixel_aspect=1/1"
        self._source = self._graph.add("buffer", shape)
        search = self._graph.add("mestimate", f"method=epzs:mb_size={BLOCK * scale}:search_param={_REACH}")
        self._sink = self._graph.add("buffersink")
        self._source.link_to(search)
        search.link_to(self._sink)
        self._graph.configure()
        self._pushed = 0
        self._cells: npt.NDArray[np.float32] | None = None  # brightness of the last frame
        self._light = 1.0  # against the first frame

    def push(self, frame: Frame8) -> Vectors | None:
        """Take the next frame `(H, W, 3)`; the motion of the one that was pushed before it, None for the first two."""
        picture = self._av.VideoFrame.from_ndarray(self._luma(frame), format="gray")
        picture.pts = self._pushed
        self._pushed += 1
        self._source.push(picture)
        try:
            found = self._sink.pull()
        except self._av.error.BlockingIOError:
            return None
        vectors = self._vectors(found) if self._pushed > 2 else None
        # In PyAV a frame and its side data hold each other; until those that died young are looked for, they stay.
        del found
        gc.collect(1)
        return vectors

    def _luma(self, frame: Frame8) -> Frame8:
        """Brightness at the size of the search: whole blocks, of which the last repeat the edge."""
        rows, columns = (count * BLOCK for count in self._blocks)
        height, width = frame.shape[:2]
        gray = Image.fromarray(frame).convert("L")
        self._follow_light(np.asarray(gray.reduce(_CELL), np.float32) + 1)
        luma = np.asarray(gray.point([min(255, round(value / self._light)) for value in range(256)]))
        luma = np.pad(luma, ((0, rows - height), (0, columns - width)), mode="edge")
        large = Image.fromarray(luma).resize((self._width, self._height), Image.Resampling.BICUBIC)
        return np.ascontiguousarray(large)

    def _follow_light(self, cells: npt.NDArray[np.float32]) -> None:
        """Take note of how bright the frame is against those before."""
        before, self._cells = self._cells, cells
        if before is None:
            return
        low, middle, high = (float(value) for value in np.quantile(cells / before, (_FEW, 0.5, 1 - _FEW)))
        if high >= 1 - _LEAST and low <= 1 + _LEAST:
            self._light **= _SLOWLY
        elif 1 / _MOST < middle < _MOST:
            self._light = min(max(self._light * middle, 1 / _IN_ALL), _IN_ALL)
        else:
            self._light = 1.0

    def _vectors(self, found: Any) -> Vectors:
        vectors = np.zeros((*self._blocks, 2), np.float32)
        side = found.side_data.get("MOTION_VECTORS")
        if side is None:  # nothing was found
            return vectors
        table = side.to_ndarray()
        table = table[table["source"] < 0]  # the others point to the frame after
        row = table["dst_y"] // (BLOCK * self._scale)
        column = table["dst_x"] // (BLOCK * self._scale)
        for axis, name in enumerate("yx"):
            moved = table[f"src_{name}"].astype(np.float32) - table[f"dst_{name}"]
            vectors[row, column, axis] = moved / self._scale
        return vectors


def tracked(
    frames: Iterator[Frame],
    *,
    size: tuple[int, int],
    part: int,
    scale: int,
    index: int = 0,
    before: Frame8 | None = None,
) -> Iterator[tuple[Frame, Vectors | None]]:
    """Each frame with its motion. The search begins anew at each `part` frames, so that a run can go on from there.

    `index` is the number of the first frame, and `before` what came before it.
    """
    held: Frame | None = None
    motion: Motion | None = None
    for i, frame in enumerate(frames, index):
        if held is not None and motion is not None:
            yield held, motion.push(frame.pixels)
        if motion is None or i % part == 0:
            motion = Motion(size, scale)
            if before is not None:
                motion.push(before)
            motion.push(frame.pixels)
        held, before = frame, frame.pixels
    if held is not None and motion is not None:
        yield held, motion.push(held.pixels)
