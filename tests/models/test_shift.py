"""A frame that moved over its scene is painted as before: grid and grain move with the scene."""

import numpy as np
import pytest

from nanostyle.models.grain import with_grain
from nanostyle.models.load import load_model
from nanostyle.models.registry import find
from nanostyle.models.shift import STILL, Shift
from tests.support.clips import panned


@pytest.fixture(scope="module")
def render():
    # A style that hardly follows the statistics of the picture: a pan changes those too, which is not looked at here.
    return load_model(find("styles")).renderer("starry_night_van_gogh")


def distance(one, other):
    return float(255 * np.sqrt(np.mean((one - other) ** 2)))


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_pan_of_whole_pixels_is_painted_alike(render, step):
    first, second = (frame.astype(np.float32) / 255 for frame in panned(2, 200, 280, step))
    plain, locked = render(second), render(second, Shift(0, step))
    inside = (slice(24, -24), slice(24, -24 - step))
    before = render(first)[:, step:][inside]
    apart = distance(before, plain[:, :-step][inside])
    together = distance(before, locked[:, :-step][inside])
    assert together < apart / 4, (together, apart)


def test_no_shift_is_a_photo_to_the_bit(render):
    (frame,) = panned(1)
    pixels = frame.astype(np.float32) / 255
    np.testing.assert_array_equal(render(pixels, STILL), render(pixels))
    np.testing.assert_array_equal(render(pixels, Shift(0.2, -0.3)), render(pixels))


def test_grain_moves_with_the_scene():
    ground = np.zeros((20, 30, 3), np.float32)
    moved = with_grain(ground, (3, -4))
    np.testing.assert_array_equal(moved[:-3, 4:], with_grain(ground)[3:, :-4])


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (48, 64)])
def test_size_is_kept(size):
    pixels = np.random.default_rng(0).random((*size, 3), np.float32)
    shift = Shift(2.3, -5.6, subpixel=True)
    placed = shift.pad(shift.to_whole(pixels))
    assert placed.shape[0] % 4 == size[0] % 4 and placed.shape[1] % 4 == size[1] % 4
    assert shift.back(placed, size).shape == pixels.shape


def test_moving_to_whole_pixels_and_back_keeps_smooth_pictures():
    y, x = np.mgrid[:40, :50] / 12
    pixels = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1).astype(np.float32)
    shift = Shift(0.5, 0.3, subpixel=True)
    moved = shift.to_whole(pixels)
    # A shift of 0.5 is rounded up, of 0.3 down: content is taken half a pixel further down, 0.3 to the left.
    wanted = np.sin((np.mgrid[:40, :50][1] - 0.3) / 12)
    assert np.abs(moved[..., 0] - wanted)[4:-4, 4:-4].max() < 1e-3
    assert np.abs(shift.back(shift.pad(moved), (40, 50)) - pixels)[4:-4, 4:-4].max() < 3e-3


def test_the_shift_follows_the_size():
    assert Shift(10, -20).scaled((100, 200, 3), (50, 100, 3)) == Shift(5, -10)
