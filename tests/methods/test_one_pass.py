"""Blends of one network and of several."""

import numpy as np
import pytest

import nanostyle
from nanostyle import NanostyleError, Stylizer, load_model, stylize
from tests.support.pictures import picture

PHOTO, ART, NAME = picture(24, 32, 1), picture(40, 30, 2), "scream_munch"


def alone(style, **options):
    return stylize(PHOTO, style, device="cpu", **options).pixels


def test_a_name_and_a_painting_are_mixed_in_parts_of_their_weights():
    mixed = stylize(PHOTO, [ART, NAME], weights=[1, 3], device="cpu", strokes=64)
    right = 0.25 * alone(ART, strokes=64) + 0.75 * alone(NAME, strokes=64)
    np.testing.assert_allclose(mixed.pixels, right, atol=1e-6)
    assert (mixed.recipe["method"], mixed.recipe["model"]) == ("predict + cin", "any.h5 + styles.h5")


def test_styles_of_one_network_are_mixed_by_it():
    names = [NAME, "udnie_picabia"]
    mixed = stylize(PHOTO, [*names, ART], weights=[1, 2, 3], device="cpu").pixels
    right = 0.5 * alone(names, weights=[1, 2]) + 0.5 * alone(ART)
    np.testing.assert_allclose(mixed, right, atol=1e-6)


def test_a_network_without_a_share_is_left_out():
    np.testing.assert_array_equal(alone([NAME, ART], weights=[1, 0]), alone(NAME))


def test_a_name_and_a_painting_each_where_its_mask_says():
    left = np.zeros((24, 32), np.float32)
    left[:, :16] = 1
    mixed = alone([ART, NAME], masks=[left, 1 - left])
    np.testing.assert_allclose(mixed[:, :15], alone(ART)[:, :15], atol=1e-6)
    np.testing.assert_allclose(mixed[:, 17:], alone(NAME)[:, 17:], atol=1e-6)


def test_the_stylizer_of_two_networks_has_no_one_model():
    stylizer = Stylizer([NAME, ART], device="cpu")
    assert stylizer.model is None and stylizer.style is None
    assert stylizer.render(PHOTO).shape == PHOTO.shape


def test_one_network_for_each_style_is_the_same_as_the_network():
    model = load_model("styles", device="cpu")
    styles = [NAME, "udnie_picabia"]
    listed = Stylizer(styles, model=[model, model]).stylize(PHOTO)
    np.testing.assert_array_equal(listed.pixels, nanostyle.stylize(PHOTO, styles, model=model).pixels)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "gatys"}, "method gatys takes paintings"),
        ({"iterations": 3}, "iterations is an option of method gatys"),
        ({"method": "predict"}, "styles.h5 is a model of method cin"),
        ({"model": "styles"}, "got both"),
        ({"weights": [0, 0]}, "above 0"),
    ],
)
def test_what_does_not_go_together_is_refused(options, text):
    with pytest.raises((NanostyleError, ValueError), match=text):
        stylize(PHOTO, [ART, NAME], device="cpu", **options)


def test_one_model_is_needed_for_each_style():
    with pytest.raises(NanostyleError, match="model: expected one for each of 2 styles, got 1"):
        Stylizer([NAME, ART], model=[load_model("styles", device="cpu")])
