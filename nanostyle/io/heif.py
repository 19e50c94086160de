"""HEIC, the photos of phones, by the extra `heif` (pillow-heif)."""

import importlib
import importlib.util
from typing import BinaryIO

from PIL import Image

from nanostyle.errors import NanostyleError


def is_installed() -> bool:
    """Whether HEIC can be read and written here."""
    return importlib.util.find_spec("pillow_heif") is not None


def register(name: str) -> None:
    """Make Pillow able to read and write HEIC.

    Raises
    ------
    NanostyleError
        The extra is not installed.
    """
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise NanostyleError(
            f"{name} is HEIC, which needs an extra", hint="install it with: pip install 'nanostyle[heif]'"
        ) from error
    pillow_heif.register_heif_opener(thumbnails=False)


def open_heif(file: BinaryIO, name: str) -> Image.Image:
    """The HEIC picture in `file`, upright, not decoded yet. Raises as `register` does."""
    register(name)
    return Image.open(file, formats=["HEIF"])
