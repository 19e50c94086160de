"""A stylized picture, and how far a stylization is."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from nanostyle.backend.rows import USUAL, Rows
from nanostyle.backend.types import Pixels
from nanostyle.io.image_write import check_writable, encode_image, save_image, to_image
from nanostyle.io.metadata import Metadata
from nanostyle.io.rows_write import save_rows, write_rows

QUALITY = 95
"""The quality of results where none is asked for."""


@dataclass(frozen=True, eq=False)
class Result:
    """A stylized picture with its recipe.

    Attributes
    ----------
    pixels : array
        `(H, W, 3)`, RGB in sRGB, float32, 0..1.
    alpha : array or None
        `(H, W)`, float32, 0..1: the photo's; None if it is opaque.
    recipe : dict
        How the picture was made, in values that JSON can hold: version, photo, method, model, styles, options.
    bits : int
        8 or 16 a sample: as many as the photo has. PNG and TIFF are written with 16.
    metadata : Metadata
        The photo's date, camera, copyright, place and resolution.

    Examples
    --------
    >>> import nanostyle
    >>> result = nanostyle.stylize("docs/pictures/photo.jpg", "scream_munch", size=64)
    >>> result.save("munch.png").name, result.image.size
    ('munch.png', (64, 43))
    """

    pixels: Pixels
    alpha: Pixels | None
    recipe: dict[str, Any]
    bits: int = 8
    metadata: Metadata = field(default_factory=Metadata, repr=False)

    @property
    def image(self) -> Image.Image:
        """The picture as a PIL image: RGB, or RGBA where it has alpha."""
        return to_image(self.pixels, self.alpha)

    def save(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, quality: int = QUALITY, strip: bool = False
    ) -> Path:
        """Write the picture with its recipe to `path`, whole or not at all; the suffix names the format.

        Parameters
        ----------
        path
            PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF or (with the extra `heif`) HEIC. JPEG, BMP and GIF show a transparent
            picture on white; BMP holds no recipe.
        overwrite
            Whether a file of that name may be replaced.
        quality
            1 to 100, for JPEG, WebP, AVIF and HEIC.
        strip
            Whether to leave out what the photo tells of itself: date, camera, copyright, place, resolution.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        FileExistsError
            The file exists, and `overwrite` is False.
        ValueError
            The suffix names no format that can be written.
        OSError
            The folder is missing or cannot be written to, or the disk is full.
        """
        check_writable(path, overwrite=overwrite)
        kept = None if strip else self.metadata
        recipe = self._recipe_of(quality=quality, strip=strip)
        self._write(Path(path), recipe=recipe, quality=quality, metadata=kept, overwrite=overwrite)
        return Path(path)

    def _recipe_of(self, **chosen: Any) -> dict[str, Any]:
        """The recipe of a file, with what was chosen for it and is not the usual."""
        return {**self.recipe, **dict(chosen.items() - {"quality": QUALITY, "strip": False}.items())}

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def _write(self, path: Path, **how: Any) -> None:
        save_image(path, self.pixels, alpha=self.alpha, bits=self.bits, **how)

    def write_png(self, file: BinaryIO, *, strip: bool = False) -> None:
        """Write the picture as PNG to an open file."""
        kept = None if strip else self.metadata
        recipe = self._recipe_of(strip=strip)
        file.write(encode_image("PNG", self.pixels, alpha=self.alpha, recipe=recipe, bits=self.bits, metadata=kept))


class LargeResult(Result):
    """A `Result` that does not fit into memory: it is computed row by row while it is saved.

    Parameters
    ----------
    rows, alpha_rows
        The picture, and its transparency if it has any.
    recipe, bits, metadata
        As of `Result`.
    memory
        The bytes that the last pass, while it is saved, may take, about.
    """

    def __init__(
        self,
        rows: Rows,
        alpha_rows: Rows | None,
        recipe: dict[str, Any],
        bits: int,
        metadata: Metadata,
        memory: int = USUAL,
    ) -> None:
        for name, value in {"recipe": recipe, "bits": bits, "metadata": metadata}.items():
            object.__setattr__(self, name, value)
        self.__dict__ |= {"rows": rows, "alpha_rows": alpha_rows, "memory": memory}

    rows: Rows
    alpha_rows: Rows | None
    memory: int

    @cached_property
    def pixels(self) -> Pixels:
        """The whole picture, in memory."""
        return self.rows.read(0, self.rows.shape[0])

    @cached_property
    def alpha(self) -> Pixels | None:
        """Its whole transparency."""
        return None if self.alpha_rows is None else self.alpha_rows.read(0, self.rows.shape[0])[..., 0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.shape[0], self.rows.shape[1]

    def _write(self, path: Path, **how: Any) -> None:
        save_rows(path, self.rows, alpha=self.alpha_rows, bits=self.bits, memory=self.memory, **how)

    def write_png(self, file: BinaryIO, *, strip: bool = False) -> None:
        """Write the picture as PNG to an open file."""
        kept = None if strip else self.metadata
        recipe = self._recipe_of(strip=strip)
        about: dict[str, Any] = {"recipe": recipe, "bits": self.bits, "metadata": kept, "memory": self.memory}
        write_rows(file, "PNG", self.rows, alpha=self.alpha_rows, **about)


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a stylization is.

    Attributes
    ----------
    done, total : int
        Steps done and steps planned. Gatys' method ends earlier where nothing is left to gain.
    loss : float or None
        gatys: the sum of the terms.
    terms : dict
        gatys: the terms of the loss, weighted, by name: `content`, `style`, `tv`.

    Examples
    --------
    >>> import nanostyle
    >>> first = next(nanostyle.stylize_iter("docs/pictures/photo.jpg", "scream_munch", size=64))
    >>> first.done, first.total, first.picture.pixels.shape
    (1, 1, (43, 64, 3))
    """

    done: int
    total: int
    loss: float | None
    terms: dict[str, float]
    _make: Callable[[], Result] = field(repr=False)

    @cached_property
    def picture(self) -> Result:
        """The picture so far, in the size of the result; after the last step the result itself."""
        return self._make()
