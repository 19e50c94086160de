"""A stylized picture, and how far a stylization is."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from nanostyle.backend.types import Pixels
from nanostyle.io.image_write import check_writable, save_image, to_image
from nanostyle.io.metadata import Metadata

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
        chosen = {"quality": quality, "strip": strip}
        usual = {"quality": QUALITY, "strip": False}
        kept = None if strip else self.metadata
        save_image(
            path,
            self.pixels,
            alpha=self.alpha,
            recipe={**self.recipe, **dict(chosen.items() - usual.items())},
            quality=quality,
            bits=self.bits,
            metadata=kept,
            overwrite=overwrite,
        )
        return Path(path)


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
