"""A photo in a painting's colors: mean and covariance are the painting's, and nothing is blown up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanostyle.methods.color_transfer import MOST_GAIN, in_colors_of, mixed, statistics, transport


def colored(seed, spread=0.05, size=(40, 50)):
    """A picture whose colors stay away from black and white, so that nothing is cut off."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(3, 3)) * spread
    pixels = rng.uniform(0.4, 0.6, 3) + rng.normal(size=(*size, 3)).clip(-2, 2) @ mix.T
    return pixels.clip(0.01, 0.99).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_mean_and_covariance_are_the_paintings(a, b):
    photo, painting = colored(a), colored(b + 5000)
    (source, A), (target, B) = statistics(photo), statistics(painting)
    T = transport(A, B, most_gain=np.inf)
    rounding = np.eye(3) / 255**2  # added to both, so that what varies by rounding alone counts for nothing
    np.testing.assert_allclose(T @ (A + rounding) @ T, B + rounding, rtol=1e-9, atol=1e-15)
    mean, covariance = statistics((photo - source) @ T + target)
    np.testing.assert_allclose(mean, target, atol=1e-6)
    np.testing.assert_allclose(covariance, T @ A @ T, atol=1e-8)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(1e-6, 10))
def test_no_direction_is_stretched_by_more_than_the_limit(a, b, spread):
    T = transport(statistics(colored(a, 0.001))[1], spread * statistics(colored(b))[1])
    np.testing.assert_allclose(T, T.T, atol=1e-12)
    gains = np.linalg.eigvalsh(T)
    assert gains.min() > 0 and gains.max() <= MOST_GAIN + 1e-9


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


def test_several_paintings_count_together():
    a, b = colored(5), colored(6)
    mean, covariance = mixed([statistics(a), statistics(b)], [0.25, 0.75])
    together = np.concatenate([a.reshape(-1, 3), *[b.reshape(-1, 3)] * 3]).reshape(-1, 1, 3)
    np.testing.assert_allclose(mean, statistics(together)[0], atol=1e-9)
    np.testing.assert_allclose(covariance, statistics(together)[1], atol=1e-9)


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
