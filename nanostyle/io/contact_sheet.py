"""Contact sheets: pictures with captions, in a grid or scattered over a map."""

import unicodedata
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from nanostyle.backend.types import Pixels
from nanostyle.io.resample import fitted, resize

_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
_Words: TypeAlias = tuple[str, float, float, int, str]


def sheet(
    rows: Sequence[Sequence[Pixels | None]],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    cell: int = 256,
) -> Pixels:
    """A contact sheet: (H, W, 3) float32 pixels in 0..1, a grid of pictures on white.

    `rows` hold (H, W, 3) pictures, each scaled to a long side of `cell`; they may differ in length, and None
    leaves a place empty. `row_labels` stand left of the rows, `column_labels` above the columns, `captions[i][j]`
    below picture j of row i. Text too long for its place ends in "…"; accents are left off, as Pillow's built-in
    font has none.

    Raises
    ------
    ValueError
        No picture at all.
    """
    thumbs = [[None if p is None else resize(p, fitted(p.shape[:2], cell)) for p in row] for row in rows]
    shapes = [[(0, 0) if thumb is None else thumb.shape[:2] for thumb in row] for row in thumbs]
    if not any(height for row in shapes for height, _ in row):
        raise ValueError("a contact sheet needs at least one picture")

    font, line = _font(cell)
    gap = max(4, cell // 16)
    longest_row = max(len(row) for row in rows)
    # A column of narrow pictures still has room for words.
    widths = [max(cell // 2, *(row[j][1] for row in shapes if j < len(row))) for j in range(longest_row)]
    heights = [max((height for height, _ in row), default=0) for row in shapes]
    margin = min(cell, max((round(font.getlength(text)) + 1 for text in row_labels), default=0))
    lefts = _starts(gap + (margin + gap if margin else 0), widths, gap)
    tops = _starts(line + gap // 2 if column_labels else gap, [h + (line if captions else 0) for h in heights], gap)

    canvas = np.ones((tops[-1], lefts[-1], 3), dtype=np.float32)
    for thumb_row, top, height in zip(thumbs, tops, heights, strict=False):
        for thumb, left, width in zip(thumb_row, lefts, widths, strict=False):
            if thumb is not None:
                h, w = thumb.shape[:2]
                y, x = top + (height - h) // 2, left + (width - w) // 2
                canvas[y : y + h, x : x + w] = np.clip(thumb, 0, 1)

    # Each text with its place, the room for it in pixels, and which of its points stands at that place.
    words: list[_Words] = []
    for text, left, width in zip(column_labels, lefts, widths, strict=False):
        words.append((text, left + width / 2, (tops[0] + gap // 2) / 2, width, "mm"))
    for text, top, height in zip(row_labels, tops, heights, strict=False):
        words.append((text, gap + margin, top + height / 2, margin, "rm"))
    for texts, top, height in zip(captions, tops, heights, strict=False):
        for text, left, width in zip(texts, lefts, widths, strict=False):
            words.append((text, left + width / 2, top + height + line / 2, width, "mm"))
    return _lettered(canvas, words, font)


def scatter(
    pictures: Sequence[Pixels | None],
    positions: npt.NDArray[Any],
    *,
    captions: Sequence[str],
    cell: int = 112,
    side: int = 1200,
) -> Pixels:
    """A map: (side, side, 3) float32 pixels in 0..1, `pictures` on white, each at its place in `positions` (n, 2).

    Positions count to the right and down, in any unit; they are scaled to fill the sheet, both axes alike. Pictures
    are scaled to a long side of `cell`, and pushed apart where they would cover one another. A caption stands below
    each picture, or alone where the picture is None.

    Raises
    ------
    ValueError
        There is not one position and one caption for each picture, or the sheet is too small for one.
    """
    if positions.shape != (len(pictures), 2) or len(captions) != len(pictures):
        raise ValueError(f"map: expected a position and a caption for each of {len(pictures)} pictures")
    font, line = _font(cell)
    thumbs = [None if p is None else resize(p, fitted(p.shape[:2], cell)) for p in pictures]
    box = np.array([cell, cell + line]) + 2
    if side < 2 * max(box):
        raise ValueError(f"map: expected a side of {2 * max(box)} pixels or more for pictures of {cell}, got {side}")
    centers = _spread(positions, box, side)

    canvas = np.ones((side, side, 3), dtype=np.float32)
    words: list[_Words] = []
    for thumb, (x, y), text in zip(thumbs, centers, captions, strict=True):
        below = y
        if thumb is not None:
            h, w = thumb.shape[:2]
            top, left = int(y - line / 2 - h / 2), int(x - w / 2)
            canvas[top : top + h, left : left + w] = np.clip(thumb, 0, 1)
            below = top + h + line / 2
        words.append((text, x, below, cell, "mm"))
    return _lettered(canvas, words, font)


def _spread(positions: npt.NDArray[Any], box: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """`positions` in pixels of a square of `side`, moved no more than it takes to keep boxes of size `box` apart."""
    extent = max(float(np.ptp(positions, axis=0).max(initial=0)), 1e-12)
    middle = (positions.max(axis=0) + positions.min(axis=0)) / 2
    # Boxes at one and the same place must part in some direction: a spiral has one for each.
    turn = 2.4 * np.arange(len(positions))
    nudge = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    centers: npt.NDArray[Any] = side / 2 + (positions - middle) / extent * (side - box.max()) + nudge
    for _ in range(200):
        apart = centers[:, None] - centers
        overlap = box - np.abs(apart)
        overlap[overlap.min(axis=2) <= 0] = 0
        if not overlap.any(where=~np.eye(len(centers), dtype=bool)[..., None]):
            break
        # The shorter way out, half of it each.
        shorter = overlap == overlap.min(axis=2, keepdims=True)
        centers = centers + (0.5 * np.sign(apart) * overlap * shorter).sum(axis=1)
        centers = np.clip(centers, box / 2, side - box / 2)
    return centers


def _font(cell: int) -> tuple[_Font, int]:
    """Font and line height for the captions of pictures of `cell` pixels."""
    font = ImageFont.load_default(size=max(11, cell // 14))
    return font, round(1.5 * font.getbbox("Äg")[3])


def _lettered(canvas: Pixels, words: Sequence[_Words], font: _Font) -> Pixels:
    """`canvas` with the words on it in black."""
    ink = Image.new("L", (canvas.shape[1], canvas.shape[0]))
    draw = ImageDraw.Draw(ink)
    for text, x, y, room, anchor in words:
        draw.text((x, y), _printable(text, font, room), fill=255, font=font, anchor=anchor)
    lettered: Pixels = canvas * (1 - np.asarray(ink, dtype=np.float32)[..., None] / np.float32(255))
    return lettered


def _starts(first: int, extents: Sequence[int], gap: int) -> list[int]:
    """The starts of `extents` laid one after another, `gap` apart, and the end of the last."""
    return [first, *(first + int(end) for end in np.cumsum([extent + gap for extent in extents]))]


def _printable(text: str, font: _Font, room: int) -> str:
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"
