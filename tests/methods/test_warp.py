"""Frames are moved as their vectors say: exactly by whole pixels, closely in between, nowhere black."""

import numpy as np
import pytest

from nanostyle.methods.warp import Field, mixed, shifted
from tests.support.clips import panned

HEIGHT, WIDTH = 52, 75  # no whole number of blocks


def uniform(y, x):
    return Field(np.full((7, 10, 2), (y, x), np.float32), (HEIGHT, WIDTH))


def frame():
    return panned(1, HEIGHT, WIDTH)[0]


@pytest.mark.parametrize("how", ["soft", "sharp"])
@pytest.mark.parametrize(("y", "x"), [(0, 0), (3, -2), (-11, 40)])
def test_whole_pixels_are_moved_to_the_bit(how, y, x):
    field = uniform(y, x)
    rows, columns = np.arange(HEIGHT) + y, np.arange(WIDTH) + x
    inside = ((rows >= 0) & (rows < HEIGHT))[:, None] & ((columns >= 0) & (columns < WIDTH))
    np.testing.assert_array_equal(field.inside, inside)
    rows, columns = (
        np.pad(np.arange(n), n - 1, mode="reflect")[n - 1 + at] for n, at in ((HEIGHT, rows), (WIDTH, columns))
    )
    wanted = frame()[rows][:, columns]
    np.testing.assert_array_equal(getattr(field, how)(frame()), wanted)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (3, -2), (0.5, 0), (0, -7.25), (-11.5, 40.125), (99, -99)])
def test_one_motion_for_all_moves_as_a_field_does(y, x):
    np.testing.assert_array_equal(shifted(frame(), (y, x)), uniform(y, x).soft(frame()))


def test_parts_of_a_pixel_are_mixed():
    pixels = frame().astype(float)
    made = uniform(0, 0.25).soft(frame())[:, :-1]
    np.testing.assert_allclose(made, 0.75 * pixels[:, :-1] + 0.25 * pixels[:, 1:], atol=1.01)
    half = (19 * (pixels[:, 1:-2] + pixels[:, 2:-1]) - 3 * (pixels[:, :-3] + pixels[:, 3:])) / 32
    np.testing.assert_allclose(uniform(0, 0.5).sharp(frame())[:, 1:-2], half.clip(0, 255), atol=0.51)
    quarter = (uniform(0, 0.5).sharp(frame()).astype(float) + pixels) / 2
    np.testing.assert_allclose(uniform(0, 0.25).sharp(frame())[:, :-1], quarter[:, :-1], atol=1.01)


def test_there_and_back_is_sharp():
    pixels = frame()
    there = uniform(0.5, 0.5).sharp(pixels)
    back = uniform(-0.5, -0.5).sharp(there)
    soft = uniform(-0.5, -0.5).soft(uniform(0.5, 0.5).soft(pixels))
    inner = np.s_[4:-4, 4:-4]
    errors = [np.abs(made[inner].astype(int) - pixels[inner]).mean() for made in (back, soft)]
    assert errors[0] < 0.7 * errors[1], errors


def test_motion_is_smooth_between_blocks():
    vectors = np.zeros((7, 10, 2), np.float32)
    vectors[..., 1] = np.arange(10)  # a pixel more for each block: the picture is shrunk to 8/9
    ramp = np.broadcast_to(np.arange(WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, WIDTH, 3))
    made = Field(vectors, (HEIGHT, WIDTH)).soft(np.ascontiguousarray(ramp))[20, 8:60, 0].astype(float)
    places = np.arange(8, 60)
    np.testing.assert_allclose(made, places + (places + 0.5) / 8 - 0.5, atol=1)


def test_mixing_is_rounded_and_keeps_what_is_equal():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (2, 40, 30, 3), np.uint8)
    part = rng.integers(0, 257, (40, 30)).astype(np.uint32)
    wanted = one + (part / 256)[..., None] * (other.astype(float) - one)
    np.testing.assert_allclose(mixed(one, other, part), wanted, atol=0.51)
    np.testing.assert_array_equal(mixed(one, one, part), one)
