"""What is kept of the last painting are its strokes: not its colors, and not at the price of detail."""

import numpy as np

from nanostyle.methods.blend import blended

HEIGHT, WIDTH = 72, 100


def strokes(seed, level=120):
    """A picture of fine detail around one color."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(level, 20, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)


def part(value):
    return np.full((HEIGHT, WIDTH), value, np.uint32)


def test_where_nothing_is_kept_it_is_the_fresh_one_to_the_bit():
    np.testing.assert_array_equal(blended(strokes(0), strokes(1), part(0)), strokes(0))


def test_equal_paintings_stay_as_they_are():
    made = blended(strokes(0), strokes(0), part(218))
    assert np.abs(made.astype(int) - strokes(0)).max() <= 1


def test_colors_are_those_of_the_fresh_one_and_strokes_of_the_old_one():
    fresh = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    made = blended(fresh, strokes(0, level=90), part(218)).astype(float)
    assert np.abs(made.mean(axis=(0, 1)) - 120).max() < 4
    old = strokes(0, level=90).astype(float)
    assert np.corrcoef(made.ravel(), old.ravel())[0, 1] > 0.9


def test_what_is_not_kept_does_not_change_the_colors_beside_it():
    fresh = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    old = fresh.copy()
    old[:, 40:50] = 250  # it was hidden here, and nothing of it is kept
    kept = part(218)
    kept[:, 40:50] = 0
    assert np.abs(blended(fresh, old, kept).astype(int) - 120).max() <= 2


def test_detail_does_not_fade_as_much():
    fresh, old, kept = strokes(0), strokes(1), part(128)
    mean = (fresh.astype(float) + old) / 2
    assert mean.std() < 0.75 * fresh.std()
    assert 1.05 * mean.std() < blended(fresh, old, kept).std() < fresh.std()
