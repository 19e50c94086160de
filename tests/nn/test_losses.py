"""What the grid loss sees, and parts of one. That losses and gradients are right is a row of the table of cases."""

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor
from nanostyle.nn.losses import grid_loss, normalized, palette, palette_loss


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_it_sees_a_weave_and_nothing_else(dtype):
    rng = np.random.default_rng(0)
    i, j = np.mgrid[:96, :96]
    slope = (i + 2 * j)[None, :, :, None] / 1000 * np.ones(3)
    weave = 0.03 * ((i % 4 == 0) | (j % 4 == 0))[None, :, :, None]
    noise = 0.1 * rng.standard_normal(slope.shape)
    smooth, rough, woven = (
        grid_loss(Tensor(x.astype(dtype))).item() for x in (slope, slope + noise, slope + noise + weave)
    )
    assert smooth < 1e-5 and rough < 3e-5
    assert woven == pytest.approx(weave[0, :4, :4].var(), rel=0.3)


def test_pictures_smaller_than_the_grid():
    with pytest.raises(ValueError, match="at least 4x4, got 9x3"):
        grid_loss(Tensor(np.zeros((1, 3, 9, 3), np.float32)))


def test_weights_are_made_parts_of_one():
    assert normalized(None, 4) == [0.25] * 4
    assert normalized([1, 3], 2) == [0.25, 0.75]


@pytest.mark.parametrize(
    ("weights", "message"), [([1], "one for each of 2"), ([0, 0], "at least one above 0"), ([-1, 2], "0 or more")]
)
def test_weights_that_are_none(weights, message):
    with pytest.raises(ValueError, match=message):
        normalized(weights, 2)


def picture(colors, rng, *, size=64):
    """Patches of 4 x 4 pixels, each of one of `colors`."""
    patches = np.asarray(colors, np.float32)[rng.integers(len(colors), size=(size // 4, size // 4))]
    return patches.repeat(4, axis=0).repeat(4, axis=1)[None]


def test_a_palette_is_the_mean_and_covariance_of_pooled_colors():
    rng = np.random.default_rng(0)
    x = rng.random((2, 20, 12, 3))
    found = palette(Tensor(x)).data
    pooled = x.reshape(2, 5, 4, 3, 4, 3).mean(axis=(2, 4)).reshape(2, 15, 3)
    space = np.array([[1, 1, 1], [4, -4, 0], [4, 4, -8]]) / np.sqrt([[3], [2], [6]])
    for row, colors in zip(found, pooled @ space.T, strict=True):
        np.testing.assert_allclose(row[0], colors.mean(axis=0))
        np.testing.assert_allclose(row[1:], np.cov(colors.T, bias=True))


def test_the_palette_loss_sees_chroma_and_not_where_it_is():
    rng = np.random.default_rng(1)
    blue_and_yellow = [(0.2, 0.3, 0.7), (0.8, 0.7, 0.2)]
    target = palette(Tensor(picture(blue_and_yellow, rng))).data
    elsewhere, faded, gray = (
        palette_loss(palette(Tensor(picture(colors, rng))), target).item()
        for colors in (blue_and_yellow, [(0.35, 0.4, 0.6), (0.65, 0.6, 0.35)], [(0.4, 0.4, 0.4), (0.57, 0.57, 0.57)])
    )
    assert elsewhere < 0.03 < 0.3 < faded < gray


def test_the_palette_of_one_color_does_not_divide_by_nothing():
    flat = palette(Tensor(np.full((1, 8, 8, 3), 0.5, np.float32))).data
    other = palette(Tensor(np.full((1, 8, 8, 3), 0.6, np.float32)))
    assert 0 < palette_loss(other, flat).item() < 1


def test_the_palette_loss_of_a_picture_of_no_weight():
    rng = np.random.default_rng(2)
    P, A = (rng.random((2, 4, 3)) for _ in range(2))
    both = palette_loss(Tensor(P), A, weight=np.array([1.0, 0.0])).item()
    assert both == pytest.approx(palette_loss(Tensor(P[:1]), A[:1]).item() / 2)
