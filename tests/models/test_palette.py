"""The palette of a picture, and results that are brought nearer to a painting's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanostyle.io.resample import resize
from nanostyle.methods.strokes import paint
from nanostyle.models.palette import MOST_GAIN, PART, between, mixed, nearer, palette_of, transport
from nanostyle.models.predictor import load_predictor
from nanostyle.models.registry import find
from nanostyle.models.style import load_style, save_style
from tests.support.pictures import colored


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_mean_and_covariance_are_the_paintings(a, b):
    photo, painting = colored(a), colored(b + 5000)
    (source, A), (target, B) = palette_of(photo), palette_of(painting)
    T = transport(A, B, most_gain=np.inf)
    rounding = np.eye(3) / 255**2  # added to both, so that what varies by rounding alone counts for nothing
    np.testing.assert_allclose(T @ (A + rounding) @ T, B + rounding, rtol=1e-9, atol=1e-15)
    mean, covariance = palette_of((photo - source) @ T + target)
    np.testing.assert_allclose(mean, target, atol=1e-6)
    np.testing.assert_allclose(covariance, T @ A @ T, atol=1e-8)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(1e-6, 10))
def test_no_direction_is_stretched_by_more_than_the_limit(a, b, spread):
    T = transport(palette_of(colored(a, 0.001))[1], spread * palette_of(colored(b))[1])
    np.testing.assert_allclose(T, T.T, atol=1e-12)
    gains = np.linalg.eigvalsh(T)
    assert gains.min() > 0 and gains.max() <= MOST_GAIN + 1e-9


def test_several_paintings_count_together():
    a, b = colored(5), colored(6)
    mean, covariance = mixed([palette_of(a), palette_of(b)], [0.25, 0.75])
    together = np.concatenate([a.reshape(-1, 3), *[b.reshape(-1, 3)] * 3]).reshape(-1, 1, 3)
    np.testing.assert_allclose(mean, palette_of(together)[0], atol=1e-9)
    np.testing.assert_allclose(covariance, palette_of(together)[1], atol=1e-9)


def grainy(seed, amount=0.02):
    """Large areas of one color each, with grain."""
    areas = colored(seed, size=(10, 12))
    pixels = np.repeat(np.repeat(areas, 8, axis=0), 8, axis=1)
    return (pixels + np.random.default_rng(seed).normal(0, amount, pixels.shape)).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_palette_comes_nearer_and_grain_stays_as_it_is(seed):
    result, target = grainy(seed), palette_of(grainy(seed + 10))
    moved, before = nearer(result, target), palette_of(result)
    aim = between(before, target, PART)
    # By part of the way: the mean to the digit, the covariance about.
    np.testing.assert_allclose(palette_of(moved).mean, aim.mean, atol=2e-3)
    distance = [np.linalg.norm(palette_of(x).covariance - target.covariance) for x in (result, moved)]
    assert distance[1] < 0.75 * distance[0]
    grain = [(x - resize(resize(x, (20, 24)), x.shape[:2])).std() for x in (result, moved)]
    assert grain[1] == pytest.approx(grain[0], rel=0.05)


def test_a_picture_with_the_palette_already_is_left():
    picture = grainy(4, amount=0.0)
    np.testing.assert_allclose(nearer(picture, palette_of(picture)), picture, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (3, 2, 3)])
def test_tiny_pictures(shape):
    found = nearer(np.zeros(shape, np.float32), palette_of(np.ones((1, 1, 3), np.float32)))
    assert found.shape == shape and np.isfinite(found).all()


def test_between_two_palettes():
    a, b = palette_of(colored(1)), palette_of(colored(2))
    for part, want in ((0, a), (1, b)):
        np.testing.assert_allclose(between(a, b, part).mean, want.mean)
        np.testing.assert_allclose(between(a, b, part).covariance, want.covariance)


def test_less_strength_goes_less_far():
    photo, palette = grainy(5), palette_of(grainy(6))
    moved = [np.abs(paint(photo, lambda x, _: x, strength=s, palette=palette) - photo).mean() for s in (0, 0.3, 0.6, 1)]
    assert moved[0] == 0 and moved == sorted(moved) and moved[1] < 0.5 * moved[3]


def test_a_style_knows_its_paintings_palette_and_keeps_it_in_its_file(tmp_path):
    network = load_predictor(find("any"))
    style, other = (network.style(colored(seed, size=(60, 80)), name=str(seed)) for seed in (7, 8))
    np.testing.assert_allclose(style.palette.mean, palette_of(colored(7, size=(60, 80))).mean, atol=0.01)
    save_style(tmp_path / "style.h5", style)
    for kept, made in zip(load_style(tmp_path / "style.h5").palette, style.palette, strict=True):
        np.testing.assert_array_equal(kept, made)
    both = network.blend([style, other], [1, 3])
    np.testing.assert_allclose(both.palette.mean, mixed([style.palette, other.palette], [0.25, 0.75]).mean)
    unknown = type(other)(other.name, other.embedding, other.model)  # the file of an earlier version
    save_style(tmp_path / "old.h5", unknown)
    assert load_style(tmp_path / "old.h5").palette is None
    assert network.blend([style, unknown]).palette is None


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), np.full((4, 3), np.nan)])
def test_a_file_with_a_palette_that_is_none(tmp_path, wrong):
    network = load_predictor(find("any"))
    style = network.style(colored(7, size=(60, 80)), name="x")
    save_style(tmp_path / "style.h5", type(style)("x", style.embedding, style.model, palette=(wrong[:1], wrong[1:])))
    with pytest.raises(ValueError, match="expected a palette of 4 x 3 finite numbers"):
        load_style(tmp_path / "style.h5")
