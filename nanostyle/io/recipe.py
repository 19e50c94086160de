"""Recipes: how a result was made, written into the picture itself as JSON."""

import io
import json
import os
from typing import Any

from PIL import Image

from nanostyle.io.decoding import decoding, opened
from nanostyle.io.foreign_pictures import is_heif
from nanostyle.io.formats import READERS
from nanostyle.io.heif import open_heif
from nanostyle.io.metadata import ASCII, DESCRIPTION, EXIF_BLOCK, KEY, USER_COMMENT


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The recipe that `save_image` put into the picture at `path`, or None; raises as `load_image` does."""
    with opened(path) as file, decoding(str(path)):
        heif = is_heif(file.read(512))
        file.seek(0)
        image = open_heif(file, str(path)) if heif else Image.open(file, formats=list(READERS))
        text = recipe_text(image)
    return _parsed(text)


def recipe_in(data: bytes) -> dict[str, Any] | None:
    """The recipe in a picture file that is held in memory; None where there is none, or no picture."""
    try:
        with decoding("the picture"):
            text = recipe_text(Image.open(io.BytesIO(data), formats=list(READERS)))
    except ValueError:
        return None
    return _parsed(text)


def _parsed(text: str | None) -> dict[str, Any] | None:
    try:
        recipe = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return recipe if isinstance(recipe, dict) else None


def recipe_text(image: Image.Image) -> str | None:
    """The recipe in an opened picture, as JSON."""
    if image.format == "PNG":
        return image.info.get(KEY)
    if image.format in ("JPEG", "MPO", "GIF"):
        texts = [image.info.get("comment", b"").decode("utf-8", errors="replace")]
    else:
        exif = image.getexif()
        comment = exif.get_ifd(EXIF_BLOCK).get(USER_COMMENT, b"")
        comment = comment.removeprefix(ASCII) if isinstance(comment, bytes) else b""
        texts = [str(exif.get(DESCRIPTION, "")), comment.decode("utf-8", errors="replace")]
    return next((text.removeprefix(KEY) for text in texts if text.startswith(KEY + " ")), None)


def add_to_exif(exif: Image.Exif, text: str) -> None:
    """Put a recipe, as the JSON `text`, into Exif: as the description, or as a comment where the photo has one."""
    if DESCRIPTION in exif:
        exif.get_ifd(EXIF_BLOCK)[USER_COMMENT] = ASCII + f"{KEY} {text}".encode()
    else:
        exif[DESCRIPTION] = f"{KEY} {text}"
