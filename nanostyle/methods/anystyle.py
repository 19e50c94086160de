"""Floor 4: a photo in the style of any painting, through a trained prediction network (Ghiasi 2017)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nanostyle.arrays import check_memory, to_device, to_host
from nanostyle.errors import NanostyleError
from nanostyle.image import resize, thumbnail_jpeg
from nanostyle.methods.gatys import normalised
from nanostyle.methods.memory import transformer_pass
from nanostyle.methods.predictfile import Predictor, Style
from nanostyle.tensor import Tensor, no_grad

Pixels = npt.NDArray[np.float32]


def predict_style(predictor: Predictor, painting: Pixels, *, name: str) -> Style:
    """The style of `painting` `(H, W, 3)`, RGB in 0..1, of any size; it is looked at in the size of the training."""
    return Style(name, _embedding(predictor, painting), predictor.fingerprint, thumbnail_jpeg(painting))


def blend(styles: Sequence[Style], weights: Sequence[float] | None = None) -> Style:
    """A mixture of `styles` in parts of `weights` (equal by default), which are scaled to sum to 1.

    Raises
    ------
    NanostyleError
        The styles belong to different networks.
    ValueError
        There is none, or the weights are not one of 0 or more for each, one of them above 0.
    """
    if not styles:
        raise ValueError("style: expected one style or several to blend, got none")
    if other := [style for style in styles if style.model != styles[0].model]:
        raise NanostyleError(
            f"style {other[0].name!r} was predicted by another model than {styles[0].name!r};"
            " predict both from their pictures with one model"
        )
    shares = normalised(weights, len(styles))
    if len(styles) == 1:
        return styles[0]
    embedding = np.array(shares, np.float32) @ np.stack([style.embedding for style in styles])
    return Style(" + ".join(style.name for style in styles), embedding, styles[0].model)


def stylize_any(predictor: Predictor, photo: Pixels, style: Style, *, strength: float = 1.0) -> Pixels:
    """`photo` `(H, W, 3)`, RGB in 0..1, of any size, in `style`: a picture of the same size.

    A `strength` below 1 mixes the embedding with that of the photo itself (Ghiasi 2017, section 4.4), and gives back,
    in its part, what the network loses of the photo in its own style: so 0 is the photo itself.

    Raises
    ------
    NanostyleError
        The style was predicted by another network.
    ValueError
        The strength is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a number from 0 to 1, got {strength}")
    if style.model != predictor.fingerprint:
        raise NanostyleError(
            f"style {style.name!r} was predicted by another model ({style.model}, this one is"
            f" {predictor.fingerprint}); predict it again from its picture, or name that model"
        )
    photo = photo.astype(np.float32, copy=False)
    check_memory(predictor.device, photo.shape[:2], transformer_pass(predictor.net.transformer))

    def render(embedding: npt.NDArray[np.float32]) -> Pixels:
        return to_host(predictor.render(photo[None], embedding[None]))[0]

    if strength == 1:
        return np.clip(render(style.embedding), 0, 1)
    own, part = _embedding(predictor, photo), np.float32(strength)
    lost = photo - render(own)
    return np.clip(render(own + part * (style.embedding - own)) + (1 - part) * lost, 0, 1)


def _embedding(predictor: Predictor, pixels: Pixels) -> npt.NDArray[np.float32]:
    pixels = _middle(pixels)
    scale = predictor.style_size / min(pixels.shape[:2])
    height, width = (max(1, round(n * scale)) for n in pixels.shape[:2])
    with no_grad():
        x = to_device(resize(pixels, (height, width))[None], predictor.device)
        return to_host(predictor.net.predictor.embed(Tensor(x)).data)[0]


def _middle(pixels: Pixels) -> Pixels:
    """Of a long strip the middle part, four times as long as wide: more would fill the memory and say no more."""
    height, width = pixels.shape[:2]
    rows, columns = min(height, 4 * width), min(width, 4 * height)
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]
