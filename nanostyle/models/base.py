"""A trained network as one thing, of whatever kind it is: what methods, API and command line work with."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from nanostyle.backend.device import Device
from nanostyle.backend.memory import check_memory
from nanostyle.backend.rows import MAPS_PART, ArrayRows, Rows, combined, keeping
from nanostyle.backend.types import Pixels
from nanostyle.io.atomic import sha256
from nanostyle.models.grain import grainy_rows, with_grain
from nanostyle.models.palette import Palette
from nanostyle.models.shift import STILL, Shift
from nanostyle.nn.losses import normalized

IDENTITY = "photo"
"""The name of the style that gives the photo back."""

_AROUND = 88
"""Bytes per pixel of the pictures around a pass: the photo's levels, what strength and palette need (measured)."""

_KEPT_FREE = 9 / 8
"""How much more memory is held than is in use: see `backend/arena.py`."""

S = TypeVar("S")
"""A style as one kind of network understands it."""


class Render(Protocol):
    """What `TrainedModel.renderer` makes of a style: a photo in, a picture of the same size out."""

    def __call__(self, photo: Pixels, shift: Shift = STILL) -> Pixels:
        """`photo` `(H, W, 3)` painted; `shift` is that of a frame over its scene."""


class TrainedModel(ABC, Generic[S]):
    """A network that stylizes in one pass: of one style, of many, or for any painting.

    Strength and blends are defined here, once, for all kinds.

    Attributes
    ----------
    kind : str
        The method that trains such a network: `feedforward`, `cin` or `predict`.
    styles : list of str
        The names of the styles that it knows; none for a network that takes any painting.
    thumbnails : mapping
        A small JPEG file of the painting, by the style's name; not every style has one.
    grain : bool
        Whether the network sees photos with faint grain, as those trained here do: see `grain.py`.
    device : Device
        Where the network is.
    path : Path or None
        The file that it was read from.
    recipe : dict
        How it was trained: options, losses; JSON values only.
    source, license : str
        Where it comes from, and under what terms.

    Examples
    --------
    >>> import nanostyle
    >>> model = nanostyle.load_model("styles", device="cpu")
    >>> model.kind, len(model.paintings), model.license.split(";")[0]
    ('cin', 32, 'Apache-2.0')
    """

    styles: list[str]
    thumbnails: Mapping[str, bytes]
    grain: bool = True
    device: Device
    path: Path | None
    recipe: dict[str, Any]
    source: str
    license: str

    @property
    @abstractmethod
    def kind(self) -> str:
        """The method that trains such a network: `feedforward`, `cin` or `predict`."""

    @property
    def paintings(self) -> list[str]:
        """The names of the styles that come from paintings: all but the photo's own."""
        return [name for name in self.styles if name != IDENTITY]

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the model's file, in hexadecimal; empty if it was not read from one."""
        return sha256(self.path) if self.path else ""

    def describe(self) -> dict[str, Any]:
        """What the model is, in values that JSON can hold."""
        return {
            "kind": self.kind,
            "file": self.path.name if self.path else "",
            "sha256": self.sha256,
            "styles": self.styles,
            "source": self.source,
            "license": self.license,
            "recipe": self.recipe,
        }

    # --- styles -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def style(self, wanted: "str | os.PathLike[str] | Pixels | S | None" = None, *, name: str = "") -> S:
        """The style that `wanted` stands for, as this network understands it.

        Parameters
        ----------
        wanted
            The name of a style of the model; the file of a saved style; the pixels `(H, W, 3)` of a painting, RGB in
            0..1; a style of this model. A model of one style needs none.
        name
            What to call the style of a painting.

        Raises
        ------
        NanostyleError
            The model has no such style, or takes no paintings, or the style belongs to another model.
        ValueError
            None is wanted, and the model has several.
        """

    def blend(
        self,
        styles: "Sequence[str | os.PathLike[str] | Pixels | S | None]",
        weights: Sequence[float] | None = None,
    ) -> S:
        """A mixture of `styles` in parts of `weights` (equal by default), which are scaled to sum to 1.

        Raises
        ------
        ValueError
            There is no style, or the weights are not one of 0 or more for each, one of them above 0.
        NanostyleError
            As `style` does.
        """
        if not styles:
            raise ValueError("style: expected one style or several to blend, got none")
        found = [self.style(wanted) for wanted in styles]
        shares = normalized(weights, len(found))
        return found[0] if len(found) == 1 else self._mixed(found, shares)

    def palette(self, style: S) -> Palette | None:
        """The palette that pictures in `style`, one of this model, are brought nearer to. None: they are left as is."""
        return None

    # --- pictures ---------------------------------------------------------------------------------------------------

    def render(
        self,
        photo: Pixels,
        style: "str | os.PathLike[str] | Pixels | S | None" = None,
        *,
        strength: float = 1.0,
        memory: int | None = None,
    ) -> Pixels:
        """`photo` `(H, W, 3)`, RGB in 0..1, of any size, in `style`: a picture of the same size, in 0..1.

        A `strength` below 1 mixes in the photo's own style, and gives back, in its part, what the network loses of the
        photo in that style: so 0 is the photo itself (Dumoulin 2017, section 3.4; Ghiasi 2017, section 4.4). Where the
        network knows no style that gives the photo back, result and photo are mixed pixel by pixel. A network that
        was trained here sees the photo with faint grain: see `grain.py`. This is one pass; the size of strokes and the
        palette are `stylize`'s to set.

        Parameters
        ----------
        style
            As in `TrainedModel.style`.
        strength
            From 0, the photo, to 1, the whole style.
        memory
            The bytes that a pass may take on a CPU. A larger picture is worked on in bands of rows, to the same result
            but for rounding. None: no limit.

        Raises
        ------
        NanostyleError
            As `style` does.
        ValueError
            As `style` does; or the strength is not from 0 to 1.
        """
        return self.renderer(style, strength=strength, memory=memory)(photo)

    def renderer(
        self,
        style: "str | os.PathLike[str] | Pixels | S | None" = None,
        *,
        strength: float = 1.0,
        memory: int | None = None,
    ) -> "Render":
        """`render` for many photos: style and strength are settled here, and bad ones refused."""
        wanted, paint = self._settled(style, strength), self._painter()

        def render(photo: Pixels, shift: Shift = STILL) -> Pixels:
            size = photo.shape[0], photo.shape[1]
            check_memory(self.device, size, self._bytes_per_pixel())
            moved = shift.to_whole(photo.astype(np.float32, copy=False))
            seen = with_grain(moved, shift.whole) if self.grain else moved
            how = in_bands if not self.fits(size, memory) else painted
            return shift.back(how(shift.pad(moved), shift.pad(seen)), size)

        def painted(photo: Pixels, seen: Pixels) -> Pixels:
            if strength == 1:
                return np.clip(paint(seen, wanted), 0, 1)
            own = self._own(photo)
            if own is None:
                return _mixed_in(paint(seen, wanted), photo, strength)
            lost = photo - paint(seen, own)
            return _with_lost(paint(seen, self._between(own, wanted, strength)), lost, strength)

        def in_bands(photo: Pixels, seen: Pixels) -> Pixels:
            assert memory is not None
            with keeping(int(MAPS_PART * memory)):
                rows = self._painted_rows(ArrayRows(photo), ArrayRows(seen), wanted, strength, memory)
                return rows.read(0, photo.shape[0])

        return render

    def rows_renderer(
        self, style: "str | os.PathLike[str] | Pixels | S | None" = None, *, strength: float = 1.0, memory: int
    ) -> Callable[[Rows], Rows]:
        """`renderer` for photos of which rows are read, on a CPU: the result is computed as its rows are read.

        What fits into a band's part of `memory` is worked on in one piece.
        """
        wanted = self._settled(style, strength)

        def render(photo: Rows) -> Rows:
            size = photo.shape[:2]
            # The buffers of work in one piece stay: what is larger is done in bands, which leave room for what is kept.
            if self.fits(size, int(MAPS_PART * memory)):
                whole = self.renderer(wanted, strength=strength)
                return ArrayRows(whole(photo.read(0, size[0])))
            seen = grainy_rows(photo) if self.grain else photo
            return self._painted_rows(photo, seen, wanted, strength, memory)

        return render

    def _settled(self, style: "str | os.PathLike[str] | Pixels | S | None", strength: float) -> S:
        """The style, where the strength is one."""
        if not 0 <= strength <= 1:
            raise ValueError(f"strength: expected a number from 0 to 1, got {strength}")
        return self.style(style)

    def _painted_rows(self, photo: Rows, seen: Rows, wanted: S, strength: float, memory: int) -> Rows:
        """The photo, which the network sees as `seen`, painted in bands that take `memory` bytes, about."""
        own = None if strength == 1 else self._own(photo)
        if own is None:
            (made,) = self._in_bands(seen, [wanted], memory)
            return combined(partial(_mixed_in, strength=strength), made, photo)
        back, made = self._in_bands(seen, [own, self._between(own, wanted, strength)], memory)
        return combined(lambda y, x, b: _with_lost(y, x - b, strength), made, photo, back)

    def memory_for(self, size: tuple[int, int]) -> float:
        """The bytes that a photo of `size` (height, width) takes on a CPU in one piece, at most: strokes and all."""
        return size[0] * size[1] * _KEPT_FREE * (self._bytes_per_pixel() + _AROUND)

    def fits(self, size: tuple[int, ...], memory: int | None) -> bool:
        """Whether a picture of `size` (height, width) is worked on in one piece, with `memory` bytes for a pass."""
        return memory is None or self.device.is_gpu or self.memory_for((size[0], size[1])) <= memory

    # --- what each kind brings --------------------------------------------------------------------------------------

    @abstractmethod
    def _painter(self) -> Callable[[Pixels, S], Pixels]:
        """From a photo and a style to the network's output: a new function for each renderer, not cut to 0..1."""

    @abstractmethod
    def _in_bands(self, photo: Rows, styles: Sequence[S], memory: int) -> list[Rows]:
        """What the painter gives in each style, computed in bands of rows that take `memory` bytes, about."""

    @abstractmethod
    def _own(self, photo: Pixels | Rows) -> S | None:
        """The style in which the network gives `photo` back; None if it knows none."""

    @abstractmethod
    def _mixed(self, styles: Sequence[S], shares: Sequence[float]) -> S:
        """Two or more styles in parts of `shares`, which sum to 1."""

    def _between(self, own: S, style: S, strength: float) -> S:
        """The style that lies at `strength` on the way from the photo's own to `style`."""
        return self._mixed([style, own], [strength, 1 - strength])

    @abstractmethod
    def _bytes_per_pixel(self) -> float:
        """What a pass takes of a GPU's memory, for each pixel of the photo."""


def _mixed_in(made: Pixels, photo: Pixels, strength: float) -> Pixels:
    """What the network made, cut to 0..1, mixed with the photo pixel by pixel."""
    if strength == 1:
        return np.clip(made, 0, 1)
    mixed: Pixels = np.clip(made, 0, 1) * np.float32(strength) + photo * np.float32(1 - strength)
    return mixed


def _with_lost(made: Pixels, lost: Pixels, strength: float) -> Pixels:
    """What the network made, and in its part what it loses of the photo in the photo's own style."""
    return np.asarray(np.clip(made + np.float32(1 - strength) * lost, 0, 1))
