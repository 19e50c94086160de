"""How large the strokes are: the sizes at which the network is called, and what comes back."""

from itertools import pairwise

import numpy as np
import pytest

from nanostyle.errors import NanostyleError
from nanostyle.io.resample import resize
from nanostyle.methods.strokes import LARGEST_BY_DEFAULT, paint, painted_pixels, sides, stroked
from nanostyle.methods.stylizer import Stylizer
from nanostyle.models.multistyle import load_multistyle
from nanostyle.models.registry import find


def noise(height, width):
    return np.random.default_rng(0).random((height, width, 3), np.float32)


class Painter:
    """Stands for a network: it darkens in part of the strength, and remembers what it was given."""

    def __init__(self):
        self.calls = []

    def __call__(self, pixels, strength):
        self.calls.append((pixels.shape[:2], strength))
        return pixels * np.float32(1 - 0.5 * strength)


@pytest.mark.parametrize(
    ("size", "strokes", "strength", "calls"),
    [
        ((60, 90), None, 1.0, [((60, 90), 1.0)]),
        ((60, 90), 90, 1.0, [((60, 90), 1.0)]),
        ((90, 60), 180, 1.0, [((180, 120), 1.0)]),
        ((100, 200), 100, 1.0, [((50, 100), 1.0), ((100, 200), 0.4)]),
        ((100, 200), 100, 0.5, [((50, 100), 0.5), ((100, 200), 0.2)]),
        ((8, 1536), None, 1.0, [((4, 768), 1.0), ((8, 1536), 0.4)]),
        ((12, 2400), None, 1.0, [((4, 768), 1.0), ((6, 1200), 0.4), ((12, 2400), 0.4)]),
        ((4, 768), None, 0.3, [((4, 768), 0.3)]),
        ((100, 200), 100, 0.0, [((100, 200), 0.0)]),
    ],
)
def test_at_what_sizes_and_strengths_the_network_works(size, strokes, strength, calls):
    painter = Painter()
    result = paint(noise(*size), painter, strokes=strokes, strength=strength)
    assert [(shape, pytest.approx(s)) for shape, s in painter.calls] == calls
    assert result.shape == (*size, 3) and result.dtype == np.float32


@pytest.mark.parametrize("strokes", [None, 64, 300])
def test_a_pixel_costs_hardly_more_in_a_large_photo(strokes):
    for long in range(700, 33_000, 123):
        steps = sides(long, strokes)
        assert steps[-1] == long and all(1 < b / a <= 2.2 for a, b in pairwise(steps))
        assert painted_pixels((long, long), strokes) < 2.95 * long**2


def test_strokes_of_the_photos_own_size_change_nothing():
    photo = noise(70, 100)
    assert LARGEST_BY_DEFAULT >= 100
    np.testing.assert_array_equal(paint(photo, Painter(), strokes=100), paint(photo, Painter()))


def test_no_strength_is_the_photo_to_the_bit():
    photo = noise(70, 100)
    np.testing.assert_array_equal(paint(photo, Painter(), strength=0, strokes=64), photo)


def test_all_of_the_photos_detail_comes_back():
    """A network that changes nothing gives the photo back, but for what is cut off at black and white."""
    photo = 0.3 + 0.4 * noise(80, 120)
    np.testing.assert_allclose(paint(photo, lambda pixels, strength: pixels, strokes=64), photo, atol=1e-6)


def test_the_small_result_is_the_large_one_made_small():
    photo = resize(noise(20, 30), (160, 240))

    def inverted(pixels, strength):
        return pixels + np.float32(strength) * (1 - 2 * pixels)

    large = paint(photo, inverted, strokes=120)
    small = inverted(resize(photo, (80, 120)), 1.0)
    again = inverted(small, 0.4)
    assert np.abs(resize(large, (80, 120)) - again).max() < 0.05


@pytest.mark.parametrize("strokes", [0, 63, 4097])
def test_strokes_out_of_range(strokes):
    with pytest.raises(ValueError, match=f"strokes: expected from 64 to 4096 pixels, got {strokes}"):
        paint(noise(70, 100), Painter(), strokes=strokes)


def test_a_network_with_strokes():
    """The built-in network: what `render` gives where the strokes are the photo's own; larger strokes where not."""
    model = load_multistyle(find("styles"))
    photo = resize(noise(20, 30), (64, 96))
    plain = model.render(photo, "scream_munch", strength=0.7)
    np.testing.assert_array_equal(stroked(model, "scream_munch", strength=0.7)(photo), plain)
    large = stroked(model, "scream_munch", strength=0.7, strokes=64)(photo)
    assert large.shape == photo.shape and np.abs(large - plain).mean() > 0.02


@pytest.mark.parametrize("how", [{"strokes": 63}, {"strength": 1.5}])
def test_what_is_out_of_range_is_refused_before_a_photo_comes(how):
    with pytest.raises(ValueError, match=f"{next(iter(how))}: expected"):
        stroked(load_multistyle(find("styles")), "scream_munch", **how)


def test_strokes_are_an_option_of_every_trained_model():
    photo = resize(noise(20, 30), (64, 96))
    stylizer = Stylizer("scream_munch", strokes=64, strength=0.7)
    expected = stroked(load_multistyle(find("styles")), "scream_munch", strokes=64, strength=0.7)(photo)
    np.testing.assert_array_equal(stylizer.render(photo), expected)
    assert stylizer.facts["strokes"] == 64
    with pytest.raises(NanostyleError, match="strokes"):
        Stylizer(photo, method="gatys", strokes=64)
