"""A photo in a painting's colors: mean and covariance are the painting's, and nothing is blown up."""

import numpy as np
import pytest

from nanostyle.methods.color_transfer import in_colors_of
from tests.support.pictures import colored


def test_a_picture_in_its_own_colors_is_itself():
    photo = colored(1)
    np.testing.assert_allclose(in_colors_of(photo, [photo], [1.0]), photo, atol=1e-5)


def test_a_gray_photo_takes_the_paintings_tint_and_does_not_become_neon():
    ramp = np.repeat(np.linspace(0, 1, 50, dtype=np.float32)[None, :, None], 3, axis=2).repeat(20, axis=0)
    noisy = ramp + np.random.default_rng(0).normal(0, 0.4 / 255, ramp.shape).astype(np.float32)
    painting = colored(3, 0.15)
    for photo in (ramp, noisy.clip(0, 1)):
        moved = in_colors_of(photo, [painting], [1.0])
        gray = moved.mean(axis=2, keepdims=True)
        tint = (moved - gray).reshape(-1, 3).std(axis=0).max()
        assert tint < 0.6 * (painting - painting.mean(axis=2, keepdims=True)).reshape(-1, 3).std(axis=0).max() + 0.05


def test_a_photo_of_one_color_becomes_the_mean_of_the_painting():
    painting = colored(4)
    moved = in_colors_of(np.full((5, 5, 3), 0.9, np.float32), [painting], [1.0])
    np.testing.assert_allclose(moved, np.broadcast_to(painting.mean(axis=(0, 1)), moved.shape), atol=1e-5)


def test_each_region_has_its_own_paintings_colors_and_the_rest_its_own():
    photo, left, right = colored(7, size=(20, 30)), colored(8), colored(9)
    regions = np.zeros((2, 20, 30), np.float32)
    regions[0, :, :10], regions[1, :, 10:20] = 1, 1
    moved = in_colors_of(photo, [left, right], [0.5, 0.5], regions)
    np.testing.assert_array_equal(moved[:, 20:], photo[:, 20:])
    for columns, painting in ((slice(0, 10), left), (slice(10, 20), right)):
        alone = in_colors_of(photo[:, columns], [painting], [1.0])
        np.testing.assert_allclose(moved[:, columns], alone, atol=1e-5)


def test_a_region_that_is_nowhere_changes_nothing():
    photo = colored(7)
    regions = np.zeros((1, *photo.shape[:2]), np.float32)
    np.testing.assert_array_equal(in_colors_of(photo, [colored(8)], [1.0], regions), photo)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3)])
def test_tiny_pictures(shape):
    assert np.isfinite(in_colors_of(np.zeros(shape, np.float32), [np.ones((1, 1, 3), np.float32)], [1.0])).all()
