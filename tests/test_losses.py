"""The grid loss: what it is, what it sees, what it does to a network. The others stand beside Gatys' method."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanostyle.gradcheck import gradcheck
from nanostyle.losses import grid_loss
from nanostyle.tensor import Tensor


def places(y, period):
    """The mean of every place of the grid and colour, as the definition says."""
    N, H, W, C = y.shape
    H, W = H // period * period, W // period * period
    means = np.zeros((N, period, period, C))
    for i in range(H):
        for j in range(W):
            means[:, i % period, j % period] += y[:, i, j] / (H * W / period**2)
    return means


@given(st.integers(1, 2), st.integers(4, 13), st.integers(4, 13), st.integers(1, 4), st.integers(0, 99))
def test_it_is_the_variance_of_the_means_of_each_place(N, H, W, period, seed):
    y = np.random.default_rng(seed).random((N, H, W, 3))
    expected = places(y, period).var(axis=(1, 2)).mean()
    assert grid_loss(Tensor(y), period=period).item() == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_its_gradient():
    check = gradcheck(grid_loss, [np.random.default_rng(0).random((2, 9, 11, 3))])
    assert check.error < 1e-6


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_it_sees_a_weave_and_nothing_else(dtype):
    rng = np.random.default_rng(0)
    i, j = np.mgrid[:96, :96]
    slope = (i + 2 * j)[None, :, :, None] / 1000 * np.ones(3)
    weave = 0.03 * ((i % 4 == 0) | (j % 4 == 0))[None, :, :, None]
    noise = 0.1 * rng.standard_normal(slope.shape)
    smooth, rough, woven = (
        grid_loss(Tensor(x.astype(dtype))).item() for x in (slope, slope + noise, slope + noise + weave)
    )
    assert smooth < 1e-5 and rough < 3e-5
    assert woven == pytest.approx(weave[0, :4, :4].var(), rel=0.3)


def test_pictures_smaller_than_the_grid():
    with pytest.raises(ValueError, match="at least 4x4, got 9x3"):
        grid_loss(Tensor(np.zeros((1, 3, 9, 3), np.float32)))
