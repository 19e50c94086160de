"""JPEG files that lack their end mark, as an interrupted copy or a simple camera leaves them; viewers show them."""

import io

from PIL import Image

_END = b"\xff\xd9"
# Bits that are no padding: where pixels are missing, a decoder makes something of them.
_FILLER = bytes(range(1, 128)) * 8


def without_end_mark(data: bytes) -> Image.Image | None:
    """The picture of a JPEG file that has all its pixels and no end mark, else None.

    It has all of them if bytes put behind the last do not change the picture.
    """
    body = data.removesuffix(b"\xff")
    ended, filled = (_decoded(body + tail + _END) for tail in (b"", _FILLER))
    if ended is None or filled is None or ended.tobytes() != filled.tobytes():
        return None
    return ended


def _decoded(data: bytes) -> Image.Image | None:
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
        image.load()
    except (OSError, ValueError, SyntaxError):
        return None
    return image
