"""A fresh painting blended with the one before it: strokes of the old one, colors and contrast of the fresh one.

What is kept of the old painting calms the strokes. Its colors must not be kept as well: where the light changes they
would lag behind. And where strokes do not lie alike their mean is flatter than either, so detail that has faded is made
as strong as it was painted. The same thought for textures, where the factor is known and need not be measured: Heitz
and Neyret 2018 (High-Performance By-Example Noise using a Histogram-Preserving Blending Operator).
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFilter

from nanostyle.io.video.clip import Frame8
from nanostyle.methods.warp import mixed

_COLORS = 32  # pixels over which a color is meant
_REGION = 16  # pixels over which the strength of detail is meant
_MOST = 0.1  # the share of itself that is added to detail at most
_ALIKE = 0.03  # the share of detail that may be lacking
_NEAR = 3  # of 255, the difference of a region's colors from that of most regions that may be left
_STILL = 2  # of 255, what is left of any difference of colors: nobody sees it, and to follow it would be to flicker
_LEAST = 0.25  # of 255, detail that is told from rounding
_FEW = 0.25  # of a region: the color of less is not told well
_MIDDLE = 128  # stands for no difference
_BLUR = ImageFilter.BoxBlur(1)


def blended(fresh: Frame8, old: Frame8, part: npt.NDArray[np.uint32]) -> Frame8:
    """`fresh` `(H, W, 3)`, and in `part` `(H, W)` of 256 the strokes of `old`.

    Examples
    --------
    >>> fresh, old = (np.full((40, 40, 3), value, np.uint8) for value in (90, 60))
    >>> int(blended(fresh, old, np.full((40, 40), 200, np.uint32))[20, 20, 0])  # nearly the fresh color
    88
    """
    painting, share = Image.fromarray(fresh), Image.fromarray(np.minimum(part, 255).astype(np.uint8))
    mean = Image.fromarray(mixed(fresh, old, part))
    return np.asarray(_with_detail(_with_colors(mean, painting, share), painting))


def _with_colors(mean: Image.Image, painting: Image.Image, share: Image.Image) -> Image.Image:
    """The mean of old and fresh painting, in the fresh colors: those of the old one are mended where it has a `share`.

    In each region the difference of colors is that of the places that are kept, weighted by their share. What most
    regions lack is a change of light, and is made good but for the least; of the rest a little more is left, as the
    colors of fresh paintings flicker too.
    """
    kept = np.asarray(share.reduce(_COLORS), np.float32)[..., None] / 255
    missing = np.asarray(painting.reduce(_COLORS), np.float32) - np.asarray(mean.reduce(_COLORS))
    light = np.median(missing, axis=(0, 1))
    missing -= np.clip(missing - light, -_NEAR, _NEAR)
    missing -= np.clip(missing, -_STILL, _STILL)
    coded = np.clip(np.rint(missing / np.maximum(kept, _FEW)) + _MIDDLE, 0, 255).astype(np.uint8)
    added = Image.fromarray(coded).resize(mean.size, Image.Resampling.BILINEAR)
    return Image.composite(ImageChops.add(mean, added, 1, -_MIDDLE), mean, share)


def _with_detail(image: Image.Image, model: Image.Image) -> Image.Image:
    """The image with detail as strong as the model's, where it is weaker."""
    soft = image.filter(_BLUR)
    wanted, there = _strength(model, model.filter(_BLUR)), _strength(image, soft)
    lacking = np.clip(wanted / np.maximum(there, _LEAST) - 1 - _ALIKE, 0, _MOST)
    share = Image.fromarray(np.rint(255 / _MOST * lacking).astype(np.uint8))
    strong = Image.blend(soft, image, 1 + _MOST)
    return Image.composite(strong, image, share.resize(image.size, Image.Resampling.BILINEAR))


def _strength(image: Image.Image, soft: Image.Image) -> npt.NDArray[np.float32]:
    """How much an image differs from itself made soft, in each region."""
    difference = ImageChops.difference(image, soft).reduce(_REGION)
    strength: npt.NDArray[np.float32] = np.asarray(difference, np.float32).mean(axis=-1)
    return strength
