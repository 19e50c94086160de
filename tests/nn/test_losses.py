"""What the grid loss sees, and parts of one. That losses and gradients are right is a row of the table of cases."""

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor
from nanostyle.nn.losses import grid_loss, normalized


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


def test_weights_are_made_parts_of_one():
    assert normalized(None, 4) == [0.25] * 4
    assert normalized([1, 3], 2) == [0.25, 0.75]


@pytest.mark.parametrize(
    ("weights", "message"), [([1], "one for each of 2"), ([0, 0], "at least one above 0"), ([-1, 2], "0 or more")]
)
def test_weights_that_are_none(weights, message):
    with pytest.raises(ValueError, match=message):
        normalized(weights, 2)
