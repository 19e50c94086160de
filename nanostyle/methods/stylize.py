"""Floor 4: a photo through a trained network."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from nanostyle.arrays import Array, check_memory, repeated, to_host
from nanostyle.image import decode
from nanostyle.methods.gatys import normalised
from nanostyle.methods.memory import transformer_pass
from nanostyle.methods.modelfile import IDENTITY, Model
from nanostyle.sheet import sheet
from nanostyle.tensor import Tensor, no_grad

Pixels = npt.NDArray[np.float32]


def stylize(
    model: Model,
    pixels: Pixels,
    *,
    styles: Sequence[str] = (),
    weights: Sequence[float] | None = None,
    strength: float = 1.0,
    device: str = "cpu",
) -> Pixels:
    """The picture `pixels` `(H, W, 3)`, RGB in 0..1, of any size, in one style or a blend: the same size.

    Several styles are mixed as gamma and beta, in parts that sum to 1 (Dumoulin 2017, section 3.4). A `strength` below
    1 mixes in the style `photo` in the same way, and gives back, in its part, what that style loses of this photo: so 0
    is the photo itself. A model without it, as those of `feedforward`, has nothing to mix within the network; there the
    result and the photo are blended pixel by pixel.

    Parameters
    ----------
    model
        Its network is on `device`.
    styles
        Names; without any, the model's only style.
    weights
        One per style; equal parts by default.
    strength
        From 0, the photo, to 1.

    Raises
    ------
    NanostyleError
        The model has no style of that name.
    ValueError
        No style is named and the model has several; weights or strength out of their range.
    """
    return renderer(model, styles=styles, weights=weights, strength=strength, device=device)(pixels)


def renderer(
    model: Model,
    *,
    styles: Sequence[str] = (),
    weights: Sequence[float] | None = None,
    strength: float = 1.0,
    device: str = "cpu",
) -> Callable[[Pixels], Pixels]:
    """`stylize` for many pictures: all but the picture is settled. Raises as it does."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a number from 0 to 1, got {strength}")
    shares = _shares(model, styles, weights, strength if model.has_identity else 1.0)
    net = model.net
    share = 1 - strength if model.has_identity else 0.0

    def forward(x: Array) -> Array:
        with no_grad():
            y = net(Tensor(x), net.blend(shares, x) or None).data
            if share:
                lost = x - net(Tensor(x), net.blend({model.row(IDENTITY): 1.0}, x)).data
                y = y + lost * np.float32(share)
        return y

    work = repeated(forward, device)

    def render(pixels: Pixels) -> Pixels:
        check_memory(device, pixels.shape[:2], transformer_pass(net))
        result = np.clip(to_host(work(pixels[None].astype(np.float32, copy=False)))[0], 0, 1)
        return result if model.has_identity else result * np.float32(strength) + pixels * np.float32(1 - strength)

    return render


def _shares(model: Model, styles: Sequence[str], weights: Sequence[float] | None, strength: float) -> dict[int, float]:
    """How much of each of the model's rows; the rest of `strength` is the photo's."""
    paintings = [name for name in model.styles if name != IDENTITY]
    if not styles and len(paintings) > 1:
        raise ValueError(f"style: this model has {', '.join(paintings)}; name one or several")
    chosen = list(styles) or paintings
    shares: dict[int, float] = defaultdict(float)
    for name, share in zip(chosen, normalised(weights, len(chosen)), strict=True):
        shares[model.row(name)] += share * strength
    if strength < 1:
        shares[model.row(IDENTITY)] += 1 - strength
    return shares


def style_sheet(model: Model, pixels: Pixels, *, cell: int = 256, device: str = "cpu") -> Pixels:
    """A contact sheet of one picture in every style of the model, each with the painting's thumbnail above it."""
    paintings = [name for name in model.styles if name != IDENTITY]
    thumbnails = [
        decode(model.thumbnails[name], name=f"the thumbnail of {name}") if name in model.thumbnails else None
        for name in paintings
    ]
    results = [stylize(model, pixels, styles=[name], device=device) for name in paintings]
    across = min(len(paintings), 6)
    rows: list[list[Pixels | None]] = []
    captions: list[list[str]] = []
    for start in range(0, len(paintings), across):
        part = slice(start, start + across)
        rows += [[None if start else pixels, *thumbnails[part]], [None, *results[part]]]
        captions += [["" if start else IDENTITY, *paintings[part]], ["", *[""] * len(paintings[part])]]
    return sheet(rows, captions=captions, cell=cell)
