"""Rows are resampled as the whole picture is."""

import numpy as np
import pytest

from nanostyle.backend.rows import ArrayRows
from nanostyle.io.resample import resize
from nanostyle.io.resample_rows import limits_of, resized


@pytest.mark.parametrize("size", [(50, 40), (7, 5), (200, 31), (33, 90), (1, 1), (150, 170)])
@pytest.mark.parametrize("channels", [1, 3])
def test_as_the_whole_picture(size, channels):
    pixels = np.random.default_rng(0).random((150, 70, channels), np.float32) ** 3
    rows = resized(ArrayRows(pixels), size)
    whole = resize(pixels, size)
    assert rows.shape == whole.shape
    np.testing.assert_allclose(rows.read(0, size[0]), whole, atol=2e-6)
    middle = size[0] // 2
    np.testing.assert_allclose(rows.read(middle, size[0]), whole[middle:], atol=2e-6)


def test_limits():
    pixels = np.random.default_rng(0).random((150, 7, 3), np.float32)
    low, high = limits_of(ArrayRows(pixels))
    assert (low == pixels.min(axis=(0, 1))).all()
    assert (high == pixels.max(axis=(0, 1))).all()
