"""Styles by region: what a mask is, and what it does to each method."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from nanostyle.errors import NanostyleError
from nanostyle.io.image_read import Picture
from nanostyle.methods.gatys import gatys
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.methods.masks import areas, composed, fitted_masks, guides, mask_of, read_mask, region_shares
from nanostyle.models.grain import DEVIATION
from tests.support.networks import tiny_vgg
from tests.support.pictures import ART, OTHER_ART, PHOTO

FEW = GatysOptions(iterations=15)


def left(H=24, W=32):
    """White in the left half."""
    return np.repeat((np.arange(W) < W // 2)[None], H, axis=0).astype(np.float32)


def test_a_mask_is_the_brightness_and_nothing_where_there_is_nothing():
    pixels = np.zeros((2, 2, 3), np.float32)
    pixels[0, 0], pixels[1, 1] = (1, 1, 1), (1, 0, 0)
    np.testing.assert_allclose(mask_of(Picture(pixels, None, original=(2, 2))), [[1, 0], [0, 1 / 3]])
    alpha = np.array([[0.5, 1], [1, 0]], np.float32)
    np.testing.assert_allclose(mask_of(Picture(pixels, alpha, original=(2, 2))), [[0.5, 0], [0, 0]])


@pytest.mark.parametrize("mode", ["L", "LA", "RGB"])
def test_rows_of_a_large_mask_are_read(mode, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (90, 140, len(mode.replace("RGB", "123"))), np.uint8)
    Image.fromarray(values.squeeze(), mode).save(tmp_path / "mask.png")
    enough = 8 * 16 * 90 * 140
    mask, digest = read_mask(tmp_path / "mask.png", enough)
    rows, same = read_mask(tmp_path / "mask.png", enough - 1)
    assert same == digest and isinstance(mask, np.ndarray) and not isinstance(rows, np.ndarray)
    for size in ((90, 140), (31, 47), (200, 300)):
        np.testing.assert_allclose(region_shares([rows], size), region_shares([mask], size), atol=1e-5)
    assert areas([rows], (31, 47), count=1, weights=None) == pytest.approx(
        areas([mask], (31, 47), count=1, weights=None), abs=1e-5
    )
    np.testing.assert_allclose(guides(rows, {"a": (9, 14)})["a"], guides(mask, {"a": (9, 14)})["a"], atol=1e-4)
    lying = Picture(PHOTO, None, original=(140, 90), orientation=6)  # held upright, stored on its side
    (turned,) = fitted_masks([rows], ["mask.png"], lying)
    np.testing.assert_allclose(turned, fitted_masks([mask], ["mask.png"], lying)[0], atol=1e-6)
    with pytest.raises(NanostyleError, match=r"mask: mask.png is 140 x 90 pixels, the photo 100 x 100"):
        fitted_masks([rows], ["mask.png"], Picture(PHOTO, None, original=(100, 100)))


def test_a_large_mask_that_is_black(tmp_path):
    Image.new("L", (8, 6)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="mask: expected a mask with something white in it"):
        areas([read_mask(tmp_path / "mask.png", 0)[0]], (6, 8), count=1, weights=None)


def test_shares_are_one_in_all_at_most():
    whole, gray = np.ones((4, 4), np.float32), np.full((4, 4), 0.25, np.float32)
    np.testing.assert_allclose(region_shares([whole, whole], (6, 5)), 0.5, atol=1e-6)
    np.testing.assert_allclose(region_shares([gray, gray], (6, 5)), 0.25, atol=1e-6)
    parts = region_shares([left(4, 8), 1 - left(4, 8)], (12, 24))
    assert parts.min() >= 0 and np.allclose(parts.sum(axis=0), 1, atol=1e-6)
    assert parts[0, :, :8].min() > 0.95 and parts[1, :, 16:].min() > 0.95


def test_the_rest_is_the_photo_s():
    photo, red = np.zeros((2, 4, 3), np.float32), np.ones((2, 4, 3), np.float32)
    mixed = composed(photo, [red], np.array([[[1, 0.5, 0, 0], [0, 0, 0, 1]]], np.float32))
    np.testing.assert_array_equal(mixed[..., 0], [[1, 0.5, 0, 0], [0, 0, 0, 1]])


def test_a_guide_makes_a_gram_matrix_the_mean_over_its_region():
    x = np.random.default_rng(0).standard_normal((6, 8, 3))
    guide = guides(left(60, 80), {"a": (6, 8)})["a"].round(3)
    inside = x[:, :4].reshape(-1, 3)
    of_guide = (x * guide[..., None]).reshape(-1, 3)
    np.testing.assert_allclose(of_guide.T @ of_guide / 48, inside.T @ inside / 24, rtol=0.2, atol=0.1)
    assert not guides(np.zeros((9, 9), np.float32), {"a": (6, 8)})["a"].any()


def test_gatys_paints_each_region_in_its_style():
    """Red paint to the left, blue to the right."""
    paint = np.random.default_rng(0).random((24, 32, 1), np.float32)
    red, blue = (paint * np.array(color, np.float32) for color in ((1, 0.1, 0.1), (0.1, 0.1, 1)))
    options = replace(FEW, iterations=60, tv_weight=0.0, style_weight=1000.0)
    *_, last = gatys(PHOTO, [red, blue], tiny_vgg(), options, masks=[left(), 1 - left()])
    redder = (last.pixels - PHOTO)[..., 0] - (last.pixels - PHOTO)[..., 2]
    assert redder[:, :12].mean() > 0.02 and redder[:, -12:].mean() < -0.02


def test_without_a_region_the_photo_stays():
    options = replace(FEW, iterations=10, tv_weight=0.0)
    dark = list(gatys(PHOTO, [ART], tiny_vgg(), options, masks=[np.full((5, 5), 1e-6, np.float32)]))[-1].pixels
    np.testing.assert_allclose(dark, PHOTO, atol=6 * DEVIATION)  # but for the grain of the start


def test_masks_that_are_all_black():
    with pytest.raises(ValueError, match="mask: expected a mask with something white in it"):
        next(gatys(PHOTO, [ART], tiny_vgg(), FEW, masks=[np.zeros((5, 5), np.float32)]))


@pytest.mark.parametrize("how", [{"masks": [left()]}, {"masks": [left(), left()], "style_weights": [1, 2]}])
def test_one_mask_for_each_style_and_no_weights(how):
    with pytest.raises(ValueError, match="mask: expected one for each of 2 styles, and no weights"):
        next(gatys(PHOTO, [ART, OTHER_ART], tiny_vgg(), FEW, **how))
