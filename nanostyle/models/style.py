"""A style that a prediction network has seen in a painting, and its file."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nanostyle.io.atomic import check_target
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from nanostyle.models.palette import Palette
from nanostyle.nets.predictor import EMBEDDING

Embedding = npt.NDArray[np.float32]

_KIND = "style"
_THUMBNAIL, _PALETTE = "thumbnail", "palette"


@dataclass(frozen=True)
class Style:
    """A style as a prediction network sees it.

    Attributes
    ----------
    name : str
        For people.
    embedding : array
        `(100,)`, float32.
    model : str
        The `fingerprint` of the network that it belongs to.
    thumbnail : bytes
        A small JPEG file of the painting; empty if there is none.
    license : str
        Terms of the painting, in words.
    palette : Palette or None
        The painting's, which results are brought nearer to. None: they keep the colors that the network gives them.

    Examples
    --------
    >>> import nanostyle
    >>> style = nanostyle.load_style("docs/pictures/painting.jpg")
    >>> style.save("painting.h5")
    >>> nanostyle.load_style("painting.h5").name
    'painting'
    """

    name: str
    embedding: npt.NDArray[np.float32]
    model: str
    thumbnail: bytes = b""
    license: str = "not stated"
    palette: Palette | None = None

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the style to `path`, atomically: a few kilobytes. A file is replaced with `overwrite` only.

        Raises
        ------
        FileExistsError
            The file is there, and `overwrite` is False.
        OSError
            The folder is missing or cannot be written to.
        """
        check_target(path, overwrite=overwrite)
        save_style(path, self)


def save_style(path: str | os.PathLike[str], style: Style) -> None:
    """Write `style` to `path`, atomically: a few kilobytes. Raises as `save_weights` does."""
    config = {"name": style.name, "model": style.model}
    extras: dict[str, Any] = {_THUMBNAIL: np.frombuffer(style.thumbnail, np.uint8)}
    if style.palette:
        extras[_PALETTE] = np.vstack(style.palette)
    file = WeightFile(_KIND, config, {"embedding": style.embedding}, "nanostyle", style.license, extras)
    save_weights(path, file)


def load_style(path: str | os.PathLike[str]) -> Style:
    """Read the style in `path`; whether it is one of the network at hand shows when it is used.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or holds no style.
    """
    file = load_weights(path, _KIND)
    embedding = file.parameters.get("embedding")
    name, model = (file.config.get(key) for key in ("name", "model"))
    if embedding is None or embedding.shape != (EMBEDDING,) or not (isinstance(name, str) and isinstance(model, str)):
        raise ValueError(f"cannot read {path}: expected a name, a model and an embedding of {EMBEDDING} numbers")
    thumbnail = file.extras.get(_THUMBNAIL, np.zeros(0, np.uint8)).tobytes()
    return Style(name, embedding.astype(np.float32, copy=False), model, thumbnail, file.license, _palette(path, file))


def _palette(path: str | os.PathLike[str], file: WeightFile) -> Palette | None:
    rows = file.extras.get(_PALETTE)
    if rows is None:  # of an earlier version
        return None
    if rows.shape != (4, 3) or not np.isfinite(rows).all():
        raise ValueError(f"cannot read {path}: expected a palette of 4 x 3 finite numbers, got {rows.shape}")
    return Palette(rows[0].astype(np.float64), rows[1:].astype(np.float64))
