"""Grain in the input: always the same, faint, and never in the photo that strength 0 gives back."""

import numpy as np
import pytest

from nanostyle.backend.rows import ArrayRows
from nanostyle.models.grain import DEVIATION, draw_grain, grainy_rows, with_grain


def test_the_same_seed_and_size_give_the_same_grain():
    a, b = (draw_grain((2, 40, 50), 0.01, 3) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (2, 40, 50, 1) and a.dtype == np.float32
    assert a.std() == pytest.approx(0.01, rel=0.05) and abs(a.mean()) < 0.001
    assert (draw_grain((2, 40, 50), 0.01, 4) != a).all()


def test_it_is_gray_and_leaves_the_photo_alone():
    photo = np.full((30, 20, 3), 0.5, np.float32)
    grained = with_grain(photo)
    added = grained - photo
    np.testing.assert_allclose(added, np.repeat(added[..., :1], 3, axis=-1), atol=1e-6)
    assert added.std() == pytest.approx(DEVIATION, rel=0.1)
    assert (photo == 0.5).all()


def test_rows_have_the_grain_of_the_whole_picture():
    photo = np.random.default_rng(0).random((100, 37, 3), np.float32)
    rows = grainy_rows(ArrayRows(photo))
    for start, stop in [(70, 90), (0, 100), (31, 33), (64, 65)]:
        np.testing.assert_array_equal(rows.read(start, stop), with_grain(photo)[start:stop])
